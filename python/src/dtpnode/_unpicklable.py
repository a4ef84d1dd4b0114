"""What in a value keeps it from being pickled.

It is shipped by value, so that nodes need not have this package, and so it imports nothing of it but what is shipped
in the same way.
"""

from types import FunctionType, MemberDescriptorType
from typing import Any, Callable, Iterator

from ._wrapped import CACHED, pickler

DEPTH = 12  # levels that are looked through
WIDTH = 1000  # parts of one value that are
# Packages in whose objects nobody looks for a part of their own.
WHOLE = {"dtpnode", "concurrent", "multiprocessing", "threading", "queue", "asyncio"}


class Nothing:
    """A file that keeps nothing of what is written: parts may have GBs."""

    def write(self, data: Any) -> int:
        return len(data)


def unpicklable(value: Any, root: str) -> str:
    """Names the innermost part of a value that cannot be pickled, from root on, and says why: "the result.lock, a
    _thread.lock: cannot pickle '_thread.lock' object". It is empty where nothing is found."""
    import cloudpickle

    kind = pickler(cloudpickle.Pickler)

    def why(part: Any) -> str:
        try:
            kind(Nothing(), protocol=5).dump(part)
        except RecursionError:
            return "it refers to itself too deeply"
        except Exception as e:
            return str(e) or type(e).__name__
        return ""

    reason = why(value)
    if not reason:
        return ""
    path, seen = root, {id(value)}
    for _ in range(DEPTH):
        for name, part in _parts(value):
            if id(part) in seen:
                continue
            seen.add(id(part))
            inner = why(part)
            if inner:
                path, value, reason = path + name, part, inner
                break
        else:
            break
    of = type(value)
    where = of.__qualname__ if of.__module__ == "builtins" else f"{of.__module__}.{of.__qualname__}"
    return f"{path}, {'an' if where[0] in 'aeiou' else 'a'} {where}: {reason}"


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value is pickled of, with how each is reached from it."""
    if type(value).__module__.partition(".")[0] in WHOLE:
        return
    if isinstance(value, dict):
        for k, v in list(value.items())[:WIDTH]:
            yield f"[{k!r}]", v
        return
    if isinstance(value, (list, tuple, set, frozenset)):
        for i, v in enumerate(list(value)[:WIDTH]):
            yield (f"[{i}]" if isinstance(value, (list, tuple)) else " element"), v
        return
    call: Callable[..., Any] | None = getattr(value, "__func__", None)
    if call is not None and hasattr(value, "__self__"):
        yield ".__self__", value.__self__
        yield ".__func__", call
        return
    if hasattr(value, "func") and hasattr(value, "keywords"):  # functools.partial
        yield ".func", value.func
        yield ".args", value.args
        yield ".keywords", value.keywords
    if type(value) is CACHED:
        yield ".__wrapped__", value.__wrapped__
    if isinstance(value, type):
        # Methods refer to the class, and so fail for what any other attribute has.
        own = ((k, v) for k, v in vars(value).items() if not isinstance(v, MemberDescriptorType))
        attributes = [(f".{k}", v) for k, v in own if k != "_abc_impl" and not (k[:2] == k[-2:] == "__")]
        methods = FunctionType, classmethod, staticmethod, property
        yield from sorted(attributes[:WIDTH], key=lambda named: isinstance(named[1], methods))
        return
    code = getattr(value, "__code__", None)
    if code is not None:
        yield from _of_function(value, code)
        return
    if isinstance(value, BaseException):
        yield ".args", value.args
    of_object = getattr(value, "__dict__", None)
    if of_object is not None:
        for k, v in list(of_object.items())[:WIDTH]:
            yield f".{k}", v
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for k in (slots,) if isinstance(slots, str) else tuple(slots):
            if hasattr(value, k):
                yield f".{k}", getattr(value, k)
    yield f" -> its class {type(value).__qualname__}", type(value)


def _of_function(value: Any, code: Any) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(code.co_freevars, value.__closure__ or ()):
        try:
            yield f" -> its variable {name}", cell.cell_contents
        except ValueError:
            pass  # It has no value yet.
    for name in code.co_names:
        if name in value.__globals__:
            yield f" -> the global {name}", value.__globals__[name]
    for i, v in enumerate(value.__defaults__ or ()):
        yield f" -> its default {i}", v
