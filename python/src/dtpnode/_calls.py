"""Calls as the items of a job: how they are written here, and what runs them on the nodes.

The second part is shipped by value, so that nodes need not have this package, and so it imports nothing of it but
what is shipped in the same way.

An item is a call. It begins with a byte that says where the function is:

    0  four bytes with the length of the function's pickle, little-endian, the pickle, then that of (args, kwargs)
    1  four bytes: how many items before this one, of the same append, has it; then the pickle of (args, kwargs)
"""

import contextlib
import functools
import os
import pickle
import struct
import weakref
from collections import OrderedDict
from types import FunctionType
from typing import Any, Callable

from ._initial import is_own

_U32 = struct.Struct("<I")


class Batch:
    """The items of one append, in which each function is written once."""

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.size = 0  # bytes
        self._at: dict[bytes, int] = {}

    def add(self, function: bytes, arguments: bytes) -> None:
        at = self._at.get(function)
        if at is None:
            self._at[function] = len(self.items)
            item = b"\0" + _U32.pack(len(function)) + function + arguments
        else:
            item = b"\1" + _U32.pack(len(self.items) - at) + arguments
        self.items.append(item)
        self.size += len(item)


KEPT = 256  # functions that a process keeps unpickled
KEPT_BYTES = 32 << 20  # bytes of their pickles; the last one is kept whatever it has, since the next call mostly has it

# With the classes that have come with each, and the numbers of their states when it was unpickled.
_functions: "OrderedDict[bytes, tuple[Callable[..., Any], dict[type, int]]]" = OrderedDict()

SETS_CLASS = "_class_setstate"  # of cloudpickle: it is named in each pickle that has a class in it


class States:
    """The states of classes that have come in pickles. A class is one for all pickles that have it, and each gives it
    all of its attributes anew, as they were when the pickle was made. So a function that is kept may find those which
    its class had for another call."""

    def __init__(self) -> None:
        # The number of a class's state, and what tells that from others; None as long as none is looked at.
        self._of: "weakref.WeakKeyDictionary[type, tuple[int, dict[str, Any]]] | None" = None
        self._given: dict[type, int] = {}  # by the pickle that is being read

    def __reduce__(self) -> Any:
        return States, ()

    def begin(self, pickled: bytes) -> dict[type, int]:
        """Is told that a function's pickle is about to be read. What it returns then has the classes that are in it,
        with the numbers of their states."""
        if self._of is None and SETS_CLASS.encode() in pickled:
            self._watch()
        self._given = {}
        return self._given

    def are(self, classes: dict[type, int]) -> bool:
        """Whether classes have these states still."""
        return not classes or all(self._of is not None and self._of[c][0] == n for c, n in classes.items())

    def _watch(self) -> None:
        import cloudpickle.cloudpickle as c

        of = self._of = weakref.WeakKeyDictionary()
        set_class = getattr(c, SETS_CLASS)

        @functools.wraps(set_class)  # Pickles that this process makes refer to it by its name, as before.
        def watched(cls: Any, state: Any) -> Any:
            now = {name: content(value) for name, value in state[0].items() if not is_own(name)}
            number, was = of.get(cls, (0, now))
            if number == 0 or now != was:
                of[cls] = number, _ = number + 1, now
            for name in was.keys() - now.keys():  # of attributes that were deleted where the pickle was made
                with contextlib.suppress(Exception):
                    delattr(cls, name)
            self._given[cls] = number
            return set_class(cls, state)

        setattr(c, SETS_CLASS, watched)


def content(value: Any, deep: int = 3) -> Any:
    """What tells the value of a class's attribute from others: of a function its code, and what that has beside it, as
    far as that is no function in a function in a third one."""
    import cloudpickle

    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if isinstance(value, type):
        return id(value)
    try:
        if isinstance(value, FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or ()] if deep else []
            parts = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells]
            return value.__code__, [content(part, deep - 1) for part in parts]
        return hash(cloudpickle.dumps(value, 5))
    except Exception:
        return None


_states = States()


def call(item: Any, blob: Any, at: int) -> Any:
    """Runs the call that is item number ``at`` of a blob."""
    function, arguments = _parts(item, blob, at)
    args, kwargs = _read(arguments, "the arguments")
    return function(*args, **kwargs)


def run(batch: Callable[[], Any]) -> Any:
    """Calls what is its argument, so that this is the function which is kept, and not all that it is called with."""
    return batch()


run.is_batch_of_calls = True  # type: ignore[attr-defined]  # of calls, which are shown in its place


def words(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], text: Callable[[Any], str]) -> str:
    """A call as its user has written it: of a batch the first one, and how many others there are. text shows an
    argument."""
    more = 0
    if getattr(function, "is_batch_of_calls", False):
        batch = list(getattr(args[0], "items", ()))  # as joblib has them
        if batch:
            (function, args, kwargs), more = batch[0], len(batch) - 1
    name = getattr(function, "__qualname__", None) or text(function)
    shown = f"{name}({', '.join([text(a) for a in args] + [f'{k}={text(v)}' for k, v in kwargs.items()])})"
    return shown + (f" or one of the {more} behind it" if more > 1 else " or the one behind it" if more else "")


class Fresh:
    """A function that has a state of its own, such as a method of an object: each call has it as it was sent, whatever
    other calls in this process have made of it."""

    def __init__(self, pickled: bytes, name: str) -> None:
        self._pickled, self.__qualname__ = pickled, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return pickle.loads(self._pickled)(*args, **kwargs)


def show(item: Any, blob: Any, at: int) -> str:
    """A call as its user has written it."""
    function, arguments = _parts(item, blob, at)
    name = getattr(function, "__qualname__", None) or repr(function)
    try:
        args, kwargs = pickle.loads(arguments)
    except Exception as e:
        return f"{name}(<arguments that could not be unpickled there: {type(e).__name__}>)"
    return words(function, args, kwargs, repr)


def _read(pickled: Any, what: str) -> Any:
    """What a part of a call is a pickle of. What reading it raises says nothing of calls, as the function has not
    begun, so that a note does."""
    try:
        return pickle.loads(pickled)
    except Exception as e:
        with contextlib.suppress(Exception):  # Exceptions have no notes before Python 3.11, and some take none.
            e.add_note(f"{what} of the call could not be unpickled on {os.uname().nodename}; nothing of it has run")
        raise


def _parts(item: Any, blob: Any, at: int) -> tuple[Callable[..., Any], Any]:
    """The function of a call, and the pickle of its arguments."""
    size = int.from_bytes(item[1:5], "little")
    if item[0] == 0:
        pickled, arguments = bytes(item[5 : 5 + size]), item[5 + size :]
    else:
        first = blob[at - size]
        pickled, arguments = bytes(first[5 : 5 + int.from_bytes(first[1:5], "little")]), item[5:]
    kept = _functions.get(pickled)
    if kept is None or not _states.are(kept[1]):
        classes = _states.begin(pickled)
        kept = _functions[pickled] = _read(pickled, "the function"), dict(classes)
        while len(_functions) > KEPT or len(_functions) > 1 and sum(map(len, _functions)) > KEPT_BYTES:
            _functions.popitem(last=False)
    _functions.move_to_end(pickled)
    return kept[0], arguments
