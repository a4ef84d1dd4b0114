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
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Protocol, Sequence

import cloudpickle
import httpx

from . import _calls, _excepted, _here, _initial, _unpicklable
from ._affinity import Near
from ._along import Along
from ._archive import pack
from ._calls import Batch
from ._cluster import owned
from ._control import Control, job_path, seen
from ._errors import DiskFull, Error, NoDaemon, TooLarge
from ._held import LateFuture
from ._kept import Kept, runs_of
from ._notes import Notes
from ._opening import open_job
from ._pickles import MAX_ITEM
from ._prints import Output, Prints
from ._receiver import AGAIN, PATIENCE, RETRY, ROOM, Append, Job, Receiver, broken_by, logger, refuse
from ._shown import show
from ._sums import named
from ._taken import Takings
from ._excepted import pickled
from ._here import instead
from ._unpicklable import unpicklable
from ._versions import Fresh
from ._wrapped import pickler

cloudpickle.register_pickle_by_value(_calls)
cloudpickle.register_pickle_by_value(_excepted)
cloudpickle.register_pickle_by_value(_here)
cloudpickle.register_pickle_by_value(_initial)
cloudpickle.register_pickle_by_value(_unpicklable)

MAX_BATCH = 8 << 20  # bytes of items in one append, unless one item is larger
MAX_CALLS = 20_000  # items in one append
# Of one job. The daemon takes 16 MiB of records of appends, of which one has up to 1.3 kB, and 1 GiB of items.
MAX_APPENDS = 8_000
MAX_ITEMS = 640 << 20  # bytes; what is kept fits into the job beside them (MAX_KEPT)
AHEAD = 0.5  # seconds of work that is on its way
SOON = 5.0  # seconds for which a daemon is waited for that only needs to know
MAX_NEAR = 1024  # nodes that an append may name
IDLE = 0.4  # seconds for which an append may be on its way before anybody looks, where nothing else waits
LOOK = 5.0  # seconds between looks at how many slots there are, while calls wait
ENDED = "before its program was done"  # ends what is told of such a job
SHUT = "cannot schedule new futures after shutdown"  # as the executors of the standard library say it


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
        """Whether the call is to run: it has not been cancelled, nor its future settled by its user."""
        try:
            self.running = self.running or self.future.set_running_or_notify_cancel()
        except (InvalidStateError, RuntimeError):
            return False
        return self.running


class Feed(Protocol):
    """The calls of a map over what another thread reads."""

    lazy: bool  # It is read as its results are taken, and not to its end.

    def read_on(self) -> None:
        """Has all of it read, also where nobody takes the results."""

    def stop(self, why: BaseException) -> None:
        """Has no more of it read; why is raised in place of the next result."""


class Session(Receiver):
    """Sends calls, and settles their futures. Its threads end some time after close."""

    def __init__(
        self,
        control: Control,
        code: dict[str, Any],
        title: str,
        workers: int | None,
        output: Output | None,
        along: Along | None = None,
        stall: float | None = None,
    ) -> None:
        """code is what code_of makes."""
        super().__init__(control, title)
        self.imports = frozenset(code["IMPORTS"])
        self.along = along or Along()
        self.stall = stall
        self._fresh = Fresh(self.along.modules)
        self._parts = code
        self._code = pack(self._parts, self.along)
        self._notes = Notes(control, self._room_lacks)
        self._takings = Takings(control)
        self._stale = False  # nodes were not told the versions of what the next calls need
        self._workers = workers
        self._prints = Prints(control, output) if output is not None else None
        self._waiting: "deque[Call]" = deque()  # those that wait longest are in _kept
        self._kept = Kept(workers)
        self._cancelling: "dict[Future[Any], Call | None]" = {}  # with their calls once these are not sent any more
        self._dropped = False  # results of a map are not wanted any more, and their calls may be kept
        self._feeds: "set[Feed]" = set()  # that are being read
        self._promised: "set[Feed]" = set()  # those of them that are read to their end though the session is closed
        self._dozing = False  # the sender waits for whatever comes
        self._flying = 0  # calls that are on their way
        self.was_interrupted = False  # somebody who waited for a call
        self.cancels = False  # a KeyboardInterrupt cancels all, as its with block does
        self._rate = Rate(time.monotonic())
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

    def submit(self, calls: Iterable[Call], feed: Feed | None = None) -> None:
        """Takes calls, of a feed where they have one, and sends them at once if nothing else is being sent."""
        if os.getpid() != self._pid:
            raise RuntimeError("this process was forked from the one that the executor is of: make another one here")
        with self._lock:
            self._check(feed)
            self._waiting.extend(calls)
            # Who waits for each call before the next one is spared the change to another thread; but not the main
            # thread: a KeyboardInterrupt between two of its steps would leave an append half made, or _sending locked.
            direct = (
                threading.get_ident() != threading.main_thread().ident
                and not self._job.unanswered
                and not self._rolls()
                and self._sending.acquire(blocking=False)
            )
            if not direct or self._dozing:
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
                self._stale = self._stale or self.along.is_whole()  # Else no other job can begin.

    def _rolls(self) -> bool:
        """Whether the next append goes to another job."""
        return self._stale or full(self._job)

    def _check(self, feed: Feed | None = None) -> None:
        ended = self._control.ended()
        if self.broken is None and ended is not None:
            raise broken_by(ended)  # though its connection may not have broken yet
        if self.broken is not None:
            raise broken_by(self.broken)
        if self.closed and feed not in self._promised:
            raise RuntimeError(SHUT)

    def reads(self, feed: Feed) -> None:
        """Is told that a feed begins to be read."""
        with self._lock:
            self._feeds.add(feed)

    def has_read(self, feed: Feed) -> None:
        """Is told that all calls of a feed were submitted, or that no more will be."""
        with self._lock:
            self._feeds.discard(feed)
            self._promised.discard(feed)
            self._change.notify_all()

    def on_their_way(self) -> int:
        """How many calls have no result yet."""
        with self._lock:
            waiting = sum(not call.future.cancelled() for call in (*self._kept.calls, *self._waiting))
            return self._flying + waiting

    def interrupted(self) -> None:
        """Says, once, what becomes of the calls when whoever waits for one of them is interrupted."""
        if self.was_interrupted or self.cancels:
            return
        self.was_interrupted = True
        sys.stderr.write(
            f"interrupted: session {self.name[:12]} goes on with {calls(self.on_their_way())}; "
            f".shutdown(cancel_futures=True) cancels those that no node has yet, and {self._elsewhere()}\n"
        )

    def waits(self) -> None:
        """Says what the end of the interpreter waits for."""
        n = self.on_their_way()
        if n:
            sys.stderr.write(
                f"waiting for {calls(n)} of session {self.name[:12]}: Ctrl-C cancels them and leaves, and "
                f"{self._elsewhere()}\n"
            )

    def _elsewhere(self) -> str:
        if owned(self._control):
            return "the daemon ends with this process, and with it what has not run by then"
        return f"client.attach({self.name[:12]!r}) has their futures in another process"

    def _begin(self) -> None:
        """Sends what there is room for if nothing is on its way yet: calls that were submitted a moment ago would run
        by now if the sender had had the time, and only those that wait behind them are to be cancelled."""
        with self._lock:
            idle = not self._job.sent and not self._job.unanswered and not self._rolls() and self.broken is None
        if idle and self._sending.acquire(blocking=False):
            try:
                self._pump()
            finally:
                self._sending.release()

    def close(self, cancel: bool = False) -> None:
        """Takes no more calls, but for those of maps whose results nobody has begun to take: all of these run, as in
        the executors of the standard library, which read all before map returns. With cancel, calls that are not on
        their way are cancelled, and nothing more is read."""
        if os.getpid() != self._pid:
            return  # A fork has none of the threads, and the session is not its own.
        if cancel:
            self._begin()
        dropped: list[Call] = []
        with self._lock:
            self.closed = True
            feeds = list(self._feeds) if cancel else [feed for feed in self._feeds if not feed.lazy]
            self._promised = set() if cancel else self._promised.union(feeds)
            if cancel:
                first, kept = self._kept.number, len(self._kept.calls)
                dropped += self._kept.clear()
                dropped.extend(self._waiting)
                self._kept.number += len(self._waiting)
                self._waiting.clear()
            self._change.notify_all()
        for feed in feeds:
            if cancel:
                feed.stop(RuntimeError(SHUT))
            else:
                feed.read_on()
        if dropped and kept and not self.abandoned:
            with contextlib.suppress(Error, httpx.TransportError):  # The job is closed soon, which ends them, too.
                self._cancel_kept([[first, first + kept]], SOON)
        for call in dropped:
            if isinstance(call.future, LateFuture):
                call.future.keep_no_more()
            call.future.cancel()
            call.future.set_running_or_notify_cancel()

    def join(self) -> None:
        """Waits until all calls are settled, and what they have printed has been passed on. The jobs then end by
        themselves: the daemon may have to bring GBs of results to disks before."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            own = [self._sender, *(job.receiver for job in self._received)]
        if threading.current_thread() in own:
            raise RuntimeError(
                "shutdown() in a callback of one of the executor's own futures would wait for the thread that it is "
                "called in: use shutdown(wait=False) there"
            )
        self._sender.join()
        with self._lock:
            jobs = list(self._received)  # Only now: the sender may have gone on with another job for the last calls.
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
        if os.getpid() != self._pid:
            return
        self.abandoned = True
        self.close(cancel=True)
        for job in list(self._jobs):
            with contextlib.suppress(Error, httpx.TransportError):
                self._control.call("POST", f"/v1/jobs/{job.name}/cancel", {})

    # --- sending

    def _open(self, title: str, before: int = 0) -> Job:
        """Opens a job, and begins to receive from it."""
        job = Job(open_job(self._control, title, self._code, self.along, self._notes, True, self.stall), before)
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
                if self._control.ended() or time.monotonic() - since > PATIENCE:
                    raise
                time.sleep(RETRY)
            except DiskFull as e:
                self.room.lacks(e)
                since = time.monotonic()
                time.sleep(ROOM)
        try:
            self._move(job, old, since)
        except BaseException:
            self._finish(job)
            raise
        self._finish(old)

    def _move(self, job: Job, old: Job, since: float) -> None:
        """Has calls that are kept for a job kept for the next one. All appends to it are answered."""
        while True:
            try:
                moved = self._control.call("POST", f"/v1/jobs/{job.name}/backlog/move", {"from": old.name})
                break
            except DiskFull as e:
                self.room.lacks(e)
                since = time.monotonic()
                time.sleep(ROOM)
            except (Error, httpx.TransportError) as e:
                if isinstance(e, Error) and not isinstance(e, NoDaemon) and e.status not in AGAIN:
                    raise
                if self._control.ended() or time.monotonic() - since > PATIENCE:
                    raise
                time.sleep(RETRY)
        with self._lock:
            self._job = job
            self._kept.told_kept(moved["after"], self._waiting, True)

    def _send(self) -> None:
        try:
            while self._ready():
                with self._sending:
                    self._pump()
                    self._keep()
                self._look()
        except BaseException as e:
            self._fail(e)
        # Also where the session is broken, of whose jobs one may have failed: whoever waits for it waits for all. Who
        # submits may just be sending what was submitted before the end.
        with self._sending:
            try:
                self._finish(self._job)
            except BaseException as e:
                self._fail(e)

    def _ready(self) -> bool:
        """Waits until there is something to send or to be kept, or it is time to look how many slots there are while
        calls wait; false if there will be nothing."""
        with self._lock:
            number = -1
            while True:
                if self.broken is not None:
                    return False
                unanswered, waiting = bool(self._job.unanswered), bool(self._waiting or self._kept.calls)
                if waiting and not unanswered and self._room() > 0 or self._dropped:
                    return True
                cancelling = any(call is not None for call in self._cancelling.values())  # It may have to be sent yet.
                if not waiting and self.closed and not unanswered and not self._promised and not cancelling:
                    return False
                keeps = self._job.exchange is not None and self._job.greeted
                soon = self._kept.wait(self._waiting, unanswered) if keeps else None
                if soon is not None and soon <= 0:
                    return True
                if waiting or unanswered:
                    wait: float | None = min(LOOK if soon is None else soon, LOOK if waiting else IDLE)
                else:
                    # Who submits call after call wakes nobody: an append of its may yet be on its way for long.
                    self._dozing = number == self._kept.number
                    wait = None if self._dozing else IDLE
                number = self._kept.number
                woken = self._change.wait(wait)
                self._dozing = False
                if not woken and waiting and soon is None:
                    return True

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
        with self._lock:
            if self._job.unanswered or self._job.closing or not (self._waiting or self._kept.calls):
                return  # Nothing can be sent, or is to be: no other job is to be opened for that.
        if self._rolls():
            self._roll()
        with self._lock:
            job = self._job
            if job.unanswered:
                return
            batch, calls, taken = Batch(), list[Call](), list[Call]()
            kept = len(self._kept.calls)
            try:
                self._fill(batch, calls, taken)
                near: list[dict[str, Any]] = []
                if any(call.near is not None for call in calls):
                    batch, near = by_node(calls)
                append = job.seq + 1, batch.items, False, near, self._kept.number
                units = range(job.units, job.units + len(calls))
                futures = {unit: call.future for unit, call in zip(units, calls)}
            except BaseException:  # Such as a KeyboardInterrupt in the thread that submits: nothing is lost by it.
                self._kept.number -= len(taken)
                self._kept.calls.extendleft(reversed(taken[:kept]))
                self._waiting.extendleft(reversed(taken[kept:]))
                raise
            if not calls:
                return
            unkept: list[Call | None] = [call if call.running else None for call in taken[kept:]]
            self._kept.append(self._kept.number - len(unkept), unkept)
            job.unanswered.append(append)
            job.shown.settled(next(iter(job.sent), units.start))
            job.shown.add(units.start, batch.items, batch.size)
            job.sent.update(futures)
            job.seq, job.units, job.size = append[0], units.stop, job.size + batch.size
            self._flying += len(calls)
            exchange = job.exchange
        self._hand(exchange, append)

    def _fill(self, batch: Batch, calls: list[Call], taken: list[Call]) -> None:
        """Puts waiting calls into a batch. Taken are those, and all that were cancelled. The caller holds _lock."""
        room = min(self._room(), MAX_CALLS)
        kept = self._kept
        while len(calls) < room:
            source = kept.calls or self._waiting
            if not source:
                return
            call = source[0]
            if calls and batch.size + len(call.function) + len(call.arguments) > MAX_BATCH:
                return
            taken.append(source.popleft())
            kept.number += 1
            if call.future in self._cancelling:
                self._cancelling[call.future] = call
                continue
            if source is kept.calls and isinstance(call.future, LateFuture):
                call.future.keep_no_more()
            if call.start():
                calls.append(call)
                batch.add(call.function, call.arguments)

    def _keep(self) -> None:
        """Hands over what has waited for a moment. The caller holds _sending, so that it stays in order."""
        if self._dropped:
            self._drop()
        with self._lock:
            job = self._job
            exchange = job.exchange
            if exchange is None or not job.greeted:
                return
            frames = self._kept.take(self._waiting, bool(job.unanswered), self._cancel)
            cancelled = self._kept.cancelled
            why = self._kept.why if not self._kept.told else ""
            self._kept.told = self._kept.told or bool(why)
        if why:
            logger.warning("calls that wait are lost if this process is killed, for now: %s", why)
        try:
            if cancelled:  # They never run, so that this is known before they are there.
                self._cancel_kept(cancelled, 0.0)
            for frame in frames:
                exchange.keep(frame)
        except (Error, httpx.TransportError) as e:
            with self._lock:
                self._kept.pause(e)
            exchange.close()  # What was not kept is handed over again over the next connection.
        except BaseException:
            exchange.close()
            raise

    def drop(self) -> None:
        """Is told that calls of a map were cancelled in this process, of which the daemon may keep some."""
        self._dropped = True

    def _drop(self) -> None:
        """Has kept calls never run that a map has cancelled."""
        self._dropped = False
        with self._lock:
            at = self._kept.number
            runs = runs_of([n for n, call in enumerate(self._kept.calls, at) if call.future.cancelled()])
        if runs:
            with contextlib.suppress(Error, httpx.TransportError):  # They are not sent in any case.
                self._cancel_kept(runs, 0.0)

    def _cancel(self, future: LateFuture, number: int) -> bool:
        """Cancels a call that is kept; true if it never runs, also where this process is killed at once."""
        if os.getpid() != self._pid:
            return future.cancel_here()
        with self._lock:
            if future.running() or future.done() or self.broken is not None:
                return future.cancel_here()
            self._cancelling.setdefault(future, None)  # It is not sent from now on.
        cancelled = False
        try:
            self._cancel_kept([[number, number + 1]], PATIENCE)
            cancelled = True
        except (Error, httpx.TransportError):
            pass
        except BaseException:  # Such as a KeyboardInterrupt: nobody has been told yet that it runs or not.
            cancelled = True
            raise
        finally:
            self._cancelled(future, cancelled)
        return cancelled and future.cancelled()

    def _cancelled(self, future: LateFuture, cancelled: bool) -> None:
        """Ends the cancelling of a call. If it has failed the call is sent after all."""
        with self._lock:
            call = self._cancelling.pop(future, None)
            future.keep_no_more()
            if not cancelled and call is not None and self.broken is None:
                self._waiting.append(call)
                self._change.notify_all()
                return
            broken = self.broken
            if call is not None:
                self._change.notify_all()  # The sender may wait for this to end.
        if cancelled:
            future.cancel_here()
        if call is None:
            return
        if call.start() and broken is not None:
            future.set_exception(broken_by(broken))

    def _cancel_kept(self, calls: list[list[int]], patience: float) -> None:
        """Has the daemon never run calls, as ranges of their numbers. One that is away is waited for."""
        since = time.monotonic()
        while True:
            try:
                self._control.call("POST", f"/v1/jobs/{self._job.name}/backlog/cancel", {"calls": calls})
                return
            except (Error, httpx.TransportError) as e:
                lasts = isinstance(e, Error) and not isinstance(e, NoDaemon) and e.status not in AGAIN
                if lasts or self.broken is not None or self._control.ended() or time.monotonic() - since > patience:
                    raise
                time.sleep(RETRY)

    def _finish(self, job: Job) -> None:
        """Lets a job end when all of its calls have run."""
        with self._lock:
            job.seq += 1
            job.closing = True
            append = job.seq, list[bytes](), True, list[dict[str, Any]](), 0
            job.unanswered.append(append)
            exchange = job.exchange
        self._hand(exchange, append)

    # --- receiving

    def _taker(self, job: Job, unit: int, size: int) -> Callable[[], object]:
        return functools.partial(self._takings.add, job.name, unit, size)

    def _left(self, job: Job) -> bool:
        with self._lock:
            return self.closed and settled(job)

    def _idle(self, job: Job) -> None:
        super()._idle(job)
        if not job.sent:
            with self._lock:
                if not job.sent:  # Nothing may have been sent meanwhile.
                    job.shown.clear()

    def _call(self, job: Job, unit: int) -> str:
        with self._lock:
            found = job.shown.find(unit)
        return show(*found) if found is not None else ""

    def _taken(self, n: int) -> None:
        self._flying -= n
        self._rate.add(n, self._slots, time.monotonic())
        if n and (self._waiting or self._kept.calls):
            self._change.notify()

    def _over(self, job: Job) -> None:
        super()._over(job)
        if job is self._job:
            self._notes.close()

    def _told_kept(self, job: Job, after: int, why: dict[str, Any] | None) -> None:
        with self._lock:
            whole, job.greeted = why is not None or not job.greeted, True
            if job is not self.__dict__.get("_job"):  # It is being opened.
                return
            self._kept.told_kept(after, self._waiting, whole)
            if why is not None:
                self._kept.refused(str(why.get("error")))
            if self._waiting:
                self._change.notify()

    def _answered(self) -> None:
        if not self._job.unanswered:
            self._kept.answered()
        # Else nobody waits for it, and a thread would be woken for nothing.
        if self._waiting or self._kept.calls or self.closed:
            self._change.notify_all()

    def _unsent(self) -> int:
        with self._lock:
            return sum(not call.future.cancelled() for call in (*self._kept.calls, *self._waiting))

    def _closed_elsewhere(self, why: BaseException) -> BaseException:
        """Why nothing more can be sent. What the daemon says of a job that another process has closed depends on what
        was just being done, and does not tell that."""
        job = self._job
        if type(why) is not Error or job.closing or self.abandoned or ENDED in why.message:
            return why
        with contextlib.suppress(Error, httpx.TransportError):
            status = self._status(job)
            if not status.get("open") and status["state"] not in ("failed", "cancelled"):
                return Error(
                    f"the job {job.name[:12]} was closed by another process {ENDED}",
                    "Attached.finish and `dtpnode close` do so; another executor begins another job",
                )
        return why

    def _fail(self, why: BaseException) -> None:
        why = self._closed_elsewhere(why)
        super()._fail(why)
        self._notes.close()
        with self._lock:
            waiting = self._kept.clear() + list(self._waiting)
            self._waiting.clear()
        for call in waiting:
            if isinstance(call.future, LateFuture):
                call.future.keep_no_more()
            if call.start():
                refuse(call.future, broken_by(why))


def calls(n: int) -> str:
    """So many calls in words."""
    return f"{n:,} call" + "s" * (n != 1)


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


class Rate:
    """How many calls are settled in a second, lately.

    Slots that have begun together end together: their results come at once, now and then, and say nothing of how long
    calls take. So it is looked at again when there are more results than these could be, or after a while.
    """

    def __init__(self, now: float) -> None:
        self.per_second = 0.0
        self._n, self._since = 0, now

    def add(self, n: int, slots: int, now: float) -> None:
        """Adds n results at a moment in seconds, of so many slots."""
        self._n += n
        took = now - self._since
        if took < LEAST or self._n <= ROUNDS * slots and took < MOST:
            return
        rate = self._n / took
        slower = rate <= self.per_second
        self.per_second += (min(took, 1.0) if slower else 1.0) * (rate - self.per_second)
        self._n, self._since = 0, now


LEAST, MOST = 0.005, 0.5  # seconds after which the rate is looked at again
ROUNDS = 2  # results of each slot which tell how long calls take


def code_of(
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    imports: Sequence[str],
    most: int | None = None,
) -> dict[str, Any]:
    """The code of a session's jobs, as pyexec/child/code.py takes it; most is how many calls a process runs."""
    if isinstance(imports, str) or not all(isinstance(module, str) for module in imports):
        raise TypeError("imports must be a list of the names of modules, such as [\"numpy\"]")
    code: dict[str, Any] = {"process": _calls.call, "show": _calls.show, "MODE": "values", "ITEMS": "blob"}
    code["unpicklable"], code["PICKLER"], code["IMPORTS"] = unpicklable, pickler, list(imports)
    code["exception"], code["instead"] = pickled, instead
    if most is not None:
        code["MOST"] = most
    if initializer is not None:
        code["start"] = _initial.starting(initializer, initargs)
        code["STARTS"] = named(initializer, "the initializer")
    return code


def part_title(title: str, session: str, before: int) -> str:
    """The title of a job that goes on with a session after so many calls."""
    return f"{title} (session {session} after {before} calls)"


# What ends the titles of reductions, by which other processes know them: the second of those whose result may lack
# items.
REDUCE, PARTIAL = " (reduce)", " (reduce, partial)"
PART = re.compile(r" \(session (\w+) after (\d+) calls\)$")


def parts_of(control: Control, name: str) -> list[tuple[int, dict[str, Any]]]:
    """The jobs of a session in order, by the name of one of them: how many calls are before each, and its status."""
    first = seen(control.call("GET", job_path(name)))
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
