"""Calls on their way to the nodes and back: what an Executor has beside its interface.

The calls of an executor are the items of a job that stays open. A job takes a bounded number of appends, so that a
session which lasts long goes through several jobs, one after the other. What is on its way is bounded, so that calls
which wait can still be cancelled, and so that what a node runs for nobody is little.
"""

import os
import pickle
import tempfile
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable

import cloudpickle
import httpx

from . import _calls
from ._archive import pack
from ._calls import Batch
from ._control import Control
from ._errors import ClusterLost, Error, ItemLost, NoDaemon, RemoteError, RemoteTraceback
from ._exchange import Exchange, refusal

cloudpickle.register_pickle_by_value(_calls)

MAX_BATCH = 8 << 20  # bytes of items in one append, unless one item is larger
MAX_CALLS = 20_000  # items in one append
MAX_APPENDS = 60_000  # of one job; the daemon takes 65,536
PATIENCE = 300.0  # seconds for which a daemon may be away before the futures fail
RETRY = 0.2  # seconds between attempts to reach a daemon
AHEAD = 0.5  # seconds of work that is on its way
STATUSES = (502, 503, 504)


@dataclass(eq=False, slots=True)
class Call:
    """A call that waits, or is on its way."""

    future: "Future[Any]"
    function: bytes  # its pickle
    arguments: bytes  # that of (args, kwargs)


@dataclass(eq=False)
class Job:
    """One of the jobs of a session. All but name is guarded by the session's lock."""

    name: str
    seq: int = 0  # of the last append
    units: int = 0  # appended, or on their way to be
    sent: dict[int, "Future[Any]"] = field(default_factory=dict)  # by their units
    unanswered: "deque[tuple[int, list[bytes], bool]]" = field(default_factory=deque)  # appends: seq, items, close
    closing: bool = False  # nothing more is appended
    exchange: Exchange | None = None

    def first(self) -> int:
        """The first unit that has no value yet."""
        return min(self.sent, default=self.units)


class Session:
    """Sends calls, and settles their futures. Its threads end some time after close."""

    def __init__(
        self,
        control: Control,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        title: str,
        workers: int | None,
    ) -> None:
        self._control, self._title = control, title
        code: dict[str, Any] = {"process": _calls.call, "show": _calls.show, "MODE": "values", "ITEMS": "blob"}
        if initializer is not None:
            code["start"] = lambda _given: initializer(*initargs)
        self._code = pack(code)
        self._workers = workers
        self._lock = threading.Lock()
        self._change = threading.Condition(self._lock)  # something is to be sent, or the session is over
        self._waiting: "deque[Call]" = deque()
        self._flying = 0  # calls that are on their way
        self._settled = 0  # calls, in all
        self._rate = _Rate()
        self._slots = max(int(control.call("GET", "/v1/status").get("slots") or 1), 1)
        self.closed = False  # no more calls are taken
        self.broken: BaseException | None = None
        self._jobs: list[Job] = []
        self._job = self._open()
        self._sending = threading.Lock()  # of the exchange of the current job
        self._sender = threading.Thread(target=self._send, name="dtpnode-send", daemon=True)
        self._sender.start()

    # --- from the user's threads

    @property
    def name(self) -> str:
        """The name of the current job."""
        return self._job.name

    def submit(self, calls: Iterable[Call]) -> None:
        """Takes calls, and sends them at once if nothing else is being sent."""
        with self._lock:
            self._check()
            self._waiting.extend(calls)
            # Who waits for each call before the next one is spared the change to another thread.
            direct = not self._job.unanswered and self._sending.acquire(blocking=False)
            if not direct:
                self._change.notify()
        if direct:
            try:
                self._pump()
            finally:
                self._sending.release()

    def _check(self) -> None:
        if self.broken is not None:
            raise ClusterLost(str(self.broken)) from self.broken
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def close(self, cancel: bool = False) -> None:
        """Takes no more calls; with cancel, those that are not on their way are cancelled."""
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
        """Waits until all calls are settled."""
        self._sender.join()
        for job in list(self._jobs):
            job.receiver.join()  # type: ignore[attr-defined]

    # --- sending

    def _open(self) -> Job:
        """Opens a job, and begins to receive from it."""
        with tempfile.NamedTemporaryFile(prefix="dtpnode-", suffix=".zip") as f:
            f.write(self._code)
            f.flush()
            status = self._control.call("POST", "/v1/jobs", {
                "kind": "Python", "title": self._title, "spec": {"code": f.name, "name": self._title}, "part": "",
                "files": None, "n": -1, "dir": os.getcwd(), "open": True,
            })
            name: str = status["id"]
            while status["state"] == "preparing":
                time.sleep(0.002)
                status = self._control.call("GET", f"/v1/jobs/{name}")
        if status["state"] in ("failed", "cancelled"):
            raise Error(status.get("error") or f"the job is {status['state']}")
        job = Job(name)
        job.receiver = threading.Thread(  # type: ignore[attr-defined]
            target=self._receive, args=(job,), name="dtpnode-receive", daemon=True
        )
        self._jobs.append(job)
        job.receiver.start()  # type: ignore[attr-defined]
        return job

    def _send(self) -> None:
        try:
            while self._ready():
                with self._sending:
                    self._pump()
            with self._lock:
                over = self.broken is not None
            if not over:
                self._finish(self._job)
        except BaseException as e:
            self._fail(e)

    def _ready(self) -> bool:
        """Waits until there is something to send; false if there will be nothing."""
        with self._lock:
            while True:
                if self.broken is not None:
                    return False
                if self._waiting:
                    if not self._job.unanswered and self._room() > 0:
                        return True
                elif self.closed and not self._job.unanswered:
                    return False
                self._change.wait()

    def _room(self) -> int:
        """How many more calls may be on their way."""
        if self._workers is not None:
            return self._workers - self._flying
        return max(2 * self._slots, int(self._rate.per_second * AHEAD)) - self._flying

    def _pump(self) -> None:
        """Sends the next calls, if there is room. The caller holds _sending."""
        if self._job.seq >= MAX_APPENDS:
            old = self._job
            job = self._open()
            with self._lock:
                self._job = job
            self._finish(old)
        with self._lock:
            job = self._job
            if job.unanswered:
                return
            batch = Batch()
            room = min(self._room(), MAX_CALLS)
            while self._waiting and len(batch.items) < room and batch.size < MAX_BATCH:
                call = self._waiting.popleft()
                if not call.future.set_running_or_notify_cancel():
                    continue
                batch.add(call.function, call.arguments)
                job.sent[job.units] = call.future
                job.units += 1
            if not batch.items:
                return
            self._flying += len(batch.items)
            job.seq += 1
            append = job.seq, batch.items, False
            job.unanswered.append(append)
            exchange = job.exchange
        self._hand(exchange, append)

    def _finish(self, job: Job) -> None:
        """Lets a job end when all of its calls have run."""
        with self._lock:
            job.seq += 1
            job.closing = True
            append = job.seq, list[bytes](), True
            job.unanswered.append(append)
            exchange = job.exchange
        self._hand(exchange, append)

    @staticmethod
    def _hand(exchange: Exchange | None, append: tuple[int, list[bytes], bool]) -> None:
        """Sends an append. Where that fails, or there is no connection, whoever makes the next one sends it again."""
        if exchange is None:
            return
        try:
            exchange.send(*append)
        except httpx.TransportError:
            exchange.close()

    # --- receiving

    def _receive(self, job: Job) -> None:
        since: float | None = None
        while True:
            why: BaseException
            exchange = None
            try:
                with self._lock:
                    first = job.first()
                exchange = Exchange(self._control, job.name, first)
                with self._lock:
                    job.exchange = exchange
                    again = list(job.unanswered)
                for append in again:
                    exchange.send(*append)
                for answer in exchange.answers():
                    since = None
                    if self._answer(job, answer):
                        return
                raise NoDaemon("the daemon has closed the connection")
            except (NoDaemon, httpx.TransportError) as e:
                why = e
            except BaseException as e:
                self._fail(e)
                return
            finally:
                with self._lock:
                    job.exchange = None
                if exchange is not None:
                    exchange.close()
            since = since or time.monotonic()
            if time.monotonic() - since > PATIENCE or self.broken is not None:
                self._fail(why)
                return
            time.sleep(RETRY)

    def _answer(self, job: Job, answer: dict[str, Any]) -> bool:
        """Takes an answer; true if it is the last."""
        for name in ("early", "values"):
            for run in answer.get(name) or ():
                self._values(job, run["first"], run["values"])
        seq = answer.get("seq", 0)
        failed = answer.get("failed")
        if failed:
            if failed.get("status") in STATUSES:
                raise NoDaemon(refusal(failed).message)
            raise refusal(failed)
        if seq:
            with self._lock:
                while job.unanswered and job.unanswered[0][0] <= seq:
                    job.unanswered.popleft()
                self._change.notify_all()
        rest = answer.get("rest")
        if not rest:
            return False
        for lost in rest.get("lost") or ():
            first, last = lost["units"]
            error = item_lost(lost)
            for future in self._take(job, first, last - first):
                if future is not None:
                    future.set_exception(error)
        if rest.get("failed"):
            raise refusal(rest["failed"])
        if rest.get("over") is None:
            return False
        self._over(job)
        return True

    def _values(self, job: Job, first: int, values: list[bytes]) -> None:
        for future, value in zip(self._take(job, first, len(values)), values):
            if future is not None:
                settle(future, value)

    def _take(self, job: Job, first: int, n: int) -> list["Future[Any] | None"]:
        """The futures of units, each once."""
        with self._lock:
            futures = [job.sent.pop(unit, None) for unit in range(first, first + n)]
            done = sum(f is not None for f in futures)
            self._flying -= done
            self._rate.add(done)
            if done and self._waiting:
                self._change.notify()
        return futures

    def _over(self, job: Job) -> None:
        with self._lock:
            left = list(job.sent.values())
            job.sent.clear()
            self._flying -= len(left)
            self._jobs.remove(job)
            ended = not job.closing
            self._change.notify_all()
        if not left and not ended:
            return
        status = self._control.call("GET", f"/v1/jobs/{job.name}")
        error = Error(status.get("error") or f"the job is {status['state']}", status.get("hint") or "")
        for f in left:
            f.set_exception(ItemLost(str(error)))
        if ended:
            raise error

    def _fail(self, why: BaseException) -> None:
        """Gives up all calls."""
        with self._lock:
            self.broken = self.broken or why
            left = [f for job in self._jobs for f in job.sent.values()]
            for job in self._jobs:
                job.sent.clear()
                job.unanswered.clear()
            waiting = list(self._waiting)
            self._waiting.clear()
            self._flying = 0
            self._change.notify_all()
        for f in left:
            f.set_exception(lost_for(why))
        for call in waiting:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(lost_for(why))


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
        self.per_second = rate if rate > self.per_second else self.per_second + min(took, 1.0) * (rate - self.per_second)
        self._n, self._since = 0, now


def lost_for(why: BaseException) -> ClusterLost:
    """What a future says of which nothing more is known."""
    error = ClusterLost(str(why))
    error.__cause__ = why
    return error


def item_lost(lost: dict[str, Any]) -> ItemLost:
    """Why an item was given up."""
    words = [str(lost.get("reason") or "the item was given up")]
    words += [str(lost[name]).strip() for name in ("stack", "tail") if lost.get(name)]
    return ItemLost("\n".join(words))


def settle(future: "Future[Any]", value: bytes) -> None:
    """Gives a future the value of its item, as a partial holds it (pyexec/partial.go)."""
    try:
        if value[0] == 0:
            result = pickle.loads(memoryview(value)[1:])
        else:
            future.set_exception(raised(value))
            return
    except BaseException as e:
        future.set_exception(RemoteError(f"could not read the result: {type(e).__name__}: {e}"))
        return
    future.set_result(result)


def raised(value: bytes) -> BaseException:
    """The exception that an item has raised, with its traceback as the cause."""
    pickled, words, trace, item = pickle.loads(memoryview(value)[1:])
    error: BaseException
    try:
        error = pickle.loads(pickled) if pickled is not None else RemoteError(words)
        if not isinstance(error, BaseException):
            error = RemoteError(words)
    except BaseException as e:
        error = RemoteError(words, f"the exception itself could not be unpickled here: {type(e).__name__}: {e}")
    error.__cause__ = RemoteTraceback(f"{trace.rstrip()}\nin the call {item}\n")
    return error
