"""Calls that are on their way, as text for errors that concern them."""

from collections import deque
from typing import Any, Callable

from . import _unpickle
from ._calls import words

MOST = 32 << 20  # bytes of items that are kept to be shown; the oldest go
SMALL = 1 << 20  # bytes of an append that is kept as it is; of a larger one
SHORT = 16 << 10  # the arguments that have fewer bytes as a pickle
PART, WHOLE = 80, 200  # characters of an argument, and of a call


class Shown:
    """Items of a job as they were sent. Text is made of the pickle of one when it is asked for: to make that of each
    call would take longer than the call."""

    def __init__(self) -> None:
        self._appends: deque[tuple[int, list[bytes], int]] = deque()  # the first unit, the items and their bytes
        self._size = 0

    def add(self, first: int, items: list[bytes], size: int) -> None:
        """Keeps the items of an append."""
        if size > SMALL:
            items = [short(item) for item in items]
            size = sum(map(len, items))
        self._appends.append((first, items, size))
        self._size += size
        while self._size > MOST:
            self._drop()

    def settled(self, before: int) -> None:
        """Lets go of appends whose units are all before some unit."""
        while self._appends and self._appends[0][0] + len(self._appends[0][1]) <= before:
            self._drop()

    def clear(self) -> None:
        self._appends.clear()
        self._size = 0

    def _drop(self) -> None:
        self._size -= self._appends.popleft()[2]

    def find(self, unit: int) -> tuple[list[bytes], int] | None:
        """The items among which a unit is, and its place; None if they are not kept."""
        for first, items, _ in self._appends:
            if first <= unit < first + len(items):
                return items, unit - first
        return None


def short(item: bytes) -> bytes:
    """An item without its arguments, if these are long."""
    function = 5 + int.from_bytes(item[1:5], "little") if item[0] == 0 else 5
    return item if len(item) - function < SHORT else item[:function]


def show(items: list[bytes], at: int) -> str:
    """A call as its user has written it, such as ``f(3, x='a')``. The form of an item is that of _calls.py."""
    item = items[at]
    size = int.from_bytes(item[1:5], "little")
    whole = item if item[0] == 0 else items[at - size]
    end = 5 + int.from_bytes(whole[1:5], "little")
    arguments = item[end:] if item[0] == 0 else item[5:]
    function = read(whole[5:end])
    parts = read(arguments) if arguments else Text("…")
    args, kwargs = ((parts,), {}) if isinstance(parts, Text) else parts
    return cut(of(lambda: words(function, args, kwargs, lambda value: cut(of(lambda: repr(value)), PART))), WHOLE)


class Text:
    """Stands for what cannot be shown, or was not kept."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def read(pickled: bytes) -> Any:
    try:
        return _unpickle.loads(pickled)
    except BaseException as e:  # It runs code of the user's.
        return Text(f"<to show it raised {type(e).__name__}>")


def of(text: Callable[[], str]) -> str:
    """What is shown of something, or why it cannot be."""
    try:
        return " ".join(text().split("\n"))
    except BaseException as e:  # It runs code of the user's.
        return f"<to show it raised {type(e).__name__}>"


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"
