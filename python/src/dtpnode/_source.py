"""Reads iterators that may be slow, or without end."""

import contextlib
import threading
from array import array
from collections import deque
from collections.abc import MappingView
from typing import Any, Callable, Generic, Iterable, Iterator, TypeVar

T = TypeVar("T")
P = TypeVar("P")

BOUND = (
    "What has no length is read in a thread of its own: hand over list(...) of what only the thread may read that has "
    "made it."
)

PART = 1_000  # items that are handed over at once


def as_it_is(iterable: Iterable[Any]) -> Iterable[Any]:
    """An iterable that stays as it is now, whatever its user goes on to do with it: items are read later. What makes
    its elements as they are read, and so may be longer than memory, is taken itself."""
    if isinstance(iterable, (list, set, frozenset, dict, MappingView, deque, array, bytearray)):
        return tuple(iterable)
    kind: Any = type(iterable)
    if (kind.__module__.partition(".")[0], kind.__name__) in (("numpy", "ndarray"), ("pandas", "Series")):
        return kind.copy(iterable)  # type: ignore[no-any-return]
    return iterable


class Source(Generic[T, P]):
    """Reads an iterator ahead in a thread of its own, so that whoever takes results is not held up by what comes late,
    and hands over in another one, so that what has been read is not held up either.

    ``take`` makes of an item what is handed over, as soon as it was read; ``send`` is given that, in order and so many
    at a time as there are by then; nothing more is read as long as ``full()``. ``ended`` is told once that all is
    handed over, or that no more will be, with what iterator, take or send have raised. ``full`` is called with
    ``lock`` held, all others without it. Both threads end when the iterator does, or at its next item after ``close``.
    """

    def __init__(
        self,
        items: Iterator[T],
        take: Callable[[T], P],
        send: Callable[[list[P]], None],
        full: Callable[[], bool],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._items, self._take, self._send, self._full, self._ended = items, take, send, full, ended
        self.lock = threading.Lock()
        self._change = threading.Condition(self.lock)
        self._read: list[P] = []  # and not handed over yet
        self._over = False  # nothing more is read
        self._error: BaseException | None = None
        self.closed = False
        self.waits = False  # for room

    def start(self) -> None:
        for run, name in (self._reads, "dtpnode-items"), (self._hands_over, "dtpnode-map"):
            threading.Thread(target=run, name=name, daemon=True).start()

    def go_on(self) -> None:
        """Has it look again whether it is full. The caller holds ``lock``."""
        self.waits = False
        self._change.notify_all()

    def close(self) -> None:
        """Reads and hands over nothing more."""
        with self.lock:
            self.closed = True
            self._change.notify_all()

    def _room(self) -> bool:
        """Waits for room; false if nothing more is to be read."""
        with self.lock:
            while not self.closed and self._full():
                self.waits = True
                self._change.wait()
            self.waits = False
            return not self.closed

    def _reads(self) -> None:
        error: BaseException | None = None
        items = self._items
        del self._items  # A generator that is read no more ends at once.
        try:
            while self._room():
                try:
                    item = next(items)
                except StopIteration:
                    break
                except Exception as e:
                    if "thread" in str(e).lower():  # It may be bound to the thread that has made it, as in sqlite3.
                        with contextlib.suppress(Exception):
                            e.add_note(BOUND)
                    raise
                taken = self._take(item)
                del item
                with self.lock:
                    self._read.append(taken)
                    self._change.notify_all()
                del taken
        except BaseException as e:  # It is raised where results are taken.
            error = e
        del items
        with self.lock:
            self._over, self._error = True, error
            self._change.notify_all()

    def _hands_over(self) -> None:
        error: BaseException | None = None
        try:
            while part := self._next():
                self._send(part)
                del part  # It refers to what may be large.
            error = self._error
        except BaseException as e:
            error = e
            self.close()
        self._ended(error)

    def _next(self) -> list[P]:
        """Waits for what is to be handed over next; it is empty if there will be nothing."""
        with self.lock:
            while not self._read and not self._over and not self.closed:
                self._change.wait()
            if self.closed:
                return []
            part = self._read[:PART]
            del self._read[:PART]
            return part
