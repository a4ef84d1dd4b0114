"""What an initializer leaves behind in its process, for the calls that follow.

Functions of a script, and those of modules that travel by value, bring with each pickle the globals that they refer
to, so that a call would see none of what the initializer has set: a global, an attribute of a class or of a module, or
the content of a dict. What has changed in these while it ran stands in all that is unpickled later, as it would in one
process that has imported them once.

It is shipped by value, so that nodes need not have this package, and so it imports nothing of it.
"""

import contextlib
import functools
import hashlib
import sys
from types import FunctionType, MethodType, ModuleType
from typing import Any, Callable, Iterable, Iterator, NamedTuple

PLAIN = frozenset((int, float, str, bytes, bool, complex, type(None)))  # which nobody can change in place


class Space(NamedTuple):
    """A namespace that has come by value, as it was before the initializer ran."""

    of: Any  # the name of its module, or the class that it is of
    names: Any  # the mapping itself
    before: dict[str, tuple[Any, bytes | None]]  # each value, and what its content was


def starting(initializer: Callable[..., object], args: tuple[Any, ...]) -> Callable[[Any], None]:
    """What a process calls before its first call, as pyexec/child/code.py takes it."""

    def start(_given: Any, *others: Any) -> None:
        before: list[Space] = []
        with contextlib.suppress(Exception):  # of an object that lets nobody look into it: the initializer runs
            for of, names in spaces(initializer, *args):
                before.append(Space(of, names, {k: (v, content(v)) for k, v in names.items() if not is_own(k)}))
        initializer(*args)
        keep(before, others)

    return start


def with_others(start: Callable[..., None], *others: Any) -> Callable[[Any], None]:
    """What starting has made, for functions that have come in the same pickle, and so before it is called."""
    return lambda given: start(given, *others)


def spaces(*roots: Any) -> Iterator[tuple[Any, Any]]:
    """The namespaces which functions, and what else is called, can reach that have come by value, and what each is
    of. A module that came with some of its functions has another one than these have."""
    import cloudpickle.cloudpickle as c

    by_value = c._DYNAMIC_CLASS_TRACKER_BY_CLASS
    left, seen = list(roots), {id(root) for root in roots}

    def reach(values: Any) -> None:
        for value in values:
            if id(value) not in seen:
                seen.add(id(value))
                left.append(value)

    def space(of: Any, names: Any) -> Iterator[tuple[Any, Any]]:
        reach([v for k, v in names.items() if not is_own(k)])
        if id(names) not in seen or isinstance(of, type):
            seen.add(id(names))
            yield of, names

    while left:
        found = left.pop()
        if isinstance(found, FunctionType):
            around = found.__globals__
            name = around.get("__name__")
            reach([cell.cell_contents for cell in found.__closure__ or () if is_full(cell)])
            if isinstance(name, str) and getattr(sys.modules.get(name), "__dict__", None) is not around:
                yield from space(name, around)
        elif isinstance(found, MethodType):
            reach((found.__func__, found.__self__))
        elif isinstance(found, functools.partial):
            reach((found.func, *found.args, *found.keywords.values()))
        elif isinstance(found, ModuleType):
            if sys.modules.get(found.__name__) is not found:
                yield from space(found.__name__, vars(found))
        elif isinstance(found, (staticmethod, classmethod)):
            reach((found.__func__,))
        elif isinstance(found, type):
            if found in by_value:
                reach(found.__bases__)
                yield from space(found, vars(found))
        else:
            reach((type(found), getattr(found, "__dict__", {}).get("__wrapped__")))  # which functools.cache has made


def is_full(cell: Any) -> bool:
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True


def is_own(name: str) -> bool:
    """Whether Python itself sets a name in namespaces."""
    return name.startswith("__") and name.endswith("__") or name == "_abc_impl"


def content(value: Any) -> bytes | None:
    """What a value that can be changed in place contains; None of one that cannot, or has no pickle."""
    import cloudpickle

    if type(value) in PLAIN or isinstance(value, (FunctionType, ModuleType, type)):
        return None
    try:
        return hashlib.sha256(cloudpickle.dumps(value, 5)).digest()
    except Exception:
        return None


def keep(before: list[Space], others: Iterable[Any] = ()) -> None:
    """Has all that is unpickled from now on see what has changed in namespaces, and others, which are there already."""
    import cloudpickle.cloudpickle as c

    set_in: dict[str | int, dict[str, Any]] = {}  # of modules by their names, and of classes by their ids
    for of, names, were in before:
        key = of if isinstance(of, str) else id(of)
        for name, value in list(names.items()):
            if is_own(name):
                continue
            if name not in were or were[name][0] is not value or were[name][1] != content(value):
                set_in.setdefault(key, {})[name] = value
    if not set_in:
        return
    there = [(space.of, space.names) for space in before]
    with contextlib.suppress(Exception):
        there += spaces(*others)
    for of, names in there:
        if isinstance(of, str):  # A class is the same one for all.
            names.update(set_in.get(of, {}))
    classes = [space.of for space in before]  # whose ids are no others' as long as they are there
    function, class_, module = c._function_setstate, c._class_setstate, c.dynamic_subimport

    # Pickles that this process makes refer to them by their names, as before.
    @functools.wraps(function)
    def set_function(obj: Any, state: Any) -> Any:
        out = function(obj, state)
        obj.__globals__.update(set_in.get(obj.__globals__.get("__name__"), {}))
        return out

    @functools.wraps(class_)
    def set_class(obj: Any, state: Any) -> Any:
        out = class_(obj, state)
        assert classes
        for name, value in set_in.get(id(obj), {}).items():
            with contextlib.suppress(Exception):  # of a class that lets nobody set it
                setattr(obj, name, value)
        return out

    @functools.wraps(module)
    def make_module(name: str, vars: dict[str, Any]) -> Any:
        out = module(name, vars)
        out.__dict__.update(set_in.get(name, {}))
        return out

    c._function_setstate, c._class_setstate, c.dynamic_subimport = set_function, set_class, make_module
