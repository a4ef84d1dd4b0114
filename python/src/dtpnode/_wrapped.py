"""Pickles of what cloudpickle makes none of that another process can read: of what functools makes of functions, of
classes with __slots__, of members of enumerations that have attributes, of what names types for annotations, and of
exceptions that are dataclasses.

It is shipped by value, so that nodes need not have this package, and so it imports nothing of it.
"""

import enum
import functools
import io
import operator
import sys
import types
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
    elif kind.__module__ == "typing":
        return named_type(kind, obj)
    elif isinstance(obj, BaseException) and "__dataclass_fields__" in dir(kind) and _is_plain(kind):
        return exception, (kind, obj.args), vars(obj), None, None, give
    return NotImplemented


def named_type(kind: type, obj: Any) -> Any:
    """How what names a type for annotations is pickled: pickle refers to it by its name in its module, which no other
    process finds in a script."""
    name = kind.__name__
    if name == "ParamSpecArgs" or name == "ParamSpecKwargs":
        return kind, (obj.__origin__,)
    if name not in ("NewType", "ParamSpec", "TypeVarTuple", "TypeAliasType") or importable(obj):
        return NotImplemented
    if name == "NewType":
        return kind, (obj.__name__, obj.__supertype__), dict(vars(obj))
    if name == "TypeAliasType":
        return made_type, (kind, (obj.__name__, obj.__value__), {"type_params": obj.__type_params__})
    more = ("bound", "covariant", "contravariant") if name == "ParamSpec" else ()
    return made_type, (kind, (obj.__name__,), {k: getattr(obj, f"__{k}__") for k in more})


def made_type(kind: Callable[..., Any], args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    """What names a type."""
    return kind(*args, **more)


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


def of_class(cls: type, made: tuple[Any, ...]) -> tuple[Any, ...]:
    """How a class is pickled by value, of how cloudpickle does it, which leaves out its qualified name, the attributes
    of an enumeration's members, and what was given to __init_subclass__, which it calls without that."""
    make, args, state, _, _, set_class = made
    if issubclass(cls, enum.Enum):
        # Names with underscores at both ends are those of the enumeration itself.
        own = {e.name: {k: v for k, v in vars(e).items() if not k[:1] == k[-1:] == "_"} for e in cls}
        if not any(own.values()):
            return made
        return make, args, (set_class, state, own), None, None, set_members
    constructor, name, bases, namespace, *tail = args
    args = constructor, name, bases, {**namespace, "__qualname__": cls.__qualname__}, *tail
    hooks = [base for base in cls.__mro__[1:-1] if "__init_subclass__" in vars(base)]
    if not all(map(importable, (constructor, *hooks))):
        make, args = quietly, (make, args)
    return make, args, state, None, None, set_class


def set_members(cls: Any, state: tuple[Callable[[Any, Any], object], Any, dict[str, dict[str, Any]]]) -> None:
    """Gives an enumeration its own attributes, and its members theirs. Where it stays as it is they do, too."""
    import cloudpickle.cloudpickle as c

    set_class, of_cls, own = state
    set_class(cls, of_cls)
    for name, values in own.items():
        has = vars(cls[name])
        has.update(values if set_class is c._class_setstate else {k: v for k, v in values.items() if k not in has})


def quietly(make: Callable[..., type], args: tuple[Any, ...]) -> type:
    """Makes a class unless it is here, without what its bases do as they get a subclass, nor its metaclass: that was
    done where it is from, and what has come of it is in their attributes. What every process has does its part."""
    import cloudpickle.cloudpickle as c

    constructor, name, given, *rest = args
    known: "type | None" = c._DYNAMIC_CLASS_TRACKER_BY_ID.get(rest[1])
    if known is not None:
        return known
    by_value = c._DYNAMIC_CLASS_TRACKER_BY_CLASS
    if constructor in by_value:
        plain = next(kind for kind in constructor.__mro__ if kind not in by_value)

        def construct(name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
            return plain.__new__(constructor, name, bases, namespace)

        args = construct, name, given, *rest
    bases = {b for base in types.resolve_bases(given) for b in getattr(base, "__mro__", ())}
    hooks = {base: vars(base).get("__init_subclass__") for base in bases if base in by_value}
    hooks = {base: hook for base, hook in hooks.items() if hook is not None}
    for base in hooks:
        type.__setattr__(base, "__init_subclass__", classmethod(lambda cls: None))
    try:
        return make(*args)
    finally:
        for base, hook in hooks.items():
            type.__setattr__(base, "__init_subclass__", hook)


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
        return operator.attrgetter(getattr(obj, "__qualname__", None) or obj.__name__)(module) is obj
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
            if isinstance(obj, type) and isinstance(made, tuple) and len(made) == 6:  # It goes by value.
                # What NamedTuple makes has none but those that it sets itself, and lets nobody else do so.
                if "__slots__" in obj.__dict__ and NamedTuple not in getattr(obj, "__orig_bases__", ()):
                    made = slotted(obj, made)
                made = of_class(obj, made)
        return made

    return type("Pickler", (base,), {"reducer_override": reducer_override})
