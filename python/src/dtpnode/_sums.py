"""Sums as they travel: what an item of a reduction is, how items become sums and sums one, and what is lost on the way.

All of it is shipped by value, so that nodes need not have this package, and so it imports nothing of it but what is
shipped in the same way. Sums are made of plain tuples, lists and mappings around what the user's function returns, so
that any process can read them.

An item is eight bytes with its number, little-endian, whose highest bit says that it is the last one, then the pickle
of (args, kwargs). A sum is the tuple

    total    None as long as no item has a value, or (value,)
    counted  how many items it stands for, with those that have raised
    ends     None, or where the last item is among them how many items there are in all, and a pickle of (op,) or of
             (op, initial), by which any process makes the total of it
    raised   None, or the items at which the user's function has raised: a mapping from the exception in words to the
             ranges [first, last) of their numbers, in order, and a list of the details of the first few

Details are the tuple (number of the item or -1, a pickle of the exception or, in words, why there is none, the
exception in words, the traceback, what it was at in words). What the user's operator raises ends the reduction: the
cause in the job's status is a pickle of details then.

A function or an operator that is not the user's own, but another interface's of this package, has what its user knows
in attributes: of the function dtpnode_shows, which shows the arguments of an item, and of the operator dtpnode_name.
"""

import copy
import pickle
import traceback
from types import BuiltinFunctionType
from typing import Any, Callable

from ._excepted import described, with_notes
from ._excepted import pickled as pickle_of
from ._wrapped import dumps

NUMBER = 8  # bytes of an item's number
LAST = 1 << 63  # marks the number of the last item

DETAILS = 20  # exceptions that are told whole: those of the items with the lowest numbers
WORDS = 100  # different exceptions that are told apart; all further ones count as one
OTHER = "other exceptions"
LONG = 300  # characters of an exception in words
SHOWN = 200  # characters of an item
DEEP = 8_000  # characters of a traceback
FRAMES = 1000  # of a traceback, the last: to format a million takes minutes
LARGE = 1 << 20  # bytes of the pickle of an exception, which is left out if it has more

ACCUMULATORS = "the sum of accumulators"  # is what users of coffea know as the operator

AT = "at the item "  # begins where an item has raised, and not the operator

CAUSE = 16 << 10  # bytes of what is told of an exception of the operator
WHY = 1_000  # characters there of why the exception itself is missing
LINE = 1_000  # characters of the line that tells how the operator, or an item, has ended the job

EMPTY = (None, 0, None, None)

Details = tuple[int, "bytes | str | None", str, str, str]


class Ends(Exception):
    """Has the job fail with what an item has raised: ends_job is as pyexec/child/code.py takes it."""

    def __init__(self, words: str, cause: bytes) -> None:
        super().__init__(words)
        self.ends_job = words, cause


def code(
    fn: Callable[..., Any],
    op: Callable[[Any, Any], Any],
    tail: bytes,
    fail_fast: bool = False,
    has_state: bool = False,
) -> dict[str, Any]:
    """What the code of a reduction's jobs has of its own, as pyexec/child/code.py takes it: an item runs fn, and op
    adds two values. tail is the pickle in ends. With fail_fast an item that raises ends the job. With
    has_state each item has fn as the initializer has left it, whatever other items have made of it."""
    state: dict[str, Any] = {"at": None}

    def called() -> Callable[..., Any]:
        if not has_state:
            return fn
        try:
            if isinstance(fn, BuiltinFunctionType):
                return getattr(copy.deepcopy(fn.__self__), fn.__name__)  # type: ignore[no-any-return]
            return copy.deepcopy(fn)
        except MemoryError:
            raise
        except Exception:  # The initializer has opened a file in it, say: it is one for all items of the process.
            return fn

    def process(item: Any, blob: Any, at: int) -> Any:
        number = int.from_bytes(item[:NUMBER], "little")
        ends = None
        if number & LAST:
            number &= ~LAST
            ends = number + 1, tail
        state["at"] = blob, at  # and not the item, which is memory of the blob's file
        try:
            args, kwargs = pickle.loads(item[NUMBER:])
            return (called()(*args, **kwargs),), 1, ends, None
        except MemoryError:
            raise
        except BaseException as e:
            told = details(e, number, f"{AT}{number}, {show(item, blob, at)}")
            if fail_fast:
                raise Ends(f"{line(described(e))}, {told[4]}", small(told)) from None
            return None, 1, ends, ({told[2]: [[number, number + 1]]}, [told])

    def reduce(a: Any, b: Any) -> Any:
        total, counted, ends, raised = a
        _, more, ends_b, raised_b = b
        if total is None:
            total = b[0]
        elif b[0] is not None:
            total = (added(op, total[0], b[0][0]),)
        if raised_b is not None:
            raised = raised_b if raised is None else join(raised, raised_b)
        return total, counted + more, ends if ends_b is None else ends_b, raised

    def told(e: BaseException, b: Any) -> tuple[str, bytes]:
        """What is told of an exception that op has raised when the sum b was added: words, and a pickle of details."""
        number, where = place(b[1])
        told = details(e, number, f"in {named(op)} {where}", 3)
        if own_name(op) and getattr(e, "__notes__", None):
            return f"{named(op)} has raised {line(with_notes(e))}", small(told)  # which says better where
        return f"{named(op)} has raised {line(described(e))}, {where}", small(told)

    def place(more: int) -> tuple[int, str]:
        """Where two values are being added of which the second one stands for so many items."""
        if state["at"] is None or more > 1:  # This process merges what others have added.
            return -1, "when two sums were added"
        blob, at = state["at"]
        number = int.from_bytes(blob[at][:NUMBER], "little") & ~LAST
        return number, f"when the value of the item {number} was added, {show(blob[at])}"

    def show(item: Any, blob: Any = None, at: int = 0) -> str:
        try:
            args, kwargs = pickle.loads(item[NUMBER:])
            own = getattr(fn, "__dict__", {}).get("dtpnode_shows")
            if own is not None:
                text = own(*args, **kwargs)
            else:
                words = [shown(a) for a in args] + [f"{k}={shown(v)}" for k, v in kwargs.items()]
                text = f"{getattr(fn, '__qualname__', None) or repr(fn)}({', '.join(words)})"
        except BaseException as e:
            text = f"an item (to show it raised {type(e).__name__})"
        text = " ".join(text.split("\n"))
        return text if len(text) <= SHOWN else text[:SHOWN] + "…"

    return {
        "process": process, "reduce": reduce, "told": told, "show": show, "MODE": "sum", "ITEMS": "blob",
        "ADDS": named(op),
    }


def line(text: str) -> str:
    """An exception in one line: its text may have several, of which the first alone says little."""
    text = " ".join(text.split())
    return text if len(text) <= LINE else text[:LINE] + "…"


def added(op: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """The sum of two values."""
    total = op(a, b)
    if total is None and a is not None and b is not None:
        raise TypeError(
            f"{named(op)} returned None for two values, of {type(a).__qualname__} and {type(b).__qualname__}: op must "
            "return the sum, as `return a + b` does, or `return a` if it has changed a (of lists operator.iadd does)"
        )
    return total


def named(op: Callable[..., Any], what: str = "op") -> str:
    """An operator as its user knows it, with the place of its source where it has one, or another function."""
    if own := own_name(op):
        return own
    inner = getattr(op, "__func__", op)
    code = getattr(inner, "__code__", None) or getattr(getattr(inner, "__call__", None), "__code__", None)
    name = getattr(op, "__qualname__", None) or type(op).__qualname__
    return f"{what}, {name}" + (f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else "") + ","


def too_large(pickled: bytes, most: int) -> str:
    """Why an exception comes without its pickle, and what to do about that."""
    return (
        f"the exception itself was not sent: it has {len(pickled):,} bytes as a pickle, and at most {most:,} are sent "
        "with its traceback; raise it with less in its args and attributes"
    )


def own_name(op: Callable[..., Any]) -> str:
    """What users know an operator as that is not their own; else nothing."""
    return str(getattr(op, "__dict__", {}).get("dtpnode_name", ""))


def small(told: Details) -> bytes:
    """A pickle of details that is not too large, in which the exception itself is missing if it has to be."""
    number, pickled, words, text, where = told
    why = too_large(pickled, CAUSE) if isinstance(pickled, bytes) else (pickled or "")[:WHY]
    for told in told, (number, why, words, text, where), (number, why, words, text[-1000:], where):
        out = pickle.dumps(told, 5)
        if len(out) <= CAUSE:
            break
    return out


def shown(value: Any) -> str:
    """A value in words: as str has it where its class has that of its own, and no repr."""
    own = {name for c in type(value).__mro__[:-1] for name in ("__repr__", "__str__") if name in vars(c)}
    return str(value) if own == {"__str__"} else repr(value)


def item(number: int, last: bool, arguments: bytes) -> bytes:
    """An item of a reduction."""
    return (number | LAST if last else number).to_bytes(NUMBER, "little") + arguments


def details(e: BaseException, number: int, where: str, skip: int = 1) -> Details:
    """An exception for whoever is not this process. What belongs to the code that calls the user's is left out of the
    traceback: its first frames."""
    at = e.__traceback__
    for _ in range(skip):
        at = at and at.tb_next
    words = described(e)
    try:
        text = "".join(traceback.format_exception(type(e), e, at, limit=-FRAMES))
    except Exception:
        text = words  # Its own __str__ has failed.
    BaseException.with_traceback(e, None)  # Its class may not let attributes be set.
    try:
        pickled: "bytes | str | None" = pickle_of(e, dumps)
    except MemoryError:
        pickled = None
    if isinstance(pickled, bytes) and len(pickled) > LARGE:
        pickled = too_large(pickled, LARGE)
    if len(words) > LONG:
        words = words[:LONG] + "…"
    if len(text) > DEEP:
        text = text[: DEEP // 2] + "\n…\n" + text[-DEEP // 2 :]
    return number, pickled, words, text, where


def join(a: Any, b: Any) -> Any:
    """The items of a and of b that have raised. It changes a."""
    ranges, first = a
    for words, more in b[0].items():
        key = words if words in ranges or len(ranges) < WORDS else OTHER
        have = ranges.get(key)
        ranges[key] = list(more) if have is None else joined(have, more)
    if len(first) < DETAILS or b[1][0][0] < first[-1][0]:
        first = sorted(first + b[1], key=lambda d: d[0])[:DETAILS]
    return ranges, first


def joined(a: list[list[int]], b: list[list[int]]) -> list[list[int]]:
    """Ranges in order, with neighbours made one. It changes a, and keeps none of b's."""
    if a[-1][0] > b[0][0]:  # Mostly not: the items of a process come in order.
        both = sorted(a + b)
        a, b = [both[0][:]], both[1:]
    for first, last in b:
        if a[-1][1] == first:
            a[-1] = [a[-1][0], last]
        else:
            a.append([first, last])
    return a
