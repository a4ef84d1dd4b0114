"""What runs on the nodes of an analysis in coffea: a chunk, and the sum of what two chunks have accumulated.

It is shipped by value, so that nodes need coffea and not this package, and so it imports nothing of it.

A sum is the tuple (accumulated, skipped): what coffea.processor.accumulate makes of the outputs of chunks, None without
any, and a list of what was skipped: tuples of the chunk's (dataset, filename, treename, first entry, last entry), with
-1 for both entries of a whole file, and of the reason in words.
"""

import functools
import warnings
from typing import Any, Callable

QUIET = r"Skipping bad file after|Performed attempt"  # What coffea warns of, and the client tells with the reason.


class Sum:
    """A sum in the process that makes it. It travels as the tuple, compressed by LZ4 at a level unless that is None."""

    __slots__ = ("accumulated", "level", "own", "skipped")

    def __init__(self, accumulated: Any, skipped: list[Any], level: int | None, own: bool) -> None:
        self.accumulated = accumulated
        self.skipped = skipped
        self.level = level
        self.own = own  # Whether nobody else refers to what is accumulated, so that it may be changed in place.

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.level is None:
            return tuple, ([self.accumulated, self.skipped],)
        import cloudpickle
        import lz4.frame
        from coffea.processor.executor import _decompress

        plain = cloudpickle.dumps((self.accumulated, self.skipped), 5)
        return _decompress, (lz4.frame.compress(plain, compression_level=self.level),)


def chunks(function: Callable[[Any], Any], level: int | None, name: str) -> Callable[[Any], Sum]:
    """What runs coffea's function of a chunk, or of a file in preprocessing. name stands for it where it fails."""
    quiet = False

    def chunk(item: Any) -> Sum:
        nonlocal quiet
        if not quiet:  # Once a process, since each change of the filters has all warnings told again.
            warnings.filterwarnings("ignore", QUIET)
            quiet = True
        caught: list[BaseException] = []
        out = watched(function, caught)(item)
        skipped = [(place(item), words(caught[0]))] if out is None and caught else []
        return Sum(out, skipped, level, False)

    chunk.__name__ = chunk.__qualname__ = name
    return chunk


def watched(function: Callable[[Any], Any], caught: list[BaseException]) -> Callable[[Any], Any]:
    """The function, with what was raised last inside of coffea's retries in caught: these return None for a file that
    they skip, and keep to themselves why."""
    if not isinstance(function, functools.partial) or getattr(function.func, "__name__", "") != "automatic_retries":
        return function
    retries, skipped, inner, *rest = function.args

    def remembering(*args: Any, **kwargs: Any) -> Any:
        try:
            return inner(*args, **kwargs)
        except Exception as e:
            caught[:] = [e]
            raise

    return functools.partial(function.func, retries, skipped, remembering, *rest, **function.keywords)


def place(item: Any) -> tuple[str, str, str, int, int]:
    """What a chunk is of."""
    return (
        str(getattr(item, "dataset", "")),
        str(getattr(item, "filename", item)),
        str(getattr(item, "treename", "")),
        int(getattr(item, "entrystart", -1)),
        int(getattr(item, "entrystop", -1)),
    )


def words(e: BaseException) -> str:
    """An exception in a line, with its causes where its own words do not have them."""
    said = f"{type(e).__name__}: {e}".strip()
    while e.__cause__ is not None:
        e = e.__cause__
        more = f"{type(e).__name__}: {e}".strip()
        if str(e) not in said:
            said += f" (by {more})"
    said = " ".join(said.split())
    return said if len(said) <= LONG else said[:LONG] + "…"


LONG = 500  # characters of a reason


def add(level: int | None, a: Any, b: Any) -> Sum:
    """The sum of two sums, of which it may change the first one."""
    from coffea.processor.accumulator import add as added
    from coffea.processor.accumulator import iadd

    total = a if not isinstance(a, tuple) else Sum(a[0], a[1], level, True)
    accumulated, skipped = b if isinstance(b, tuple) else (b.accumulated, b.skipped)
    if total.accumulated is None:
        total.accumulated, total.own = accumulated, isinstance(b, tuple) or b.own
    elif accumulated is not None:
        total.accumulated = (iadd if total.own else added)(total.accumulated, accumulated)
        total.own = True
    total.skipped += skipped
    return total
