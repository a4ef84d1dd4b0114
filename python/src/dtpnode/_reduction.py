"""Reductions: jobs that run a function over items and add what it returns, on the nodes."""

import base64
import contextlib
import operator
import os
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from concurrent.futures import BrokenExecutor, CancelledError, Future, InvalidStateError
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Iterable, Iterator

import cloudpickle
import httpx

from . import _initial, _pickles, _sums, _unpickle
from ._along import Along
from ._archive import pack
from ._cluster import owned
from ._control import Control
from ._errors import DiskFull, Error, ItemLost, JobFailed, NoDaemon, RemoteError, TooLarge, unwritten
from ._notes import Notes
from ._opening import HOUR, check_stall, open_job
from ._pickles import MAX_ITEM
from ._prints import Output, Prints, printing, titled
from ._receiver import AGAIN, PATIENCE, RETRY, ROOM, Append, Job, Receiver, broken_by, item_lost, logger, remade
from ._report import table
from ._session import (
    MAX_APPENDS,
    MAX_BATCH,
    MAX_CALLS,
    MAX_ITEMS,
    PARTIAL,
    REDUCE,
    part_title,
    parts_of,
)
from ._source import as_it_is

if TYPE_CHECKING:
    import pandas

cloudpickle.register_pickle_by_value(_sums)

# What is sent and has not run yet, where items come faster than they run.
AHEAD = 500_000  # items
AHEAD_BYTES = 256 << 20  # bytes of items
SOON, LATE = 0.002, 0.25  # seconds between looks at a job that is waited for: the first, and the longest
COLUMNS = ("first", "last", "kind", "reason")  # of a report
FINAL = ("done", "partial", "failed", "cancelled")

STOPPED = "stopped by the user"  # as the daemon says it of items that it has
NOTHING: Any = object()  # stands for an argument that was not given
FEW = 3  # ranges of items without a value that are named, a line each; the others are counted
HEAD = 40  # bytes in front of a sum, of which pyexec/partial.go has the layout


class Incomplete(Error):
    """A reduction lacks items, since it was stopped, or whoever made them has ended before the last one."""


class Reduction(Future[Any]):
    """The total of a reduction, as a ``concurrent.futures.Future``: ``Executor.reduce`` and ``Client.reduce`` give it.

        >>> total = client.reduce(lambda x: x * x, range(1000))
        >>> total.result()
        332833500

    The job goes on by itself once all items are sent, whatever becomes of this process: ``client.reduction(name)``
    gives its total to any other one. ``result()`` raises what is wrong with the item of the lowest number, as ``map``
    does: the exception that it has raised, or ``ItemLost``. ``total`` is that of all other items even then, and
    ``report`` says what is missing. ``cancel()`` works until the total is there, also while items run.
    """

    def __init__(self, run: "_Run") -> None:
        super().__init__()
        self._run = run
        self._thread: threading.Thread  # that settles it
        self._interrupted = False
        self.tells = True  # what is missing, by lines on standard error, in place of whoever has begun it
        self.within: Callable[[], bool] = lambda: False  # whether it is in a block that cancels it when it is left so

    @property
    def name(self) -> str:
        """The name of its job, for ``Client.reduction``: of the first one, where there are so many items that there are
        several."""
        return self._run.name

    @property
    def total(self) -> Any:
        """Waits for the end, and returns the total of the items that have a value, whichever are missing. Without any
        it is what ``initial`` was, or else an ``Error``, and a ``TypeError`` where there were no items at all."""
        self._wait()
        return self._run.whole()

    @property
    def report(self) -> "pandas.DataFrame":
        """``missing`` as a DataFrame, a row for each range of items [first, last). It needs pandas (``pip install
        'dtpnode[results]'``)."""
        return table(self.missing, COLUMNS)

    @property
    def missing(self) -> list[dict[str, Any]]:
        """Waits for the end, and returns what is missing in the total, a mapping for each range of items: first, last
        (the first that is not missing), kind and reason. The kind is ``raised`` or ``lost``, and ``undone`` of those
        that had not run when it was stopped, and of all other items that were sent where there is no total, as with
        ``fail_fast``."""
        self._wait()
        return [dict(zip(COLUMNS, (*items, kind, why))) for items, kind, why in self._run.missing()]

    @property
    def progress(self) -> tuple[int, int]:
        """How many items have run, and how many are sent so far."""
        return self._run.progress()

    @property
    def counted(self) -> int:
        """Waits for the end, and returns how many items have run to their ends: with those that have raised."""
        self._wait()
        return self._run.counted()

    def running(self) -> bool:
        return not self.done()

    def cancel(self) -> bool:
        """Cancels the job: items that run are stopped. False if the total is there."""
        if super().cancel():
            if not self._run.cancelled:
                self._run.cancel()
                self.set_running_or_notify_cancel()
            return True
        return False

    def stop(self) -> None:
        """Ends the job with what is done of it: no more items are sent or begun. ``result`` raises then, since items
        are missing, and ``total`` is that of the others. Nothing changes where all have run."""
        self._run.stop()

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the total. At a KeyboardInterrupt the job goes on, and a line says how to come back to it."""
        try:
            return super().result(timeout)
        except KeyboardInterrupt:
            self._was_interrupted()
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        try:
            return super().exception(timeout)
        except KeyboardInterrupt:
            self._was_interrupted()
            raise

    def join(self) -> None:
        """Waits until the total is there or never will be, and what items have printed has been passed on."""
        self._thread.join()

    def _wait(self) -> None:
        try:
            self.exception()
        except CancelledError:
            raise Error("the reduction was cancelled") from None

    def _was_interrupted(self) -> None:
        """Says, once, how to come back to it."""
        if self._interrupted or self.within():
            return
        self._interrupted = True
        short = self.name[:8]
        until = "" if self._run.fed.is_set() else " while this process lives to send the rest of its items"
        other = f"client.reduction({short!r}) gives its total to another process"
        if self._run.owned():
            until, other = " as long as this process", "the daemon, and the job with it, ends with this process"
        sys.stderr.write(
            f"interrupted: job {short} goes on{until}; .result() waits again, .cancel() ends it, and {other}\n"
        )

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "running"
        return f"<dtpnode.Reduction {self.name[:12]}, {state}>"


class Whole(Exception):
    """A job has all of its items in its total, of which nothing more is told."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job


class Part(Job):
    """One of the jobs of a reduction."""

    over = False  # nothing more is told of it

    def first(self) -> int:
        return 0  # What is missing is told once more over another connection.


class _Run(Receiver):
    """Sends the items of a reduction, and waits for the totals of its jobs."""

    def __init__(self, control: Control, title: str, op: Callable[[Any, Any], Any], initial: Any) -> None:
        super().__init__(control, title)
        self._op, self._initial = op, initial
        self._whole: Any = NOTHING  # with initial, once it was asked for
        self.attached = False
        self.cancelled = False
        self._stopped = False
        self._notes = Notes(control)
        self._prints: Prints | None = None
        self._along = Along()
        self._stall: float | None = HOUR
        self._parts: list[Part] = []
        self._numbers = 0  # items that are sent, or on their way to be
        self._bytes = 0  # of these
        self._known = 0  # of these, that jobs have which are over
        self._done = 0  # of these, that have run when that was looked at last
        self._lost: list[tuple[int, int, dict[str, Any]]] = []  # items that were given up: first, last, why
        self._lost_at: set[tuple[str, int]] = set()
        self._sum: Any = _sums.EMPTY
        self._waiting: deque[bytes] = deque()  # arguments that were read, and not sent yet
        self._weight = 0  # their bytes
        self._read = False  # there are no more
        self._all_sent = False  # there is none that was not sent
        self.fed = threading.Event()  # all items are sent, or none is sent any more
        self.over = threading.Event()  # its future is settled
        self.failed = False  # as a whole
        self.fail_fast = False
        self.kept = False  # a job has all of its items, and may have its total when its user has mended a node
        self.raised: BaseException | None = None  # what op has raised on a node
        self._ended_at: tuple[int, str] | None = None  # the item that has raised and ended it, and what in words
        self.unread: BaseException | None = None  # what has come of reading or pickling items

    # --- what is told

    def progress(self) -> tuple[int, int]:
        with contextlib.suppress(Error, httpx.TransportError):
            self._look()
        with self._lock:
            return self._done, self._numbers

    def owned(self) -> bool:
        """Whether the daemon ends with this process, and the jobs that it leads with it."""
        return owned(self._control)

    def ended(self) -> NoDaemon | None:
        """Why nothing more will come of it, if this process has ended the daemon. It is told, since somebody may never
        ask for the total."""
        why = self._control.ended()
        if why is not None:
            logger.warning("the reduction %s is lost: %s", self.name[:12], why.message)
        return why

    def _tell_lost(self, n: int) -> None:
        """It is told once, by ended."""

    def whole(self) -> Any:
        """The total of all that have a value."""
        total, counted, _, _ = self._sum
        if total is not None:
            with self._lock:
                if self._whole is NOTHING:  # It is added once, since op may change its first argument.
                    self._whole = total[0] if self._initial is NOTHING else self._op(self._initial, total[0])
                return self._whole
        if self.failed:
            raise Error("there is no total: the reduction has failed as a whole", "result() says why")
        if self._initial is not NOTHING:
            return self._initial
        if counted == 0 and not self._lost:
            raise TypeError("reduce() of no items with no initial value")
        raise Error("there is no total: no item has a value", "result() says why")

    def counted(self) -> int:
        return int(self._sum[1])

    def has_total(self) -> bool:
        return self._sum[0] is not None or self._initial is not NOTHING

    def missing(self) -> list[tuple[tuple[int, int], str, str]]:
        """Ranges of items that are not in the total, in order, with how they went missing and why."""
        raised = self._sum[3]
        kinds = {"stopped": "undone"}
        out = [
            ((first, last), kinds.get(why.get("kind", ""), "lost"), str(why.get("reason") or ""))
            for first, last, why in self._lost
        ]
        if self._stopped and self._known < self._numbers:  # They were on their way.
            out.append(((self._known, self._numbers), "undone", STOPPED))
        for words, ranges in (raised[0] if raised else {}).items():
            out += [((first, last), "raised", words) for first, last in ranges]
        if self.failed:
            if self._ended_at is not None:
                number, words = self._ended_at
                out.append(((number, number + 1), "raised", words))
            out += [(items, "undone", "there is no total: the reduction has ended before it was whole")
                    for items in between([items for items, _, _ in out], self._numbers)]
        return sorted(out)

    # --- items

    def attach(self, parts: list[tuple[int, dict[str, Any]]]) -> None:
        """Takes the jobs of a reduction that another process has begun, each with the items before it."""
        self.attached = True
        self.name = self.name or parts[0][1]["id"]
        for before, status in parts:
            part = Part(status["id"], before, closing=True)
            self._parts.append(part)
            self._numbers = before + int(status["units"])
            self._follow(part)

    def open(self, code: bytes, prints: Prints | None, along: Along, stall: float | None) -> None:
        """Opens the first job."""
        self._code, self._prints, self._along, self._stall = code, prints, along, stall
        self._add(self._title)
        self.name = self._parts[0].name

    def _add(self, title: str) -> Part:
        name = open_job(self._control, title, self._code, self._along, self._notes, False, self._stall)
        part = Part(name, self._numbers)
        self._parts.append(part)
        self._follow(part)
        if self._prints is not None:
            self._prints.follow(part.name)
        return part

    def read(self, items: Iterator[tuple[Any, ...]]) -> None:
        """Reads the items, and has them sent. What goes wrong with that is in unread."""
        try:
            for n, args in enumerate(items):
                arguments = _pickles.item(n, args, self._along.modules)
                with self._lock:
                    self._waiting.append(arguments)
                    self._weight += len(arguments)
                    self._change.notify_all()
                    # One item alone is never enough: send keeps it back until it is known whether another follows.
                    while len(self._waiting) > 1 and self._full() and not self._ends():
                        self._change.wait()
                    if self._ends():
                        return
        except BaseException as e:
            self.unread = e
        finally:
            with self._lock:
                self._read = True
                self._change.notify_all()

    def _full(self) -> bool:
        return len(self._waiting) > MAX_CALLS or self._weight > MAX_BATCH

    def _ends(self) -> bool:
        return self.cancelled or self._stopped or self.broken is not None

    def send(self) -> int:
        """Sends all items as they are read, and returns how many these are."""
        while True:
            with self._lock:
                # The last item is kept back until it is known whether another one follows.
                while not self._ends() and not self._read and len(self._waiting) < 2:
                    self._change.wait()
                if self.cancelled:
                    raise CancelledError()
                self._check()
                if self.unread is not None:
                    raise self.unread
                self._all_sent = self._read and not self._waiting
                over = self._stopped or self._all_sent
            if over:
                self._finish(self._parts[-1])
                return self._numbers
            part = self._parts[-1]
            if part.seq >= MAX_APPENDS or part.size > MAX_ITEMS - max(MAX_BATCH, MAX_ITEM):
                part = self._roll(part)
            if self._await_room(part):
                self._append(part)

    def _append(self, part: Part) -> None:
        """Sends what waits, as much of it as one append takes."""
        with self._lock:
            batch: list[bytes] = []
            size = 0
            while self._waiting and len(batch) < MAX_CALLS:
                last = len(self._waiting) == 1
                if last and not self._read or batch and size + len(self._waiting[0]) > MAX_BATCH:
                    break
                arguments = self._waiting.popleft()
                batch.append(_sums.item(self._numbers + len(batch), last, arguments))
                size += len(batch[-1])
                self._weight -= len(arguments)
            if not batch:
                return
            part.seq += 1
            append = part.seq, batch, False, list[dict[str, Any]](), 0
            part.unanswered.append(append)
            part.units, part.size = part.units + len(batch), part.size + size
            self._numbers, self._bytes = self._numbers + len(batch), self._bytes + size
            exchange = part.exchange
            self._change.notify_all()
        self._hand(exchange, append)

    def _roll(self, old: Part) -> Part:
        since = time.monotonic()
        while True:
            try:
                part = self._add(part_title(self._title, self.name, self._numbers))
                break
            except NoDaemon:
                if self._control.ended() or time.monotonic() - since > PATIENCE:
                    raise
                time.sleep(RETRY)
            except DiskFull as e:
                self.room.lacks(e)
                since = time.monotonic()
                time.sleep(ROOM)
        self._finish(old)
        return part

    def _finish(self, part: Part) -> None:
        with self._lock:
            self._check()
            part.seq += 1
            part.closing = True
            append = part.seq, list[bytes](), True, list[dict[str, Any]](), 0
            part.unanswered.append(append)
            exchange = part.exchange
        self._hand(exchange, append)

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _await_room(self, part: Part) -> bool:
        """Waits until earlier appends are answered, and what is sent and has not run is little enough; false if nothing
        more is to be sent."""
        pause = SOON
        while True:
            with self._lock:
                if self._ends():
                    return False
                if part.unanswered:
                    self._change.wait(LATE)
                    continue
                ahead = self._numbers - self._done
                weight = self._bytes / max(self._numbers, 1) * ahead
            if ahead < AHEAD and weight < AHEAD_BYTES:
                return True
            with contextlib.suppress(NoDaemon, httpx.TransportError):
                self._look()
            time.sleep(pause)
            pause = min(pause * 1.5, LATE)

    def _look(self) -> list[dict[str, Any]]:
        """How the jobs stand."""
        stands = [self._status(part) for part in list(self._parts)]
        with self._lock:
            self._done = sum(int(s["done"]) for s in stands)
        return stands

    # --- the end

    def settle(self) -> None:
        """Waits for the end of all jobs, and adds their totals."""
        sums: list[Any] = []
        while len(sums) < len(self._parts):
            part = self._parts[len(sums)]
            status = self._final(part)
            self._known = part.before + int(status["units"])
            if status["state"] not in ("done", "partial"):
                raise self._failed(status) or why_none(status, self._lost)
            with self._lock:
                while not part.over and self.broken is None:
                    self._change.wait()
                if not part.over:
                    self._check()
            sums.append(self._fetch(part))
            if self.attached and len(sums) == len(self._parts) and sums[-1][2] is None:
                self.attach(parts_of(self._control, self.name)[len(sums) :])  # that have begun meanwhile
        self._tail(sums)
        reduce = _sums.code(len, self._op, b"")["reduce"]
        for s in sums:
            self._sum = reduce(self._sum, s)

    def _tail(self, sums: list[Any]) -> None:
        """Takes what the last item tells of how sums are added, for a process that has not begun this."""
        if not self.attached:
            return
        for _, _, ends, _ in sums:
            if ends is not None:
                self._op, *initial = _unpickle.loads(ends[1])
                self._initial = initial[0] if initial else NOTHING
                return
        if len(sums) > 1:
            raise Incomplete(
                f"the process that sent the items has ended before the last of them, after {len(sums)} jobs: nothing "
                "tells how their totals are added",
                "`dtpnode get JOB` has that of each job",
            )

    def _final(self, part: Part) -> dict[str, Any]:
        """Waits for the end of a job, and returns its last status."""
        pause, since = SOON, time.monotonic()
        while True:
            try:
                status = self._status(part)
                since = time.monotonic()
                if status["state"] in FINAL or status["state"] == "cannot finish":
                    return status
            except (NoDaemon, httpx.TransportError):
                if self._control.ended() or time.monotonic() - since > PATIENCE:
                    raise
            if self.cancelled:
                raise CancelledError()
            time.sleep(pause)
            pause = min(pause * 1.3, LATE)

    def _fetch(self, part: Part) -> Any:
        """The sum of a job."""
        since = time.monotonic()
        while True:
            try:
                with tempfile.TemporaryFile(prefix="dtpnode-") as f:
                    for block in self._control.download(f"/v1/jobs/{part.name}/result"):
                        f.write(block)
                    f.seek(0)
                    return read(f)
            except OSError as e:
                raise unwritten(e, "the total") from e
            except (NoDaemon, httpx.TransportError):
                if self._control.ended() or time.monotonic() - since > PATIENCE:
                    raise
            except Error as e:
                if e.status not in AGAIN or time.monotonic() - since > PATIENCE:
                    raise
            time.sleep(RETRY)

    def wrong(self, sent: int | None) -> BaseException | None:
        """What result() raises though there may be a total: None if nothing is missing. sent is how many items there
        are, None where only the last one can tell."""
        total, counted, ends, raised = self._sum
        all_sent = self._all_sent or self.attached and ends is not None
        if self._stopped and not (all_sent and all(kind != "undone" for _, kind, _ in self.missing())):
            return Incomplete(f"the total is that of {counted:,} items: it was stopped", "`total` is that of these")
        lost = sum(last - first for first, last, _ in self._lost)
        first = raised[1][0] if raised else None
        if self._lost and (first is None or min(self._lost, key=lambda m: m[0])[0] < first[0]):
            at, end, why = min(self._lost, key=lambda m: m[0])
            return item_lost(why, at, end, why["job"])
        if first is not None:
            return exception(first)
        every = sent if sent is not None else ends[0] if ends is not None else None
        if every is None or counted + lost != every:
            of = "" if every is None else f" of {every:,}"
            return Incomplete(
                f"the total is that of {counted:,} items{of}: the process that sent them has ended before the last one",
                "`total` is that of these",
            )
        return None

    def tell_missing(self) -> None:
        """Names the first items that are not in the total, a line each, where what items print is wanted here."""
        if self._prints is None or self.failed or self.cancelled or self._stopped:
            return
        missing = self.missing()
        for (first, last), kind, why in missing[:FEW]:
            what = f"item {first:,} has" if last == first + 1 else f"items {first:,} to {last - 1:,} have"
            why = why.partition("\n")[0]
            words = f"{what} raised {why}" if kind == "raised" else f"{what} no value: {why}"
            sys.stderr.write(f"dtpnode: reduction {self.name[:12]}: {words}\n")
        more = sum(last - first for (first, last), _, _ in missing[FEW:])
        if more:
            sys.stderr.write(f"dtpnode: reduction {self.name[:12]}: and {more:,} items more; .report names each\n")

    def cancel(self) -> None:
        self.cancelled = True
        for part in list(self._parts):
            with contextlib.suppress(Error, httpx.TransportError):
                self._control.call("POST", f"/v1/jobs/{part.name}/cancel", {})
        self.hang_up()

    def stop(self) -> None:
        if self.over.is_set():
            return
        self._stopped = True
        for part in list(self._parts):
            try:
                self._control.call("POST", f"/v1/jobs/{part.name}/stop", {})
            except Error as e:
                if e.status != ENDED:
                    raise

    def hang_up(self) -> None:
        """Ends receiving."""
        self.closed = True
        self._notes.close()
        with self._lock:
            exchanges = [p.exchange for p in self._parts]
            self._change.notify_all()
        for exchange in exchanges:
            if exchange is not None:
                exchange.close()

    # --- receiving

    def _left(self, job: Job) -> bool:
        return self.closed

    def _append_refused(self, job: Job, error: Error) -> Error:
        if not self._stopped:
            return self._failed(self._status(job)) or error
        with self._lock:
            job.unanswered.clear()  # It was on its way when the job was stopped.
        return NoDaemon(error.message)  # Another connection tells the rest: what is missing.

    def _given_up(self, job: Job, lost: dict[str, Any]) -> None:
        first, last = lost["units"]
        with self._lock:
            if (job.name, first) not in self._lost_at:
                self._lost_at.add((job.name, first))
                self._lost.append((job.before + first, job.before + last, {**lost, "job": job.name}))
        if self.fail_fast and not self._stopped:
            raise item_lost(lost, job.before + first, job.before + last, job.name)

    def _over(self, job: Job) -> None:
        with self._lock:
            assert isinstance(job, Part)
            job.over = True
            self._jobs.remove(job)
            self._change.notify_all()

    def _why(self, job: Job) -> Error | None:
        status = self._status(job)
        if status["state"] == "done":
            raise Whole(job)  # It has the total alone, and tells no more of its items.
        return self._failed(status) or super()._why(job)

    def _failed(self, status: dict[str, Any]) -> Error | None:
        """Why a job has failed as a whole, None if it has not. What op has raised is raised."""
        if status["state"] not in ("failed", "cannot finish"):
            return None
        self.kept = status["state"] == "cannot finish" and not of_op(status)
        if status.get("cause"):
            details = _unpickle.loads(base64.b64decode(status["cause"]))
            number, _, words, _, where = details
            if number >= 0 and where.startswith(_sums.AT):
                self._ended_at = number, words
            self.raised = exception(details)
            raise self.raised
        return why_none(status, self._lost)

    def _fail(self, why: BaseException) -> None:
        if isinstance(why, Whole):
            self._over(why.job)
            return
        with self._lock:
            if not self.closed:
                self.broken = self.broken or why
            self._change.notify_all()


def between(some: list[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    """The ranges of the first n items that are in none of some ranges."""
    out, at = [], 0
    for first, last in [*sorted(some), (n, n)]:
        if at < first:
            out.append((at, first))
        at = max(at, last)
    return out


def read(f: BinaryIO) -> Any:
    """The sum in the output of a job."""
    head = f.read(HEAD)
    if len(head) < HEAD or head[:8] != b"dtppypar" or head[8] != 2:
        raise Error("the result of the job is of no form that this version of the package reads")
    if head[9] != 1:
        raise Error("the job keeps a value of each item, and no total", "client.attach gives its values as futures")
    if int.from_bytes(head[32:40], "little") == 0:
        return _sums.EMPTY
    try:
        found = _unpickle.load(f)
    except BaseException as e:
        words = f"could not read the total: {type(e).__name__}: {e}"
        raise RemoteError(words, "is what it is made of importable here, in the same version?") from e
    return found


def exception(details: _sums.Details) -> BaseException:
    """An exception that was raised on a node, of what a sum tells of it."""
    return remade(*details[1:])


def why_none(status: dict[str, Any], lost: list[tuple[int, int, dict[str, Any]]]) -> Error:
    """Why a job has no sum."""
    words = status.get("error") or f"the job is {status['state']}"
    given_up = lost or words.startswith(GIVEN_UP)  # of which this process may not have been told yet
    if status["state"] == "failed" and status.get("units") and not status.get("committed") and given_up:
        return ItemLost(words)
    hint = status.get("hint") or ""
    if UNREAD in words and status["state"] == "cannot finish":
        short = str(status["id"])[:8]
        hint = (
            f"what is done is kept, until `dtpnode cancel {short}` drops it: if that node has the module meanwhile, "
            f"`dtpnode finish {short}` makes the total, which client.reduction({short!r}) gives; it fails again if not"
        )
    elif of_op(status):
        tried = f"{hint}; " if status["state"] == "failed" else ""
        hint = f"{tried}there is no total without op: try it, as op(fn(a), fn(b)), in a process of its own"
        if _sums.ACCUMULATORS in words:
            hint = f"{tried}try coffea.processor.accumulate on those of two chunks, in a process of its own"
    return JobFailed(words, hint)


def of_op(status: dict[str, Any]) -> bool:
    """Whether it is op by which a job has no total."""
    first = str(status.get("error")).partition("\n")[0]
    return bool(status.get("cause")) or "op, " in first or _sums.ACCUMULATORS in first


def begin(
    control: Control,
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    op: Callable[[Any, Any], Any],
    initial: Any,
    partial: bool,
    fail_fast: bool,
    code: dict[str, Any],
    title: str | None,
    output: Output | None,
    along: Along,
    stall: float | None = HOUR,
) -> Reduction:
    """Begins a reduction, whose items may take stall seconds each. code is what its jobs have beside what _sums gives
    them, as pyexec/child/code.py takes it."""
    if not callable(op):
        raise TypeError("op must be a callable")
    titled(title)
    printing(output)
    stall = check_stall(stall)
    if not iterables:
        raise TypeError("reduce() must have at least one iterable")
    items = zip(*map(as_it_is, iterables))  # It tells here what is no iterable.
    but = along.modules
    fn, op = _pickles.checked(fn, "the function", but), _pickles.checked(op, "op", but)
    tail = _pickles.value((op,) if initial is NOTHING else (op, initial), "initial", but)
    own = _sums.code(fn, op, tail, fail_fast, _pickles.has_state(fn))
    own["unpicklable"] = of_sum(code["unpicklable"])
    if "start" in code:
        own["start"] = _initial.with_others(code["start"], fn, op)
    title = title or f"reduce {getattr(fn, '__qualname__', type(fn).__name__)}"
    own_initial = initial if initial is NOTHING else _unpickle.loads(tail)[1]  # a copy, which op may change
    run = _Run(control, title + (PARTIAL if partial else REDUCE), op, own_initial)
    run.fail_fast = fail_fast
    run.open(pack({**code, **own}, along), Prints(control, output) if output is not None else None, along, stall)
    future = Reduction(run)
    threading.Thread(target=run.read, args=(items,), name="dtpnode-items", daemon=True).start()
    future._thread = threading.Thread(target=_main, args=(run, future, partial), name="dtpnode-reduce", daemon=True)
    future._thread.start()
    _running.add(run)
    return future


def attached(control: Control, name: str) -> Reduction:
    """The total of a reduction that any process has begun, by the name of one of its jobs."""
    parts = parts_of(control, name)
    title = parts[0][1]["title"]
    if parts[0][1].get("kind") != "Python" or not title.endswith((REDUCE, PARTIAL)):
        raise Error(f"the job {name} is no reduction: it is {title!r}", "client.attach has the futures of an executor")
    run = _Run(control, title, operator.add, NOTHING)
    run.attach(parts)
    future = Reduction(run)
    partial = title.endswith(PARTIAL)
    future._thread = threading.Thread(target=_main, args=(run, future, partial), name="dtpnode-reduce", daemon=True)
    future._thread.start()
    return future


def of_sum(unpicklable: Callable[[Any, str], str]) -> Callable[[Any, str], str]:
    """Which part of a total has no pickle, of the sum that has it."""

    def why(value: Any, root: str) -> str:
        return unpicklable(value[0][0], "the total") if value[0] is not None else ""

    return why


def _main(run: _Run, future: Reduction, partial: bool) -> None:
    try:
        sent = None if run.attached else run.send()
        run.fed.set()
        run.settle()
        error = run.wrong(sent)
        if error is not None and not (partial and run.has_total()):
            outcome: Callable[[], None] = lambda: future.set_exception(error)
        else:
            whole = run.whole()
            outcome = lambda: future.set_result(whole)
    except BaseException as e:
        users = e is run.unread or e is run.raised
        plain = users or isinstance(e, (BrokenExecutor, ItemLost, Incomplete)) or not isinstance(e, LOST)
        ended = None if users or run.cancelled else run.ended()
        why = e if plain and ended is None else broken_by(ended or e)
        run.failed = True
        if not run.cancelled and not run.kept:
            run.cancel()
        outcome = lambda: future.set_exception(why)
    finally:
        run.fed.set()
    try:
        if future.tells:
            run.tell_missing()
        run.hang_up()
        with contextlib.suppress(InvalidStateError):  # It was cancelled meanwhile.
            outcome()
    finally:
        _running.discard(run)
        run.over.set()


LOST = (Error, httpx.TransportError)
ENDED = 409  # the status of a refusal to stop what has ended
GIVEN_UP = "given up, since no entry could be processed"  # as node/jobs/finish.go says it
UNREAD = "cannot be imported where sums are merged"  # as pyexec/child/workers.py says it
_running: "weakref.WeakSet[_Run]" = weakref.WeakSet()


def _at_exit() -> None:
    """Waits, when the interpreter ends, until all items of reductions are sent: their jobs then go on by themselves.
    Those of a daemon that ends with this process are waited for to their ends, as calls are."""
    try:
        for run in list(_running):
            (run.over if run.owned() and not run.cancelled else run.fed).wait()
    except KeyboardInterrupt:  # It is no error of the interpreter's end, which would show a traceback of this.
        for run in list(_running):
            if run.owned() or not run.fed.is_set():
                lacks = "" if run.fed.is_set() else ", of which not all items were sent"
                sys.stderr.write(f"cancelled the reduction {run.name[:12]}{lacks}\n")
                run.cancel()


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_running.clear)
