"""What runs on the nodes of an analysis in coffea: a chunk, and the sum of what two chunks have accumulated.

It is shipped by value, so that nodes need coffea and not this package, and so it imports nothing of it but what is
shipped in the same way.

A sum is the tuple

    accumulated  what coffea.processor.accumulate makes of the outputs of chunks, None without any
    skipped      what was skipped: a list of tuples, of the place of a chunk (dataset, filename, treename, first entry,
                 entry behind the last one; -1 for both of a whole file) and of the reason in words
    failed       in the same way the chunks that have raised, of a run that goes on then
    first        of these the one that comes first: its place, its exception as a pickle or, in words, why there is
                 none, that in words, and its traceback; None if none has raised
    of           the place of one of the chunks that have accumulated, and how many these are; None without any
"""

import copy
import functools
import os
import traceback
import warnings
from collections.abc import MutableMapping
from typing import Any, Callable

from ._excepted import pickled as pickle_of
from ._sums import too_large
from ._wrapped import dumps

QUIET = r"Skipping bad file after|Performed attempt"  # What coffea warns of, and the client tells with the reason.


Place = tuple[str, str, str, int, int]
Parts = tuple[Any, list[Any], list[Any], Any, "tuple[Place, int] | None"]


class Sum:
    """A sum in the process that makes it. It travels as the tuple, compressed by LZ4 at a level unless that is None."""

    __slots__ = ("failed", "first", "level", "of", "own", "skipped", "sum")

    def __init__(self, parts: "Parts", level: int | None, own: bool) -> None:
        self.sum, self.skipped, self.failed, self.first, self.of = parts
        self.level = level
        # Whether what is accumulated may be changed in place: nobody else refers to it, and it was made by adding.
        self.own = own

    @property
    def parts(self) -> "Parts":
        return self.sum, self.skipped, self.failed, self.first, self.of

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sum":
        return self  # It is of one chunk, whose processor was made for it, and add sees to the rest.

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.level is None:
            return tuple, (list(self.parts),)
        import cloudpickle
        import lz4.frame
        from coffea.processor.executor import _decompress

        plain = cloudpickle.dumps(self.parts, 5)
        return _decompress, (lz4.frame.compress(plain, compression_level=self.level),)


def chunks(
    function: Callable[[Any], Any],
    level: int | None,
    name: str,
    folder: str | None,
    apart: str | None = None,
    recoverable: bool = False,
) -> Callable[[Any], Sum]:
    """What runs coffea's function of a chunk, or of a file in preprocessing. name stands for it where it fails. It runs
    in the working folder of whoever has begun the run, where a node has one of that name, so that relative names mean
    what they mean there; None is for the process's own. apart is the file in that which has the processor, if it is too
    large to travel with the code. What raises is part of the sum in a run that is recoverable."""
    quiet = False

    def chunk(item: Any) -> Sum:
        nonlocal quiet, function
        if apart is not None and isinstance(function, functools.partial):
            with open(apart, "rb") as f:
                function = with_processor(function, f.read())
        if not quiet:  # Once a process, since each change of the filters has all warnings told again.
            warnings.filterwarnings("ignore", QUIET)
            quiet = True
        if folder is not None:
            enter(folder, item)
        caught: list[BaseException] = []
        try:
            out = watched(function, caught, item)(item)
        except MemoryError:
            raise
        except Exception as e:
            if not recoverable:
                note(e, item)
                raise
            why = words(e)
            return Sum((None, [], [(place(item), why)], (place(item), pickled(e), why, trace(e)), None), level, False)
        skipped = [(place(item), words(caught[0]))] if out is None and caught else []
        return Sum((out, skipped, [], None, None if out is None else (place(item), 1)), level, False)

    chunk.__name__ = chunk.__qualname__ = name
    chunk.dtpnode_shows = lambda item: shown(place(item))  # type: ignore[attr-defined]
    return chunk


def enter(folder: str, item: Any) -> None:
    """Changes to the folder. That a node has none is told where the item's file is named relative to it."""
    try:
        os.chdir(folder)
    except OSError as e:
        file = place(item)[1]
        if "://" not in file and not os.path.isabs(file) and not os.path.exists(file):
            raise FileNotFoundError(
                f"{file} is named relative to the folder {folder}, which {os.uname().nodename} lacks ({e.strerror}): "
                "give files by names that hold on all nodes"
            ) from None


PROCESSOR = "processor_instance"  # the argument in which coffea hands a processor on
APART = b""  # stands for one that is in a file


def with_processor(function: "functools.partial[Any]", processor: bytes) -> "functools.partial[Any]":
    """coffea's function, in whose partials there is one with a processor, with another one, which is packed."""
    args = tuple(with_processor(a, processor) if isinstance(a, functools.partial) else a for a in function.args)
    keywords = dict(function.keywords)
    if keywords.get(PROCESSOR) is not None:
        keywords[PROCESSOR] = processor
    return functools.partial(function.func, *args, **keywords)


def watched(function: Callable[[Any], Any], caught: list[BaseException], item: Any) -> Callable[[Any], Any]:
    """The function, with what was raised last inside of coffea's retries in caught: these return None for a file that
    they skip, and keep to themselves why.

    coffea skips an OSError, and what a damaged file comes to where events are read as the processor asks for them is
    mostly another exception. Where an OSError is to be skipped, that is one."""
    if not isinstance(function, functools.partial) or getattr(function.func, "__name__", "") != "automatic_retries":
        return function
    retries, skipped, inner, *rest = function.args
    skips = skipped is True or bool(skipped) and issubclass(OSError, skipped)

    def remembering(*args: Any, **kwargs: Any) -> Any:
        try:
            return inner(*args, **kwargs)
        except Exception as e:
            caught[:] = [e]
            why = unreadable(e) if skips else None
            if why is None:
                raise
            raise OSError(f"could not read {place(item)[1]}: {words(why)}") from e

    return functools.partial(function.func, retries, skipped, remembering, *rest, **function.keywords)


READS = f"{os.sep}uproot{os.sep}"  # what is in the path of code that reads ROOT files,
BETWEEN = f"{os.sep}awkward{os.sep}", f"{os.sep}rich{os.sep}"  # of what has no part in that,
COFFEA = f"{os.sep}coffea{os.sep}"  # and of what has files of events read


def unreadable(e: BaseException | None) -> BaseException | None:
    """The exception by which a file of events could not be read, if that is what e comes from: it has left uproot,
    which was called by coffea and not by the processor. That a file has no such tree is another matter, and that the
    node lacks a library is not the file's fault: it would cost all files of that kind."""
    chain: list[BaseException] = []
    while e is not None and not any(e is other for other in chain):
        chain.append(e)
        e = e.__cause__ or e.__context__
    if any(isinstance(e, ImportError) for e in chain):
        return None
    for e in chain:
        if not isinstance(e, (KeyError, MemoryError, OSError)):
            caller, at = "", e.__traceback__
            while at is not None:
                file = at.tb_frame.f_code.co_filename
                if READS in file and COFFEA in caller:
                    return e
                if not any(part in file for part in (READS, *BETWEEN)):
                    caller = file
                at = at.tb_next
    return None


def pickled(e: BaseException) -> "bytes | str | None":
    """As the Details of _sums have it."""
    try:
        out = pickle_of(e, dumps)
    except MemoryError:
        return None
    return too_large(out, LARGE) if isinstance(out, bytes) and len(out) > LARGE else out


def trace(e: BaseException) -> str:
    """The traceback of an exception, without the frame that has caught it."""
    tb = e.__traceback__ and e.__traceback__.tb_next
    text = "".join(traceback.format_exception(type(e), e, tb, limit=-FRAMES))
    return text if len(text) <= DEEP else text[: DEEP // 2] + "\n…\n" + text[-DEEP // 2 :]


LARGE = 1 << 20  # bytes of the pickle of an exception, which is left out if it has more
DEEP = 8_000  # characters of a traceback
FRAMES = 100  # of a traceback, the last


def place(item: Any) -> Place:
    """What a chunk is of."""
    return (
        str(getattr(item, "dataset", "")),
        str(getattr(item, "filename", item)),
        str(getattr(item, "treename", "")),
        int(getattr(item, "entrystart", -1)),
        int(getattr(item, "entrystop", -1)),
    )


def shown(place: Place) -> str:
    """A chunk, or a file, in words."""
    _, file, tree, first, last = place
    if first < 0:
        return f"{file}, {tree}" if tree else file
    if first == last:  # coffea has one chunk of a tree without entries.
        return f"{file}, {tree} without entries"
    return f"{file}, {tree} entries {first:,} to {last - 1:,}"


def note(e: Exception, item: Any) -> None:
    """Has an exception whose own words do not name the file end with what it was raised at, where Python has such
    notes: that a host cannot be reached is of use to nobody who does not know for which file."""
    at = place(item)
    if at[1] not in str(e) and hasattr(e, "add_note"):
        e.add_note(f"at {shown(at)}")


def words(e: BaseException) -> str:
    """An exception in a line, with its causes where its own words do not have them. Those in which coffea wraps it say
    which chunk that was, as who tells it does, too."""
    while type(e) is Exception and e.__cause__ is not None and str(e).startswith("Failed "):
        e = e.__cause__
    said = f"{type(e).__name__}: {e}".strip()
    while e.__cause__ is not None:
        e = e.__cause__
        more = f"{type(e).__name__}: {e}".strip()
        if str(e) not in said:
            said += f" (by {more})"
    said = " ".join(said.split())
    return said if len(said) <= LONG else said[:LONG] + "…"


LONG = 500  # characters of a reason


def several(of: "tuple[Place, int] | None") -> str:
    """Chunks in words, by one of them."""
    if of is None:
        return "other chunks"
    return shown(of[0]) + (f" (and {of[1] - 1:,} more)" if of[1] > 1 else "")


def is_sum(parts: "Parts") -> bool:
    """Whether what is accumulated was made by adding, and is not what one chunk has given."""
    return parts[4] is not None and parts[4][1] > 1


ATOMS = (int, float, complex, str, bytes, tuple, frozenset, type(None))  # which adding does not change


def separate(accumulated: Any) -> Any:
    """What a chunk has given, in which each key has an object of its own. A processor may return one under several
    keys, also of mappings within. coffea copies what only one of two chunks has as it is, with one object for these
    keys: to that it would add what each of them has from then on."""
    if not isinstance(accumulated, MutableMapping):
        return accumulated
    seen: dict[int, Any] = {}  # by ids, which are those of no other objects as long as these are here

    def shares(value: Any) -> bool:
        if isinstance(value, ATOMS):
            return False
        if id(value) in seen:
            return True
        seen[id(value)] = value
        return isinstance(value, MutableMapping) and any(map(shares, value.values()))

    def apart(value: Any) -> Any:
        if isinstance(value, MutableMapping):
            out = copy.copy(value)
            for key, inner in value.items():
                out[key] = apart(inner)
            return out
        again = id(value) in seen
        seen[id(value)] = value
        return copy.deepcopy(value) if again else value

    if not shares(accumulated):
        return accumulated
    seen.clear()
    return apart(accumulated)


def takes(a: Any, b: Any) -> bool:
    """Whether coffea can add b to a in place. It needs mappings of a's class for that, such as a defaultdict, and
    numbers that an array in a can hold. To make a new sum of the two it does not, and which chunk comes first is chance
    here."""
    import numpy as np

    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.can_cast(b.dtype, a.dtype, "same_kind")
    if not isinstance(a, MutableMapping) or not isinstance(b, MutableMapping):
        return True
    if hasattr(a, "__add__") and hasattr(b, "__add__"):
        return True  # They have an addition of their own.
    return isinstance(b, type(a)) and all(takes(value, b[key]) for key, value in a.items() if key in b)


def add(level: int | None, a: Any, b: Any) -> Sum:
    """The sum of two sums, of which it may change the first one."""
    from coffea.processor.accumulator import add as added
    from coffea.processor.accumulator import iadd

    total = Sum(a, level, is_sum(a)) if isinstance(a, tuple) else a
    accumulated, skipped, failed, first, of = b if isinstance(b, tuple) else b.parts
    own = is_sum(b) if isinstance(b, tuple) else b.own
    if total.sum is None:
        total.sum, total.own, total.of = accumulated, own, of
    elif accumulated is not None:
        try:
            before = total.sum if total.own else separate(total.sum)
            more = accumulated if own else separate(accumulated)
            in_place = total.own and takes(before, more)
            total.sum = (iadd if in_place else added)(before, more)
        except Exception as e:
            if hasattr(e, "add_note"):
                e.add_note(f"when what {several(of)} gave was added to that of {several(total.of)}")
            raise
        total.own = True
        if total.of is not None and of is not None:
            total.of = total.of[0], total.of[1] + of[1]
    total.skipped += skipped
    total.failed += failed
    total.first = min(filter(None, (total.first, first)), key=lambda f: f[0], default=None)
    return total
