"""A map whose results come as they are ready, with where and when each was made, over items that stay where they are
cached."""

import contextlib
import itertools
import queue
import re
import threading
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Generic, Iterable, Iterator, NamedTuple, Sequence, Sized, TypeVar

from . import _pickles
from ._affinity import Affinity, Near, Ran
from ._along import Environment, Files, Modules
from ._collected import collected
from ._control import Control
from ._errors import Error, ItemLost, RemoteTraceback, caused, raisable, unpickled
from ._executor import Executor
from ._held import LateFuture
from ._here import measured_by
from ._imports import imported_by
from ._opening import check_stall
from ._progress import Bar
from ._session import MAX_CALLS, Call
from ._source import Source, as_it_is
from ._traces import readable
from ._worker import fingerprint, user

T = TypeVar("T")

AHEAD = MAX_CALLS  # items that are submitted before results of earlier ones are taken
PART = 1_000  # items that are submitted at once, and of which the nodes are noted at once
AHEAD_BYTES = 1 << 30  # bytes of the pickles of items that have no result yet

Key = Callable[[Any], Any]
"""Tells of an item what stands for it: items of equal keys read the same data."""


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of an item.

    ``index`` counts the items from 0, in the order in which they were given, and ``item`` is the item itself.
    ``worker``, ``node`` and ``node_name`` say where it ran: ``worker`` is ``user__node__slot``, and ``node`` the node's
    id. ``start`` and ``stop`` are seconds since 1970, by that node's clock. ``read_bytes`` and ``write_bytes`` are what
    its process has read and written meanwhile, as the kernel counts them (``rchar`` and ``wchar`` of
    ``/proc/self/io``): what comes over a socket, and files that are mapped into memory and were read before, are not in
    them. ``error`` is the exception that was raised, or None, and ``traceback`` that in words.

    Of an item that was lost with its process it is not known where it ran: then node and worker are empty, and start
    and stop are 0.
    """

    index: int
    item: Any
    value: T | None
    error: BaseException | None = None
    traceback: str = ""
    worker: str = ""
    node: str = ""
    node_name: str = ""
    start: float = 0.0
    stop: float = 0.0
    read_bytes: int = 0
    write_bytes: int = 0

    @property
    def seconds(self) -> float:
        """How long the call took."""
        return self.stop - self.start

    def result(self) -> T:
        """The value, or the exception is raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


Sent = tuple[Environment | None, Modules, Files]
"""What goes along with a map: env, modules and files, as an Executor takes them."""


class Maps:
    """The maps of a client. One has the executor of an earlier one, so that the nodes need not be made ready again."""

    def __init__(self, control: Control, affinity: Affinity) -> None:
        self._control, self.affinity = control, affinity
        self._lock = threading.Lock()
        self._idle: list[Executor] = []
        self._imports: set[str] = set()  # that the nodes make for the idle executor, before they fork what runs items
        self._closed = False

    def take(self, imports: set[str], sent: Sent, stall: float | None = None) -> Executor:
        """An executor that no other map uses, whose nodes have such modules imported. One with which something goes
        along, or that has a limit, is of one map alone."""
        if any(sent) or stall is not None:
            return Executor(self._control, AHEAD, name="remote_map", imports=sorted(imports), env=sent[0],
                            modules=sent[1], files=sent[2], stall=stall)
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            idle, self._idle = self._idle, []
            imports = self._imports = self._imports | imports
        for executor in idle:
            if not executor._broken and executor._session.imports >= imports:
                return executor
            executor.shutdown(wait=False)
        # As many items as the daemon takes are on their way, so that it knows the node of each.
        return Executor(self._control, AHEAD, name="remote_map", imports=sorted(imports))

    def known(self, nodes: Sequence[str]) -> list[str]:
        """Checks that nodes are ids of members, of which some may be down."""
        if isinstance(nodes, str) or not nodes:
            raise ValueError(
                f"nodes is {nodes!r}, and must be a list of at least one node's id, or None for all nodes: outcomes "
                "have the id of theirs as outcome.node, and `dtpnode members --output json` has those of all"
            )
        members = {str(m["id"]): str(m["name"]) for m in self._control.call("GET", "/v1/members")}
        unknown = [node for node in nodes if node not in members]
        if unknown:
            raise Error(
                f"nodes has ids of no member of the cluster: {', '.join(map(repr, unknown))}",
                "the members are " + ", ".join(f"{id!r} ({name})" for id, name in members.items()),
            )
        return list(nodes)

    def give_back(self, executor: Executor, done: bool) -> None:
        """Takes the executor of a map that has ended. What of it is not done is cancelled."""
        if not done:
            executor._session.abandon()
            return
        with self._lock:
            session = executor._session
            if not self._closed and not self._idle and not session.along and session.stall is None:
                self._idle.append(executor)
                return
        executor.shutdown(wait=False)

    def close(self) -> None:
        with self._lock:
            self._closed, idle = True, self._idle
            self._idle = []
        for executor in idle:
            executor.shutdown(wait=False)


Taken = tuple[int, Any, bytes, Call]
"""An item that was read: its number, itself, the fingerprint of what stands for it, and its call."""

Ready = tuple[int, Any, bytes, int, "Future[Any]"]
"""An item that has run, with the bytes of its arguments and its result."""


class Ended(NamedTuple):
    """All items were read and submitted, or no more will be."""

    error: BaseException | None


class Outcomes(Iterator[Outcome[T]]):
    """The outcomes of a map, as they come. ``len`` is how many items there are, where that is known.

    The map ends when nobody refers to this any more, as behind a loop that was left early: what runs for it does not
    refer to it.
    """

    def __init__(self, running: "Running[T]") -> None:
        self._map = running

    def __next__(self) -> Outcome[T]:
        return self._map.next()

    def close(self) -> None:
        """Ends the map: items that have no outcome yet are cancelled."""
        self._map.close()

    def __len__(self) -> int:
        if self._map.total is None:
            raise TypeError("it is not known how many items there are")
        return self._map.total

    def __del__(self) -> None:
        if not self._map.over:
            collected.add(self._map.close)


class Running(Generic[T]):
    """A map that runs."""

    def __init__(
        self,
        maps: Maps,
        function: Callable[[Any], T],
        items: Iterable[Any],
        key: Key | None,
        at: Sequence[str] | None,
        bar: Bar,
        sent: Sent = (None, (), ()),
        stall: float | None = None,
    ) -> None:
        check_stall(stall)
        # It is an error if they cannot be iterated over, before anything is begun.
        numbered = enumerate(as_it_is(items))
        self._maps, self._key, self._at, self._bar = maps, key, None if at is None else maps.known(at), bar
        self._executor = maps.take(imported_by(function), sent, stall)
        self._but = self._executor._session.along.modules
        try:
            self._function = _pickles.function(measured_by(_pickles.as_sent(function, self._but)), self._but)
        except BaseException:
            maps.give_back(self._executor, done=True)
            raise
        self._ready: "queue.SimpleQueue[Ready | Ended]" = queue.SimpleQueue()
        self._futures: "dict[int, Future[Any]]" = {}
        self._bytes = 0
        self._ended = False
        self._unsent = False  # Items that were read are not submitted yet, or could not be.
        self._error: BaseException | None = None  # what the items have raised, or sending them
        self._ran: list[Ran] = []
        self._user = user()
        bar.start(len(items) if isinstance(items, Sized) else None)
        # What may be slow, or without end, is read by a thread of its own.
        late = not isinstance(items, Sized)
        self._items: Iterator[tuple[int, Any]] = iter(()) if late else numbered
        read = self._take, self._send, self._full, self._read_all
        self._source = Source(numbered, *read) if late else None
        self._lock = self._source.lock if self._source is not None else threading.Lock()
        self.over = False
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        if self._source is not None:
            self._source.start()
        else:
            self._fill()

    def _fill(self) -> None:
        """Submits items as long as there is room."""
        while not self._ended and self._room():
            part = [self._take(item) for item in itertools.islice(self._items, PART)]
            self._ended = len(part) < PART
            self._send(part)

    def _room(self) -> bool:
        """Whether so little is on its way that more is to be read."""
        return len(self._futures) <= max(AHEAD - PART, AHEAD // 2) and self._bytes < AHEAD_BYTES

    def _full(self) -> bool:
        return len(self._futures) >= AHEAD or self._bytes >= AHEAD_BYTES

    def _take(self, numbered: tuple[int, Any]) -> "Taken":
        """Prepares an item for its way."""
        index, item = numbered
        call = Call(LateFuture(), self._function, _pickles.item(index, (item,), self._but))
        print_ = b""
        if self._key is not None:
            key = self._key(item)
            with contextlib.suppress(Exception):  # It has a pickle by value alone, which is not always the same.
                print_ = fingerprint(key)
        self._executor._session.compare(call.function, call.arguments)
        if self._at is not None:
            call.near = Near(self._at[index % len(self._at)], PINNED)
        with self._lock:
            self._bytes += len(call.arguments)
            self._futures[index] = call.future
        return index, item, print_, call

    def _send(self, part: list["Taken"]) -> None:
        near = dict(self._maps.affinity.near(p for _, _, p, _ in part if p)) if self._at is None else {}
        calls: list[Call] = []
        for index, item, print_, call in part:
            call.near = call.near or near.get(print_)
            call.future.add_done_callback(partial(self._put, index, item, print_, len(call.arguments)))
            calls.append(call)
        if calls:
            self._unsent = True
            self._executor._session.submit(calls)
            self._unsent = False

    def _put(self, index: int, item: Any, print_: bytes, size: int, future: "Future[Any]") -> None:
        self._ready.put((index, item, print_, size, future))

    def _read_all(self, error: BaseException | None) -> None:
        self._ready.put(Ended(error))

    def next(self) -> Outcome[T]:
        """The next outcome, which is waited for; StopIteration if there will be none."""
        try:
            while not self.over and not (self._ended and not self._futures):
                ready = self._ready.get()
                if not isinstance(ready, Ended):
                    return self._next(*ready)
                self._ended, self._error = True, ready.error
                if self._unsent and ready.error is not None:  # What was not sent has no outcome to wait for.
                    raise ready.error
            error, self._error = self._error, None
            if error is not None and not self.over:
                raise error
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def _next(self, index: int, item: Any, print_: bytes, size: int, future: "Future[Any]") -> Outcome[T]:
        with self._lock:
            del self._futures[index]
            self._bytes -= size
        outcome: Outcome[T] = self._outcome(index, item, future)
        del future
        if print_ and outcome.node and outcome.error is None:
            self._ran.append(Ran(print_, outcome.node, outcome.seconds))
        if len(self._ran) >= PART or not self._futures:
            self._note()
        self._bar.advance()
        if self._source is None:
            self._fill()
        elif self._source.waits and self._room():
            with self._lock:
                self._source.go_on()
        return outcome

    def _note(self) -> None:
        """Remembers where items have run that took long enough."""
        ran, self._ran = self._ran, []
        if ran:
            self._maps.affinity.note(ran)

    def _outcome(self, index: int, item: Any, future: "Future[Any]") -> Outcome[T]:
        try:
            _, where, (start, stop, read, written), returned, value, words = future.result()
        except BrokenExecutor:
            raise
        except CancelledError as e:
            return Outcome(index, item, None, e)
        except ItemLost as e:
            e = of_item(e, index)
            return Outcome(index, item, None, e, f"{type(e).__name__}: {e}{_cause(e)}")
        except Exception as e:
            return Outcome(index, item, None, e, f"{type(e).__name__}: {e}{_cause(e)}")
        node, name, slot = where
        error = None if returned else _raised(value, words)
        return Outcome(
            index, item, value if returned else None, error, words and readable(words), f"{self._user}__{name}__{slot}",
            node, name, start, stop, read, written,
        )

    def close(self) -> None:
        """Ends the map."""
        if self.over:
            return
        self.over = True
        if self._source is not None:
            self._source.close()
        self._bar.stop()
        self._note()
        self._maps.give_back(self._executor, done=not self._futures)
        self._futures.clear()

    @property
    def total(self) -> int | None:
        """How many items there are, where that is known."""
        return self._bar.total


PINNED = 60.0  # seconds that an item is said to take longer elsewhere whose node the user has named


def _cause(e: BaseException) -> str:
    return f"\n{e.__cause__}" if e.__cause__ is not None else ""


def of_item(lost: ItemLost, index: int) -> ItemLost:
    """What is told of an item that was lost, with the number that its user counts in the place of the session's, which
    has the calls of earlier maps."""
    named = ITEMS.sub(lambda m: f"item {index:,}{' and others' * bool(m[1])}", lost.message, count=1)
    error = ItemLost(named, lost.hint)
    error.__cause__ = lost.__cause__
    return error


ITEMS = re.compile(r"^items? \d+(?:,\d+)*( to \d+(?:,\d+)*)?")  # begins an ItemLost, as _receiver.item_lost makes it


def _raised(told: tuple[bytes | str | None, str], trace: str) -> BaseException:
    """The exception that a call has raised, as _here.told has it, with its traceback as the cause."""
    return caused(raisable(unpickled(*told)), RemoteTraceback(readable(trace)))


def by_item(item: Any) -> Any:
    """The key of an item that stands for itself."""
    return item
