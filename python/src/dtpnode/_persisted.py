"""Values of dask that stay on the nodes: what is persisted, by the process that has done so and in others.

What a scheduler persists is one job, a *session*, which stays open. Its units have what is persisted among their
exports, and tell the client of each where it is: that is all that comes here. Later graphs are jobs of their own, whose
units take values of the session's (_graphrun.Where), so that they may be of any process and of any client of the pool.

In a graph a task stands for each value, with a Stored, which is small. Stored of one unit share a token: when the last
one is collected, the nodes remove what that unit has made, and when there is no token of a session any more its job
ends. What units take that have not run yet counts, too.

A value that is lost with its node is made again by whoever needs it, from what the session's items say; so these stay
for as long as the session does, also of what was removed.
"""

import atexit
import contextlib
import copy
import os
import pickle
import queue
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

import httpx
from dask._task_spec import Task

from ._along import Along
from ._attach import Attached
from ._control import Control
from ._errors import Error
from ._graph import Graph, Key, Unit
from ._graphrun import persisted
from ._graphsend import Run, note_task
from ._held import LateFuture
from ._opening import begun, patiently
from ._prints import Output
from ._receiver import Job, Receiver, broken_by, raised, remade
from ._stored import Stored

if TYPE_CHECKING:
    from ._client import Client

TITLE = "dask persist"  # of the jobs
# Of one session; the daemon takes 8,000 appends at least, and 1 GiB of items.
MAX_APPENDS = 6_000
MAX_SIZE = 512 << 20  # bytes of items
LOOK = 0.05  # seconds between looks for units that another process is just sending
AGAIN = "persist it again, and keep the client open, and the collection, for as long as others use it"
MOMENT = 1.0  # seconds for which what nobody needs any more may run on before it is cancelled
PATIENCE = 5.0  # seconds for which a daemon may not know a job: it may have just come back
OVER = ("done", "partial", "failed", "cancelled")


class Token:
    """Says that somebody in this process needs the values of a unit."""

    __slots__ = ("of", "unit", "__weakref__")

    def __init__(self, of: "Session | Elsewhere", unit: int) -> None:
        self.of, self.unit = of, unit


class _Raised(Receiver):
    """Has exceptions as they have come, so that each who asks gets one of its own: one that was raised refers to all
    frames that it went through, and with these to the values whose last user is to be known."""

    def __init__(self, *args: Any) -> None:
        self._pickled: dict[int, bytes] = {}  # by units
        super().__init__(*args)

    def _values(self, job: Job, first: int, values: list[bytes]) -> None:
        self._pickled.update((unit, bytes(v)) for unit, v in enumerate(values, first) if v[0] == 1)
        super()._values(job, first, values)

    def outcome(self, unit: int) -> "Future[Any]":
        """What a unit has told of its values, or has raised."""
        raise NotImplementedError

    def error(self, unit: int, key: Key = None) -> BaseException | None:
        """What a unit, which is waited for, has raised in the place of a key, or of all; None if that is nothing."""
        error = self.outcome(unit).exception()
        if error is None:
            *_, told = (self.outcome(unit).result() or {}).get(key) or (None,)
            return remade(*pickle.loads(told)) if isinstance(told, bytes) else None
        pickled = self._pickled.get(unit)
        if pickled is not None:
            return raised(pickled)
        with contextlib.suppress(Exception):
            another = copy.copy(error).with_traceback(None)
            another.__cause__ = error.__cause__
            return another
        return error


class Session(_Raised, Run):
    """The job of what a scheduler persists. Whoever makes it calls begin, and then, whatever has come of that,
    let_go."""

    def __init__(self, control: Control, along: Along, stall: float | None = None) -> None:
        super().__init__(control, TITLE, along, stall)
        self._adding = threading.Lock()
        self._live = 1  # units that somebody has a token of, and who adds some: with none it ends
        self._outcomes: dict[int, Future[Any]] = {}  # of these, by their numbers
        self._tasks: dict[int, Unit] = {}  # of these, with their tasks alone
        self._needs: dict[int, list[Any]] = {}  # of units that have not run, tokens of what they take
        self._dropped: set[int] = set()  # units of which nobody has a token any more, and which have not run
        self._futures: weakref.WeakSet[Future[Any]] = weakref.WeakSet()  # of values, which the end of the session ends
        self._stopped = ""  # why nothing is added any more
        self._ending = False

    def begin(self, output: Output | None) -> None:
        """Opens the job."""
        _sessions.add(self)
        patiently(self._control, lambda: begun(lambda: self.open(output), lambda _: self.abort()))
        _watch()

    def check(self) -> None:
        """Raises if what was persisted is gone."""
        if self.broken is not None or self._ending:
            raise self._gone()

    def _gone(self) -> BaseException:
        # A session that ends is broken, too, as soon as word of its job's end has come.
        if self.broken is not None and not (self._ending and self._stopped):
            return broken_by(self.broken)
        return Error(f"what was persisted is gone: the job {self.name[:12]} has ended, since {self._stopped}", AGAIN)

    def watched(self, future: "Future[Any]") -> None:
        """Has the future of a value raise when the session ends before the value is there."""
        self._futures.add(future)
        if self._ending:
            self._end_futures()

    def _end_futures(self) -> None:
        for future in list(self._futures):
            with contextlib.suppress(InvalidStateError):  # It is done.
                future.set_exception(self._gone())

    def hold(self) -> bool:
        """Keeps the session for what is persisted next, until it is let go. False if that needs another one."""
        if not is_own(self):
            return False
        with self._adding:
            with self._lock:
                large = self._job.seq > MAX_APPENDS or self._job.size > MAX_SIZE
                if self._stopped or self.broken is not None or large:
                    return False
            self._live += 1
            return True

    def let_go(self) -> None:
        """Ends the session if nobody needs what is in it. Whoever has made it, or holds it, calls this once."""
        with self._adding:
            self._live -= 1
            self._end_unless_needed()

    def _end_unless_needed(self) -> None:
        """Ends the session if nobody needs what is in it. The caller holds _adding."""
        if self._live == 0 and not self._ending:
            self._stopped = self._stopped or "all that was persisted before is gone"
            self._ending = True
            threading.Thread(target=self._end, name="dtpnode-end", daemon=True).start()

    def add(self, graph: Graph) -> dict[Key, Stored]:
        """Sends a graph, and returns what stands for its values that are to be kept, by their keys."""
        with self._adding:
            if self._stopped:
                raise Error(f"could not persist: {self._stopped}", "make another client")
            numbers: list[int] = []
            try:
                for numbers in self._send(graph):
                    pass
            except BaseException:
                self._stopped = "sending of what was persisted before was broken off"  # Some of it has run, for nobody.
                raise
            finally:
                self._graph, self._often = Graph({}, [], 1), {}  # which refer to what it takes
            if self.broken is not None:
                raise broken_by(self.broken)
            out: dict[Key, Stored] = {}
            for number, unit in zip(numbers, graph.units, strict=True):
                if unit.kept:
                    token = Token(self, number)
                    _tokens[self.name, number] = token
                    _when_gone(token, (self, number))
                    self._live += 1
                    for slot, key in graph.kept(unit):
                        out[key] = Stored(self.name, number, slot, key, token)
            return out

    def outcome(self, unit: int) -> "Future[Any]":
        return self._outcomes[unit]

    def error(self, unit: int, key: Key = None) -> BaseException | None:
        error = super().error(unit, key)
        if error is not None:
            note_task(error, self._tasks.get(unit))
        return error

    def _expect(self, number: int, unit: Unit, future: LateFuture) -> None:
        if unit.kept:
            self._outcomes[number] = future
            self._tasks[number] = Unit(unit.tasks)
        if unit.stored:
            self._needs[number] = [stored.token for stored in unit.stored.values()]

    def _settled(self, number: int, future: Any) -> None:
        with self._lock:
            self._unsettled -= 1
            self._units.pop(number, None)
            needs = self._needs.pop(number, None)
            dropped = number in self._dropped
            self._dropped.discard(number)
            self._change.notify_all()
        del needs  # which may be the last tokens of others
        if dropped:
            _released.put((self, number))

    def release(self, units: list[int]) -> None:
        """Has the nodes remove values of units, of which nobody has a token any more; of those that have not run when
        they have."""
        if os.getpid() != self._pid:
            return
        with self._adding:
            with self._lock:
                self._live -= sum(self._outcomes.pop(unit, None) is not None for unit in units)
                self._dropped.update(unit for unit in units if unit in self._units)
                for unit in units:
                    self._pickled.pop(unit, None)
                    self._tasks.pop(unit, None)
                runs = [[unit, unit + 1] for unit in units if unit not in self._units]
            self._end_unless_needed()
            if self._ending:
                return
        if runs:
            with contextlib.suppress(Error, httpx.TransportError, RuntimeError):
                self._control.call("POST", f"/v1/jobs/{self.name}/release", {"units": runs})

    def end(self) -> None:
        """Ends the job, and with it all that was persisted."""
        if os.getpid() != self._pid or self._ending:
            return
        if self.broken is None:
            self._stopped = "the client that has persisted it was closed"
        self._ending = True
        self._finish()
        threading.Thread(target=self.hang_up, name="dtpnode-end", daemon=True).start()

    def _end(self) -> None:
        # Others may have taken a value before word of it has come here. A job all of which was run is not cancelled.
        with self._lock:
            self._change.wait_for(lambda: not self._unsettled or self.broken is not None, MOMENT)
        self._finish()
        self.hang_up()

    def _finish(self) -> None:
        with self._lock:
            whole = not self._unsettled
        self.abandoned = True
        if not self.name:  # It was not opened.
            return
        with contextlib.suppress(Error, httpx.TransportError, RuntimeError):  # The client may have been closed.
            if whole:
                self._control.call("POST", f"/v1/jobs/{self.name}/append", {"close": True})
            else:
                self._control.call("POST", f"/v1/jobs/{self.name}/cancel", {})
        self._end_futures()


class _Attached(_Raised, Attached):
    """The units of a session of another process."""

    def outcome(self, unit: int) -> "Future[Any]":
        while len(self) <= unit:
            check(self._control, self.name)
            time.sleep(LOOK)
        return self[unit]


class Elsewhere:
    """A session of another process."""

    def __init__(self, control: Control, job: str) -> None:
        self._control, self._pid = control, os.getpid()
        self.attached = _Attached(control, job)

    def outcome(self, unit: int) -> "Future[Any]":
        """What a unit has told of its values, or has raised."""
        return self.attached.outcome(unit)

    def error(self, unit: int, key: Key = None) -> BaseException | None:
        """What a unit has raised in the place of a key, or of all."""
        return self.attached.error(unit, key)


_sessions: "weakref.WeakSet[Session]" = weakref.WeakSet()
_tokens: "weakref.WeakValueDictionary[tuple[str, int], Token]" = weakref.WeakValueDictionary()
_elsewhere: "weakref.WeakValueDictionary[tuple[str, str], Elsewhere]" = weakref.WeakValueDictionary()
# Garbage collection puts what nobody needs here, at any moment and in any thread: it takes no lock that may be held.
_released: "queue.SimpleQueue[tuple[Session, int] | Attached]" = queue.SimpleQueue()
_releasing = threading.Lock()
_thread: threading.Thread | None = None


def _when_gone(thing: object, what: "tuple[Session, int] | Attached") -> None:
    """Has what is not needed any more be released when a thing is collected."""
    finalize: Any = weakref.finalize(thing, _released.put, what)
    finalize.atexit = False


def _release() -> None:
    """Tells daemons what nobody needs any more."""
    while True:
        units: dict[Session, list[int]] = {}
        more = _released.get()
        while True:
            if isinstance(more, Attached):
                more.close()
            else:
                units.setdefault(more[0], []).append(more[1])
            try:
                more = _released.get_nowait()
            except queue.Empty:
                break
        for session, some in units.items():
            session.release(some)
        del more, units


def _watch() -> None:
    """Begins to tell daemons what nobody needs."""
    global _thread
    with _releasing:
        if _thread is None or not _thread.is_alive():  # as in a fork
            _thread = threading.Thread(target=_release, name="dtpnode-release", daemon=True)
            _thread.start()


@atexit.register
def _at_exit() -> None:
    for session in list(_sessions):
        if os.getpid() == session._pid and not session._ending:
            session._finish()


def known(job: str, unit: int, slot: int, key: Key) -> Stored:
    """A Stored that has come from another process, or has been copied in this one."""
    return Stored(job, unit, slot, key, _tokens.get((job, unit)))


def check(control: Control, job: str) -> None:
    """Raises if the job of a session has ended, and with it what was persisted."""
    since = time.monotonic()
    while True:
        try:
            status = control.call("GET", f"/v1/jobs/{job}")
            break
        except Error as e:
            if e.status != 404:
                raise
        if time.monotonic() - since > PATIENCE:
            raise Error(
                f"what was persisted is not known to this pool: it has no job {job[:12]}",
                "compute it with a client of the pool that has persisted it, or persist it again",
            )
        time.sleep(LOOK)
    if status["state"] in OVER:
        why = f": {status['error']}" if status.get("error") else ""
        raise Error(
            f"what was persisted is gone: the job {job[:12]}, whose values the nodes have kept, is {status['state']}"
            f"{why}",
            AGAIN,
        )


def is_own(of: "Session | Elsewhere") -> bool:
    """Whether it is of this process. A fork has none of the threads that tell it anything, and what is persisted there
    is not to be numbered as that of the process which it was forked from."""
    return of._pid == os.getpid()


def source(control: Control, stored: Stored) -> "Session | Elsewhere":
    """Who knows what has become of a value."""
    if stored.token is None:
        stored.token = _tokens.get((stored.job, stored.unit))
    if stored.token is None or not is_own(stored.token.of):
        _watch()
        where = control.socket, stored.job
        found = _elsewhere.get(where)
        if found is None or not is_own(found):
            check(control, stored.job)
            found = _elsewhere[where] = Elsewhere(control, stored.job)
            _when_gone(found, found.attached)
        stored.token = Token(found, stored.unit)
    of: "Session | Elsewhere" = stored.token.of
    return of


def ready(control: Control, stored: Iterable[Stored]) -> None:
    """Waits until values are there, and notes where they are. What a task has raised that makes one is raised."""
    wanted = list(stored)
    for s in {s.job: s for s in wanted}.values():
        of = source(control, s)
        if isinstance(of, Session):
            of.check()
        else:
            check(control, s.job)
    for s in wanted:
        if s.place is not None:
            continue
        of = source(control, s)
        error = of.error(s.unit, s.key)
        if error is not None:
            raise error
        _, node, size = of.outcome(s.unit).result()[s.key]
        s.place = node, size


def bring(stored: Stored, control: Control | None = None) -> Any:
    """Brings a value to this process, for a scheduler that is not the pool's."""
    from ._client import living
    from .dask import Scheduler

    controls = [control] if control is not None else []
    controls += [stored.token.of._control] if stored.token is not None else []
    why: Error | httpx.TransportError | None = None
    for control in [*controls, *living()]:
        try:
            check(control, stored.job)
        except (Error, httpx.TransportError) as e:
            why = e
            continue
        task = Task(stored.key, persisted, stored)
        return Scheduler(control, False)({stored.key: task}, [stored.key])[0]
    if why is not None:
        raise why
    raise Error(
        f"the value of the task {stored.key!r} is on the nodes of a pool that this process has no client of",
        "make one, client = dtpnode.Client(), and compute(scheduler=client.get)",
    )


def stored_in(collection: Any) -> Iterator[tuple[Key, Stored]]:
    """The values of earlier graphs in a collection's graph, by their keys there."""
    for key, node in dict(collection.__dask_graph__()).items():
        args: Any = getattr(node, "args", ())
        if len(args) == 1 and isinstance(args[0], Stored):
            yield key, args[0]


def futures_of(*collections: Any, client: "Client | None" = None) -> "dict[Key, Future[Any]]":
    """The futures of what is persisted in collections of dask, by their keys.

        >>> x = dask.persist(dask.delayed(abs)(-1, dask_key_name="one"), scheduler=client.get)[0]
        >>> futures_of(x)["one"].result()
        1

    They are those of ``concurrent.futures``, so that ``wait`` and ``as_completed`` take them: a future is done when its
    value is on a node, and ``result()`` brings it here, or raises what its task has raised. Futures do not keep values
    on the nodes: collections do, and one whose collection has gone may raise that its value is gone. ``client`` is one
    of the pool, for collections that have come from another process.
    """
    out: "dict[Key, Future[Any]]" = {}
    for collection in collections:
        for key, stored in stored_in(collection):
            out[key] = future_of(_control(stored, client), stored)
    return out


def _control(stored: Stored, client: "Client | None") -> Control:
    from ._client import living

    if client is not None:
        return client.control
    if stored.token is not None:
        return stored.token.of._control  # type: ignore[no-any-return]
    for control in living():
        with contextlib.suppress(Error, httpx.TransportError):
            check(control, stored.job)
            return control
    raise Error(
        f"the value of the task {stored.key!r} is on the nodes of a pool that this process has no client of",
        "make one, client = dtpnode.Client(), and call futures_of(collection, client=client)",
    )


def future_of(control: Control, stored: Stored) -> "Future[Any]":
    """The future of a value."""
    future = LateFuture()
    future.set_running_or_notify_cancel()
    of = source(control, stored)
    job, unit, slot, key = stored.job, stored.unit, stored.slot, stored.key
    del stored  # which the future would keep, and with it the value on the nodes

    def load() -> tuple[Any, BaseException | None]:
        return bring(known(job, unit, slot, key), control), None

    def done(_: "Future[Any]") -> None:
        error = of.error(unit, key)
        with contextlib.suppress(InvalidStateError):  # The session has just ended.
            if error is not None:
                future.set_exception(error)
            else:
                future.set_later(load)

    of.outcome(unit).add_done_callback(done)
    if isinstance(of, Session):
        of.watched(future)
    return future


class Persisted(Mapping[Key, "Future[Any]"]):
    """What a scheduler has persisted, by its keys, from any process of its user and on any node of the pool.

        >>> for key, future in client.attach("3fa9c2e1").items():                            # doctest: +SKIP
        ...     print(key, future.result())

    It waits for what is still being made when it looks, which it does whenever it is asked for all keys, or for one
    that it does not know. ``name`` is that of the session's job, as ``dtpnode ps`` tells it.
    """

    def __init__(self, control: Control, name: str) -> None:
        self._control, self.name = control, name
        _watch()
        check(control, name)
        self._elsewhere = Elsewhere(control, name)
        _when_gone(self._elsewhere, self._elsewhere.attached)
        self._found: dict[Key, Stored] = {}
        self._looked = 0  # units
        self._error: BaseException | None = None  # that a task has raised

    def _look(self) -> None:
        if not is_own(self._elsewhere):
            self._elsewhere = Elsewhere(self._control, self.name)
            _when_gone(self._elsewhere, self._elsewhere.attached)
        for unit in range(self._looked, len(self._elsewhere.attached)):
            error = self._elsewhere.error(unit)
            self._error = self._error or error
            told = self._elsewhere.outcome(unit).result() if error is None else None
            for key, (slot, node, size) in (told or {}).items():
                stored = self._found[key] = known(self.name, unit, slot, key)
                stored.token = stored.token or Token(self._elsewhere, unit)
                stored.place = (node, size) if isinstance(size, int) else None  # There is what was raised in its place.
            self._looked = unit + 1

    def __getitem__(self, key: Key) -> "Future[Any]":
        if key not in self._found:
            self._look()
        if key not in self._found:
            raise KeyError(key) from self._error
        return future_of(self._control, self._found[key])

    def __iter__(self) -> Iterator[Key]:
        self._look()
        return iter(list(self._found))

    def __len__(self) -> int:
        self._look()
        return len(self._found)

    def __repr__(self) -> str:
        return f"<dtpnode: what is persisted by the job {self.name[:12]}>"
