"""Reads what nodes have pickled, in the process of the user.

A pickle of an object whose class is the script's, or that of a module of the user's own, has the class in it, as it was
on the node. cloudpickle takes the class that is here, and gives it all that is in the pickle: attributes that were
changed here since would be as they were, and methods copies that see other globals than the script's. Classes of this
process stay as they are here. They are those that it has sent, and, where another process has done that, as with
results of a session that this one attaches to, those of the same names in modules that this process has imported.
"""

import enum
import io
import operator
import pickle
import sys
import weakref
from typing import Any, BinaryIO, Callable

import cloudpickle.cloudpickle as by_value

CLASS = b"_class_setstate"  # is in each pickle that has a class in it

_came: "weakref.WeakSet[type]" = weakref.WeakSet()  # classes that are none of this process, but have come to it


def loads(data: bytes | memoryview) -> Any:
    """As pickle.loads."""
    whole = data.obj if isinstance(data, memoryview) else data
    if isinstance(whole, bytes) and whole.find(CLASS) < 0:
        return pickle.loads(data)
    return load(io.BytesIO(data))


def load(file: BinaryIO) -> Any:
    """As pickle.load."""
    return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        own = _OWN.get(name) if module == by_value.__name__ else None
        return own if own is not None else super().find_class(module, name)


def _set_class(cls: type, state: Any) -> Any:
    return by_value._class_setstate(cls, state) if cls in _came else cls


def _making(make: Callable[..., type]) -> Callable[..., type]:
    """Makes a class unless it is here; the argument before the last tells which it is."""

    def made(*args: Any) -> type:
        known: type | None = by_value._DYNAMIC_CLASS_TRACKER_BY_ID.get(args[-2])
        if known is not None:
            return known  # and nothing that is called where a class is made, as __init_subclass__, is called again
        is_enum = make is _make_enum
        name, module = (args[2], args[4]) if is_enum else map(args[3].get, ("__qualname__", "__module__"))
        named = _named(name, module)
        if named is not None and issubclass(named, enum.Enum) == is_enum:
            return named
        cls = make(*args)
        _came.add(cls)
        return cls

    return made


def _named(name: str | None, module: str | None) -> type | None:
    """The class of a name in a module that this process has imported, or in its script."""
    if name is None or module is None or module not in sys.modules:
        return None
    try:
        found = operator.attrgetter(name)(sys.modules[module])
    except AttributeError:  # such as of a class that a function has made
        return None
    return found if isinstance(found, type) and (found.__module__, found.__qualname__) == (module, name) else None


_make_enum = by_value._make_skeleton_enum
_OWN: dict[str, Callable[..., Any]] = {
    "_class_setstate": _set_class,
    "_make_skeleton_class": _making(by_value._make_skeleton_class),
    "_make_skeleton_enum": _making(by_value._make_skeleton_enum),
}
