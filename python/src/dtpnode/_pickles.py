"""Pickles of what goes to the nodes."""

import io
import pickle
from collections import ChainMap
from types import CodeType
from typing import Any

import cloudpickle

from ._errors import Unpicklable
from ._modules import by_reference, ship
from ._unpicklable import unpicklable

_PLAIN = frozenset((int, float, str, bytes, bool, complex, type(None)))
_DEEP = 3  # levels of tuples and lists that are looked through


def plain(value: Any, deep: int = _DEEP) -> bool:
    """Whether a value needs no code to be unpickled: pickle makes the same of it as cloudpickle, ten times as fast."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if deep and (kind is tuple or kind is list) and len(value) <= 16:
        return all(plain(v, deep - 1) for v in value)
    return kind is dict and not value


NONE: frozenset[str] = frozenset()


def checked(fn: Any, root: str, but: frozenset[str] = NONE) -> Any:
    """A function, which can be sent to another process: root names it in the error otherwise."""
    _dumps(fn, {root: fn}, but)
    return fn


def value(v: Any, root: str, but: frozenset[str] = NONE) -> bytes:
    """The pickle of a value, which another process reads that has none of this one's code."""
    return pickle.dumps(v, 5) if plain(v) else _dumps(v, {root: v}, but)


def function(fn: Any, but: frozenset[str] = NONE) -> bytes:
    """The pickle of a function, which another process reads that has none of this one's code, but for modules that go
    along as files."""
    return _dumps(fn, {"the function": fn}, but)


def arguments(args: tuple[Any, ...], kwargs: dict[str, Any], but: frozenset[str] = NONE) -> bytes:
    """The pickle of (args, kwargs)."""
    value = args, kwargs
    return pickle.dumps(value, 5) if plain(value) else _dumps(value, {"args": args, "kwargs": kwargs}, but)


def _dumps(value: Any, parts: dict[str, Any], but: frozenset[str]) -> bytes:
    try:
        return by_value(value, but)
    except Exception as e:
        whys = (unpicklable(part, root) for root, part in parts.items())
        why = next(filter(None, whys), f"{type(e).__name__}: {e}")
        raise Unpicklable(f"could not send a call: {why}", "make it where it is used, in the function itself") from e


def by_value(value: Any, but: frozenset[str] = NONE) -> bytes:
    """As cloudpickle.dumps, but code keeps the name of its file, which tracebacks show. but are top-level names of own
    modules that are pickled by reference."""
    ship()
    out = io.BytesIO()
    with by_reference(but):
        _Pickler(out, 5).dump(value)
    return out.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    pass


def _code(code: CodeType) -> tuple[Any, ...]:
    make, args = _reduce(code)
    return make, tuple(code.co_filename if a == NAMELESS else a for a in args)


NAMELESS = "<dynamic-code>"  # what cloudpickle has in place of a name, in some versions
_reduce = _Pickler.dispatch_table.get(CodeType)
if _reduce is not None:
    _Pickler.dispatch_table = ChainMap({CodeType: _code}, *_Pickler.dispatch_table.maps)
