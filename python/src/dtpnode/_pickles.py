"""Pickles of what goes to the nodes."""

import io
import pickle
import weakref
from collections import ChainMap
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import cloudpickle

from ._calls import Fresh
from ._errors import Unpicklable
from ._modules import by_reference, registered, ship, some_as_files
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
    along as files. It is kept of functions that refer to nothing which can change in place: to make it takes longer
    than all else that is done for a call."""
    if not isinstance(fn, (FunctionType, BuiltinFunctionType, type)):
        name = getattr(fn, "__qualname__", None) or repr(fn)[:NAME]
        return by_value(Fresh(_dumps(fn, {"the function": fn}, but), name), but)
    if type(fn) is not FunctionType or but or some_as_files():
        return _dumps(fn, {"the function": fn}, but)
    ship()
    kept = _kept.get(fn)
    names = kept.names if kept is not None and kept.code is fn.__code__ else _names(fn.__code__)
    state = _state(fn, names)
    if kept is not None and state is not None and kept.code is fn.__code__ and kept.state == state:
        return kept.pickle
    pickled = _dumps(fn, {"the function": fn}, but)
    if state is not None and len(pickled) <= MAX_KEPT:
        _kept[fn] = _Kept(fn.__code__, names, state, pickled)
    return pickled


NAME = 100  # characters of what stands for a function that has no name
MAX_KEPT = 64 << 10  # bytes of a pickle that is kept


class _Kept(NamedTuple):
    code: CodeType
    names: tuple[str, ...]  # all that the code may look up among its globals
    state: tuple[Any, ...]
    pickle: bytes


_kept: "weakref.WeakKeyDictionary[FunctionType, _Kept]" = weakref.WeakKeyDictionary()


def _names(code: CodeType) -> tuple[str, ...]:
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            names.update(_names(const))
    return tuple(sorted(names))


def _state(fn: FunctionType, names: tuple[str, ...]) -> tuple[Any, ...] | None:
    """All that a function's pickle depends on: equal states have equal pickles. None if something of it can change in
    place, or is not known not to."""
    if fn.__dict__:
        return None
    if getattr(fn, "__type_params__", None):
        return None
    around, shipped = fn.__globals__, registered()
    values: list[Any] = [shipped, fn.__name__, fn.__qualname__, fn.__module__, fn.__doc__]
    try:
        parts = (
            fn.__defaults__ or (),
            (fn.__kwdefaults__ or {}).values(),
            [c.cell_contents for c in fn.__closure__ or ()],
            [around[n] for n in names if n in around],
        )
    except ValueError:  # A cell is empty yet.
        return None
    for part in parts:
        for value in part:
            kind = type(value)
            if kind not in _PLAIN and (kind is not ModuleType or _among(value.__name__, shipped)):
                return None
            values += (kind, value)
        values.append(None)
    values += (fn.__kwdefaults__ or {}).keys()
    values += (n in around for n in names)
    for name, value in fn.__annotations__.items():
        if type(value) is not str and (type(value) is not type or value.__module__ != "builtins"):
            return None
        values += (name, value)
    return tuple(values)


def _among(name: str, packages: set[str]) -> bool:
    """Whether a module is one of some packages, or in one."""
    while name not in packages:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return False
    return True


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
        hint = "make it where it is used, in the function itself"
        if "generator" in why:
            hint = "send a list of what it yields, or make it in the function itself"
        raise Unpicklable(f"could not send a call: {why}", hint) from e


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
