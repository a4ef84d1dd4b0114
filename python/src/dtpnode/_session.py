"""Calls on their way to the nodes and back: what an Executor has beside its interface.

The calls of an executor are the items of a job that stays open. A job takes a bounded number of appends, so that a
session which lasts long goes through several jobs, one after the other; the titles of later ones say of which session
they are (part_title). What is on its way is bounded, so that calls which wait can still be cancelled, and so that what
a node runs for nobody is little.
"""

import contextlib
import functools
import os
import re
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Sequence

import cloudpickle
import httpx

from . import _calls, _unpicklable
from ._affinity import Near
from ._along import Along
from ._archive import pack
from ._calls import Batch
from ._control import Control, seen
from ._errors import DiskFull, Error, NoDaemon, TooLarge
from ._exchange import Exchange
from ._notes import Notes
from ._opening import open_job
from ._pickles import MAX_ITEM
from ._prints import Output, Prints
from ._receiver import PATIENCE, RETRY, ROOM, Append, Job, Receiver, broken_by
from ._taken import Takings
from ._unpicklable import unpicklable
from ._versions import Fresh

cloudpickle.register_pickle_by_value(_calls)
cloudpickle.register_pickle_by_value(_unpicklable)

MAX_BATCH = 8 << 20  # bytes of items in one append, unless one item is larger
MAX_CALLS = 20_000  # items in one append
# Of one job. The daemon takes 16 MiB of records of appends, of which one has up to 1.3 kB, and 1 GiB of items.
MAX_APPENDS = 8_000
MAX_ITEMS = 900 << 20  # bytes
AHEAD = 0.5  # seconds of work that is on its way
MAX_NEAR = 1024  # nodes that an append may name
LOOK = 5.0  # seconds between looks at how many slots there are, while calls wait


@dataclass(eq=False, slots=True)
class Call:
    """A call that waits, or is on its way."""

    future: "Future[Any]"
    function: bytes  # its pickle
    arguments: bytes  # that of (args, kwargs)
    running: bool = False  # its future has been told
    near: Near | None = None  # the node that has run it before

    def __post_init__(self) -> None:
        size = len(self.function) + len(self.arguments)
        if size > MAX_ITEM:
            large = "function, with what it refers to," if len(self.function) > len(self.arguments) else "arguments"
            raise TooLarge(
                f"a call has {size:,} bytes as a pickle, and may have {MAX_ITEM:,}: most are those of its {large} "
                f"{max(len(self.function), len(self.arguments)):,}",
                "write the data to a file that the nodes can read and hand over its name, or have the function "
                "make them",
            )

    def start(self) -> bool:
        """Whether the call is to run: it has not been cancelled."""
        self.running = self.running or self.future.set_running_or_notify_cancel()
        return self.running


class Session(Receiver):
    """Sends calls, and settles their futures. Its threads end some time after close."""

    def __init__(
        self,
        control: Control,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        title: str,
        workers: int | None,
        output: Output | None,
        imports: Sequence[str],
        along: Along | None = None,
    ) -> None:
        super().__init__(control, title)
        self.imports = frozenset(imports)
        self.along = along or Along()
        self._fresh = Fresh(self.along.modules)
        self._parts = code_of(initializer, initargs, imports)
        self._code = pack(self._parts, self.along)
        self._notes = Notes(control)
        self._takings = Takings(control)
        self._stale = False  # nodes were not told the versions of what the next calls need
        self._workers = workers
        self._prints = Prints(control, output) if output is not None else None
        self._waiting: "deque[Call]" = deque()
        self._flying = 0  # calls that are on their way
        self._rate = _Rate()
        self._looked = time.monotonic()
        self._slots = control.slots()
        self._job = self._open(title)
        self.name = self._job.name  # of the session
        self._sending = threading.Lock()  # of the exchange of the current job
        self._sender = threading.Thread(target=self._send, name="dtpnode-send", daemon=True)
        self._sender.start()

    # --- from the user's threads

    @property
    def job(self) -> str:
        """The name of the current job."""
        return self._job.name

    def submit(self, calls: Iterable[Call]) -> None:
        """Takes calls, and sends them at once if nothing else is being sent."""
        if os.getpid() != self._pid:
            raise RuntimeError("this process was forked from the one that the executor is of: make another one here")
        with self._lock:
            self._check()
            self._waiting.extend(calls)
            # Who waits for each call before the next one is spared the change to another thread.
            direct = not self._job.unanswered and not self._rolls() and self._sending.acquire(blocking=False)
            if not direct:
                self._change.notify()
        if direct:
            try:
                self._pump()
            finally:
                self._sending.release()

    def check(self) -> None:
        """Raises what tells why nothing can be submitted any more."""
        with self._lock:
            self._check()

    def compare(self, function: bytes, arguments: bytes) -> None:
        """Has nodes compare versions before a call is run whose pickles refer to a package that was imported here only
        after the session has begun: another job goes on then, which they are told of anew."""
        if self._fresh and self._fresh.found(function, arguments):
            with self._lock:
                self._stale = True

    def _rolls(self) -> bool:
        """Whether the next append goes to another job."""
        return self._stale or full(self._job)

    def _check(self) -> None:
        if self.broken is not None:
            raise broken_by(self.broken)
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def close(self, cancel: bool = False) -> None:
        """Takes no more calls; with cancel, those that are not on their way are cancelled."""
        if os.getpid() != self._pid:
            return  # A fork has none of the threads, and the session is not its own.
        dropped: list[Call] = []
        with self._lock:
            self.closed = True
            if cancel:
                dropped.extend(self._waiting)
                self._waiting.clear()
            self._change.notify_all()
        for call in dropped:
            call.future.cancel()
            call.future.set_running_or_notify_cancel()

    def join(self) -> None:
        """Waits until all calls are settled, and what they have printed has been passed on. The jobs then end by
        themselves: the daemon may have to bring GBs of results to disks before."""
        if os.getpid() != self._pid:
            return
        self._sender.join()
        jobs = list(self._jobs)
        with self._lock:
            self._change.wait_for(lambda: all(map(settled, jobs)))
        if self._prints is not None:
            self._prints.join()
        with self._lock:
            exchanges = [job.exchange for job in jobs if job.exchange is not None]
        for exchange in exchanges:
            exchange.close()
        for job in jobs:
            if job.receiver is not None:
                job.receiver.join()
        self._notes.close()
        self._notes.join()

    def abandon(self) -> None:
        """Cancels the jobs: calls that run are stopped, and no future is settled any more but as an error."""
        self.abandoned = True
        self.close(cancel=True)
        for job in list(self._jobs):
            with contextlib.suppress(Error, httpx.TransportError):
                self._control.call("POST", f"/v1/jobs/{job.name}/cancel", {})

    # --- sending

    def _open(self, title: str, before: int = 0) -> Job:
        """Opens a job, and begins to receive from it."""
        job = Job(open_job(self._control, title, self._code, self.along, self._notes, True), before)
        self._follow(job)
        if self._prints is not None:
            self._prints.follow(job.name)
        return job

    def _roll(self) -> None:
        """Goes on with another job, and lets the current one end. A daemon that is away is waited for."""
        with self._lock:
            stale, self._stale = self._stale, False
        if stale:
            self._code = pack(self._parts, self.along)
        old, since = self._job, time.monotonic()
        before = old.before + old.units
        while True:
            try:
                job = self._open(part_title(self._title, self.name, before), before)
                break
            except NoDaemon:
                if time.monotonic() - since > PATIENCE:
                    raise
                time.sleep(RETRY)
            except DiskFull as e:
                self.room.lacks(e)
                since = time.monotonic()
                time.sleep(ROOM)
        with self._lock:
            self._job = job
        self._finish(old)

    def _send(self) -> None:
        try:
            while self._ready():
                with self._sending:
                    self._pump()
                self._look()
            with self._lock:
                over = self.broken is not None
            if not over:
                self._finish(self._job)
        except BaseException as e:
            self._fail(e)

    def _ready(self) -> bool:
        """Waits until there is something to send, or it is time to look how many slots there are while calls wait;
        false if there will be nothing."""
        with self._lock:
            while True:
                if self.broken is not None:
                    return False
                if self._waiting:
                    if not self._job.unanswered and self._room() > 0:
                        return True
                    if not self._change.wait(LOOK):
                        return True
                    continue
                elif self.closed and not self._job.unanswered:
                    return False
                self._change.wait()

    def _look(self) -> None:
        """Looks how many slots the pool has, now and then."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        with contextlib.suppress(Error, httpx.TransportError):  # It is a guess in any case.
            self._slots = self._control.slots()

    def _room(self) -> int:
        """How many more calls may be on their way."""
        if self._workers is not None:
            return self._workers - self._flying
        return max(2 * self._slots, int(self._rate.per_second * AHEAD)) - self._flying

    def _pump(self) -> None:
        """Sends the next calls, if there is room. The caller holds _sending."""
        if self._rolls():
            self._roll()
        with self._lock:
            job = self._job
            if job.unanswered:
                return
            batch, calls = Batch(), list[Call]()
            try:
                self._fill(batch, calls)
                near: list[dict[str, Any]] = []
                if any(call.near is not None for call in calls):
                    batch, near = by_node(calls)
                append = job.seq + 1, batch.items, False, near
                units = range(job.units, job.units + len(calls))
                futures = {unit: call.future for unit, call in zip(units, calls)}
            except BaseException:  # Such as a KeyboardInterrupt in the thread that submits: nothing is lost by it.
                self._waiting.extendleft(reversed(calls))
                raise
            if not calls:
                return
            job.unanswered.append(append)
            job.sent.update(futures)
            job.seq, job.units, job.size = append[0], units.stop, job.size + batch.size
            self._flying += len(calls)
            exchange = job.exchange
        self._hand(exchange, append)

    def _fill(self, batch: Batch, calls: list[Call]) -> None:
        """Puts waiting calls into a batch. The caller holds _lock."""
        room = min(self._room(), MAX_CALLS)
        while self._waiting and len(calls) < room:
            call = self._waiting[0]
            if calls and batch.size + len(call.function) + len(call.arguments) > MAX_BATCH:
                return
            self._waiting.popleft()
            if call.start():
                calls.append(call)
                batch.add(call.function, call.arguments)

    def _finish(self, job: Job) -> None:
        """Lets a job end when all of its calls have run."""
        with self._lock:
            job.seq += 1
            job.closing = True
            append = job.seq, list[bytes](), True, list[dict[str, Any]]()
            job.unanswered.append(append)
            exchange = job.exchange
        self._hand(exchange, append)

    @staticmethod
    def _hand(exchange: Exchange | None, append: Append) -> None:
        """Sends an append. Where that fails, or there is no connection, whoever makes the next one sends it again."""
        if exchange is None:
            return
        try:
            exchange.send(*append)
        except httpx.TransportError:
            exchange.close()
        except BaseException:  # It may have been sent in part.
            exchange.close()
            raise

    # --- receiving

    def _taker(self, job: Job, unit: int, size: int) -> Callable[[], object]:
        return functools.partial(self._takings.add, job.name, unit, size)

    def _left(self, job: Job) -> bool:
        with self._lock:
            return self.closed and settled(job)

    def _taken(self, n: int) -> None:
        self._flying -= n
        self._rate.add(n)
        if n and self._waiting:
            self._change.notify()

    def _over(self, job: Job) -> None:
        super()._over(job)
        if job is self._job:
            self._notes.close()

    def _answered(self) -> None:
        if self._waiting or self.closed:  # Else nobody waits for it, and a thread would be woken for nothing.
            self._change.notify_all()

    def _fail(self, why: BaseException) -> None:
        super()._fail(why)
        self._notes.close()
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        for call in waiting:
            if call.start():
                call.future.set_exception(broken_by(why))


def by_node(calls: list[Call]) -> tuple[Batch, list[dict[str, Any]]]:
    """Puts calls in the order of the nodes that are near them, in place, into a batch, and says which these are."""
    calls.sort(key=lambda call: "" if call.near is None else call.near.node)
    batch, near = Batch(), list[dict[str, Any]]()
    for at, call in enumerate(calls):
        batch.add(call.function, call.arguments)
        if call.near is None:
            continue
        if not near or near[-1]["node"] != call.near.node:
            near.append({"first": at, "last": at, "node": call.near.node, "cost": 0.0})
        run = near[-1]
        run["cost"] = (run["cost"] * (at - run["first"]) + call.near.cost) / (at + 1 - run["first"])
        run["last"] = at + 1
    return batch, near[:MAX_NEAR]


def settled(job: Job) -> bool:
    """Whether all calls of a job that is closed are settled, and the daemon knows that it is. The caller holds the
    session's lock."""
    return job.over or job.closing and not (job.sent or job.unanswered or job.busy)


def full(job: Job) -> bool:
    """Whether the next append goes to another job."""
    return job.seq >= MAX_APPENDS or job.size > MAX_ITEMS - max(MAX_BATCH, MAX_ITEM)


class _Rate:
    """How many calls are settled in a second, lately."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._n, self._since = 0, time.monotonic()

    def add(self, n: int) -> None:
        self._n += n
        now = time.monotonic()
        took = now - self._since
        if took < 0.005:
            return
        rate = self._n / took
        slower = rate <= self.per_second
        self.per_second += (min(took, 1.0) if slower else 1.0) * (rate - self.per_second)
        self._n, self._since = 0, now


def code_of(
    initializer: Callable[..., object] | None, initargs: tuple[Any, ...], imports: Sequence[str]
) -> dict[str, Any]:
    """The code of a session's jobs, as pyexec/child/code.py takes it."""
    code: dict[str, Any] = {"process": _calls.call, "show": _calls.show, "MODE": "values", "ITEMS": "blob"}
    code["unpicklable"], code["IMPORTS"] = unpicklable, list(imports)
    if initializer is not None:
        code["start"] = lambda _given: initializer(*initargs)
    return code


def part_title(title: str, session: str, before: int) -> str:
    """The title of a job that goes on with a session after so many calls."""
    return f"{title} (session {session} after {before} calls)"


REDUCE = " (reduce)"  # ends the titles of reductions, by which other processes know them
PART = re.compile(r" \(session (\w+) after (\d+) calls\)$")


def parts_of(control: Control, name: str) -> list[tuple[int, dict[str, Any]]]:
    """The jobs of a session in order, by the name of one of them: how many calls are before each, and its status."""
    first = seen(control.call("GET", f"/v1/jobs/{name}"))
    part = PART.search(first["title"])
    if part is not None:
        first = seen(control.call("GET", f"/v1/jobs/{part[1]}"))
    parts = [(0, first)]
    for job in control.call("GET", "/v1/jobs"):
        part = PART.search(job["title"])
        # Anybody may give a job such a title.
        if part is not None and part[1] == first["id"] and job["submitter"] == first["submitter"]:
            parts.append((int(part[2]), job))
    return sorted(parts, key=lambda p: p[0])
