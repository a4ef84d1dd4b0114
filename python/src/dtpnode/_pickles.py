"""Pickles of what goes to the nodes."""

import io
import pickle
import sys
import weakref
from collections import ChainMap
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Callable, NamedTuple

import cloudpickle

from . import _wrapped
from ._calls import Fresh
from ._errors import TooLarge, Unpicklable
from ._modules import by_reference, registered, ship, some_as_files
from ._ofroot import of_root, reduced
from ._unpicklable import unpicklable

cloudpickle.register_pickle_by_value(_wrapped)

MAX_ITEM = (32 << 20) - (1 << 10)  # bytes; the daemon takes 32 MiB of items with what tells where each ends
_PLAIN = frozenset((int, float, str, bytes, bool, complex, type(None)))
_SIGNED = frozenset((float, complex))  # of which 0 and -0 are equal, and not the same
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
    return pickle.dumps(v, 5) if plain(v) else _dumps(v, {root: v}, but, root)


def function(fn: Any, but: frozenset[str] = NONE) -> bytes:
    """The pickle of a function, which another process reads that has none of this one's code, but for modules that go
    along as files. It is kept of functions that refer to nothing which can change in place: to make it takes longer
    than all else that is done for a call."""
    fn = as_sent(fn, but)
    if isinstance(fn, Fresh):
        return by_value(fn, but)
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


def has_state(fn: Callable[..., Any]) -> bool:
    """Whether a function has a state of its own, as a method of an object, which each call may change."""
    of = getattr(fn, "__self__", None)
    if isinstance(fn, BuiltinFunctionType):
        return of is not None and not isinstance(of, (ModuleType, type))
    return not isinstance(fn, (FunctionType, type, _wrapped.CACHED, Fresh))


def as_sent(fn: Callable[..., Any], but: frozenset[str] = NONE) -> Callable[..., Any]:
    """What is called in the place of a function: of one with a state of its own each call has it as it is now. That
    such a function has no pickle is an Unpicklable."""
    if not has_state(fn):
        return fn
    name = getattr(fn, "__qualname__", None) or repr(fn)[:NAME]
    return Fresh(_dumps(fn, {"the function": fn}, but), name)


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
            if kind is ModuleType and (_among(value.__name__, shipped) or sys.modules.get(value.__name__) is not value):
                return None
            if kind is not ModuleType and kind not in _PLAIN:
                return None
            values += (kind, repr(value) if kind in _SIGNED else value)
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
    if plain(value):
        return pickle.dumps(value, 5) if small(value) else _Bounded.dumps(value)
    return _dumps(value, {"args": args, "kwargs": kwargs}, but, "arguments")


def item(number: int, args: tuple[Any, ...], but: frozenset[str] = NONE) -> bytes:
    """The pickle of the arguments of a call that is one of many: number is that which its user counts, from 0 on, and
    is in the error where it cannot be sent."""
    try:
        return arguments(args, {}, but)
    except TooLarge as e:
        raise TooLarge(f"the item {number} is too large: {e.message}", e.hint) from None
    except Unpicklable as e:
        why = e.message.removeprefix(UNSENT)
        raise Unpicklable(f"could not send the call of the item {number}: {why}", e.hint) from e.__cause__


UNSENT = "could not send a call: "


def small(value: Any) -> bool:
    """Whether what is plain is known to be far below the bound of a call. What is far above it is refused: a text is
    encoded as a whole before any of it is written."""
    if type(value) in _LONG:
        if len(value) > MAX_ITEM:
            raise _too_large("arguments")
        return len(value) < LONG
    return type(value) not in _NESTED or all(map(small, value))


_LONG, _NESTED = frozenset((str, bytes)), frozenset((tuple, list))
LONG = 1 << 20  # characters, or bytes


FUNCTION = "function, with what it refers to"


def _dumps(value: Any, parts: dict[str, Any], but: frozenset[str], what: str = FUNCTION) -> bytes:
    try:
        return by_value(value, but, what)
    except TooLarge:
        raise
    except Exception as e:
        why = _why(parts) or f"{type(e).__name__}: {e}"
        raise Unpicklable(UNSENT + why, _advice(why)) from e


def named(parts: dict[str, Any], what: str) -> Unpicklable | None:
    """What is to be raised for the want of a pickle of one of some parts, by their names; None if all have one."""
    why = _why(parts)
    return Unpicklable(f"{what}: {why}", _advice(why)) if why else None


def _why(parts: dict[str, Any]) -> str:
    """Which of some parts has no pickle, by their names; empty if all have one."""
    return next(filter(None, (unpicklable(part, root) for root, part in parts.items())), "")


def unsent(parts: dict[str, Any]) -> Unpicklable | None:
    """As named, where an executor cannot be made."""
    return named(parts, "could not make the executor")


_ADVICE = (
    ("async_generator", "send a list of what it yields, or make it in the function itself"),
    ("coroutine", "send the function that makes it, and run it there: lambda *args: asyncio.run(f(*args))"),
    ("generator", "send list(...) of what it yields, or make it in the function itself"),
    ("_io.", "send the path of the file, and open it in the function itself"),
    ("sqlite3.", "send the path of the database, which the nodes have to see, and open it in the function itself"),
    ("uture: ", "send what its result() gives"),
    (
        "a dtpnode.",
        "it belongs to this process, so send a function that does not refer to it, as a method does to all that its "
        "object has: leave it out in the class's __getstate__, and in a call that needs the pool make a Client",
    ),
    (
        "multiprocessing.",
        "calls run in other processes, mostly of other hosts, which share no memory, lock or queue: return what is to "
        "be told, and take it here",
    ),
    ("_thread._local", "each process has one of its own: make it in the function itself"),
    ("_thread.", "calls run in other processes, which share no lock: return what is to be added up, and do that here"),
)


def _advice(why: str) -> str:
    """What to do about something that cannot be pickled, in the words of unpicklable."""
    fitting = (advice for word, advice in _ADVICE if word in why)
    return next(fitting, "make it where it is used, in the function itself")


def by_value(value: Any, but: frozenset[str] = NONE, what: str = "") -> bytes:
    """As cloudpickle.dumps, but code keeps the name of its file, which tracebacks show. but are top-level names of own
    modules that are pickled by reference. With what, the words for a part of a call, a pickle that is too large for one
    is a TooLarge as soon as that is known, long before there is all of it."""
    ship()
    out = _Bounded(what) if what else io.BytesIO()
    bound = out.offered if isinstance(out, _Bounded) else None
    with by_reference(but):
        _Pickler(out, 5, buffer_callback=bound).dump(value)
    return out.getvalue()


class _Bounded(io.BytesIO):
    """Takes no more bytes than a call may have. what is the part of the call that is written."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    @classmethod
    def dumps(cls, value: Any) -> bytes:
        """The pickle of arguments that pickle knows."""
        out = cls("arguments")
        pickle.Pickler(out, 5).dump(value)
        return out.getvalue()

    def write(self, data: Any) -> int:
        self._take(memoryview(data).nbytes)  # It may be the buffer of an array, which has no len.
        return super().write(data)

    def offered(self, buffer: pickle.PickleBuffer) -> bool:
        """Is asked for each large buffer, such as that of an array, before it is copied; all go into the pickle."""
        self._take(buffer.raw().nbytes)
        return True

    def _take(self, n: int) -> None:
        if self.tell() + n > MAX_ITEM:
            raise _too_large(self._what)


def _too_large(what: str) -> TooLarge:
    return TooLarge(
        f"a call has more than {MAX_ITEM:,} bytes as a pickle, and may have that many: most are those of its {what}",
        "write the data to a file that the nodes can read and hand over its name, or have the function make them",
    )


instead: dict[type, tuple[Any, ...]] = {}  # how classes are pickled for now that have no pickle of their own


class _Pickler(_wrapped.pickler(cloudpickle.Pickler)):  # type: ignore[misc]
    def reducer_override(self, obj: Any) -> Any:
        if instead and isinstance(obj, type) and obj in instead:
            return instead[obj]
        return reduced(obj) if of_root(obj) else super().reducer_override(obj)


def _code(code: CodeType) -> tuple[Any, ...]:
    make, args = _reduce(code)
    return make, tuple(code.co_filename if a == NAMELESS else a for a in args)


NAMELESS = "<dynamic-code>"  # what cloudpickle has in place of a name, in some versions
_reduce = _Pickler.dispatch_table.get(CodeType)
if _reduce is not None:
    _Pickler.dispatch_table = ChainMap({CodeType: _code}, *_Pickler.dispatch_table.maps)
