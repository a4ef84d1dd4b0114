"""Exceptions as they leave the process in which they were raised: in words, and as pickles.

It is shipped by value, so that nodes need not have this package, and so it imports nothing of it but what is shipped
in the same way.
"""

from typing import Any, Callable

from ._unpicklable import unpicklable
from ._wrapped import reduced

OWN = "the exception, "  # begins what unpicklable says of an exception that has no part which is in the way


def described(e: BaseException) -> str:
    """An exception in words: its class, named as in tracebacks, and its own text. The last line of a traceback is not
    the same: it may be that of a note, or the end of a text of several lines."""
    kind = type(e)
    name = kind.__qualname__
    if kind.__module__ not in ("__main__", "builtins"):
        name = f"{kind.__module__}.{name}"
    try:
        text = str(e)
    except Exception:  # of its own __str__
        return name
    return f"{name}: {text}" if text else name


def with_notes(e: BaseException) -> str:
    """An exception in words, and its notes behind that, a line each, as in tracebacks."""
    notes = getattr(e, "__notes__", None)
    return "\n".join([described(e), *map(str, notes if isinstance(notes, (list, tuple)) else ())])


def pickled(e: BaseException, dumps: Callable[[Any], bytes]) -> "bytes | str":
    """The pickle of an exception, as dumps makes it, or in words why there is none and what to do about that.

    Attributes that have no pickle are left out where there is one without them, and a note names them: who catches the
    exception by its class catches it still.
    """
    try:
        return dumps(e)
    except MemoryError:
        raise
    except BaseException as failed:  # whatever a __reduce__ of the user's raises
        why = why_not(e, "the exception") or f"the exception: {type(failed).__name__}: {failed}"
    try:
        return dumps(Bare(without(e)))
    except MemoryError:
        raise
    except BaseException:
        advice = (
            "have what __reduce__ of its class gives be what can be pickled"
            if why.startswith(OWN)
            else "raise it without that, or have its class define a __reduce__ that leaves it out"
        )
        return f"the exception itself could not be sent: {why}; {advice}"


class Bare:
    """Is unpickled as what it is given says, as __reduce__ has it."""

    def __init__(self, made: tuple[Any, ...]) -> None:
        self._made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return self._made


def without(e: BaseException) -> tuple[Any, ...]:
    """How an exception is pickled, as __reduce__ has it, without the attributes that have no pickle."""
    made: Any = reduced(e)
    if made is NotImplemented:
        made = e.__reduce_ex__(5)
    make, args, state, *rest = made
    whys = {name: why_not(value, f"the exception.{name}") for name, value in state.items()}
    kept = {name: value for name, value in state.items() if not whys[name]}
    note = "left out on its way, since it has no pickle: " + "; ".join(filter(None, whys.values()))
    kept["__notes__"] = [*kept.get("__notes__", ()), note]
    return (make, args, kept, *rest)


def why_not(value: Any, root: str) -> str:
    """As unpicklable has it, also where code of the user's ends that."""
    try:
        return unpicklable(value, root)
    except Exception as e:
        return f"{root}: {type(e).__name__}: {e}"
