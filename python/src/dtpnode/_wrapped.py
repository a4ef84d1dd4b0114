"""Pickles of what cloudpickle makes none of that another process can read: of what functools makes of functions, of
classes with __slots__, and of exceptions that are dataclasses.

It is shipped by value, so that nodes need not have this package, and so it imports nothing of it.
"""

import functools
import io
import operator
import sys
from types import FunctionType, MemberDescriptorType
from typing import Any, Callable, NamedTuple

CACHED = type(functools.lru_cache(len))  # of what functools.lru_cache and functools.cache make
MADE = ("__wrapped__", "cache_parameters", "register", "dispatch", "registry", "_clear_cache")  # attributes


def reduced(obj: Any) -> Any:
    """How such an object is pickled, as reducer_override says it: NotImplemented of all others, and of those that
    another process imports by their names. A cache is empty in the other process."""
    kind = type(obj)
    if kind is CACHED:
        if not importable(obj):
            return cached, (obj.__wrapped__, obj.cache_parameters()), attributes(obj)
    elif kind is FunctionType:
        if "registry" in obj.__dict__ and _dispatches(obj) and not importable(obj):
            others = [(cls, fn) for cls, fn in obj.registry.items() if cls is not object]
            return dispatching, (obj.registry[object],), (others, attributes(obj)), None, None, register
    elif kind is functools.cached_property and hasattr(obj, "lock"):  # as before Python 3.12
        return functools.cached_property, (obj.func,), {"attrname": obj.attrname, "__doc__": obj.__doc__}
    elif kind is functools.singledispatchmethod and hasattr(obj, "_method_cache"):  # by weak references, in Python 3.13
        return functools.singledispatchmethod, (obj.func,), {"dispatcher": obj.dispatcher}
    elif isinstance(obj, BaseException) and "__dataclass_fields__" in dir(kind) and _is_plain(kind):
        return exception, (kind, obj.args), vars(obj), None, None, give
    return NotImplemented


def _is_plain(kind: Any) -> bool:
    """Whether the objects of a class of exceptions are pickled as exceptions are: by a call of the class with what is
    in args, which lacks what a dataclass was given by name, and then by setting attributes, which a frozen one
    refuses."""
    return (
        kind.__reduce__ is BaseException.__reduce__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__setstate__ is BaseException.__setstate__
        and not any("__slots__" in vars(c) for c in kind.__mro__)
    )


def exception(kind: Any, args: tuple[Any, ...]) -> Any:
    """An exception without attributes."""
    return kind.__new__(kind, *args)


def give(obj: Any, attributes: dict[str, Any]) -> None:
    """Gives an exception its attributes, also where its class lets nobody set them."""
    vars(obj).update(attributes)


def _dispatches(fn: Any) -> bool:
    """Whether functools.singledispatch has made a function."""
    return fn.__code__ is functools.singledispatch(len).__code__  # type: ignore[attr-defined]


def slotted(cls: type, made: tuple[Any, ...]) -> tuple[Any, ...]:
    """How a class with __slots__ is pickled, of how cloudpickle does it, which gives it them when it is made already:
    then they make no room in its objects, whose state does not fit those of the same class elsewhere."""
    make, args, (attributes, more), *rest = made
    constructor, name, bases, namespace, *tail = args
    slots = {name for name, v in attributes.items() if isinstance(v, MemberDescriptorType) and v.__objclass__ is cls}
    attributes = {name: v for name, v in attributes.items() if name not in slots and name != "__slots__"}
    namespace = {**namespace, "__slots__": cls.__slots__}  # type: ignore[attr-defined]
    return make, (constructor, name, bases, namespace, *tail), (attributes, more), *rest


def importable(obj: Any) -> bool:
    """Whether another process finds an object by its name in a module that is there."""
    import cloudpickle

    name = getattr(obj, "__module__", None)
    module = sys.modules.get(name) if isinstance(name, str) else None
    if not isinstance(name, str) or module is None or name == "__main__":
        return False
    by_value = cloudpickle.list_registry_pickle_by_value()
    parts = name.split(".")
    if any(".".join(parts[:n]) in by_value for n in range(1, len(parts) + 1)):
        return False
    try:
        return operator.attrgetter(obj.__qualname__)(module) is obj
    except AttributeError:
        return False


def attributes(obj: Any) -> dict[str, Any]:
    """The attributes that the user has given it."""
    return {name: v for name, v in vars(obj).items() if name not in MADE}


def cached(fn: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """A function with a cache, which is empty."""
    return functools.lru_cache(**parameters)(fn)


def dispatching(fn: Callable[..., Any]) -> Any:
    """A function that chooses another one by the class of its first argument."""
    return functools.singledispatch(fn)


def register(fn: Any, state: tuple[list[tuple[type, Callable[..., Any]]], dict[str, Any]]) -> None:
    """Gives it the others. It may be told of them twice, where one of them refers to it."""
    others, own = state
    for kind, other in others:
        fn.register(kind, other)
    vars(fn).update(own)


def dumps(value: Any) -> bytes:
    """As cloudpickle.dumps, for such objects too."""
    import cloudpickle

    out = io.BytesIO()
    pickler(cloudpickle.Pickler)(out, 5).dump(value)
    return out.getvalue()


def pickler(base: Any) -> Any:
    """A class of picklers, of that of cloudpickle, for such objects too."""

    def reducer_override(self: Any, obj: Any) -> Any:
        made = reduced(obj)
        if made is NotImplemented:
            made = base.reducer_override(self, obj)
            if isinstance(obj, type) and "__slots__" in obj.__dict__ and isinstance(made, tuple):
                # What NamedTuple makes has none but those that it sets itself, and lets nobody else do so.
                made = made if NamedTuple in getattr(obj, "__orig_bases__", ()) else slotted(obj, made)
        return made

    return type("Pickler", (base,), {"reducer_override": reducer_override})
