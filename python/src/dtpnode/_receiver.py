"""Results on their way from the jobs of a session to its futures."""

import contextlib
import functools
import logging
import os
import threading
import time
import weakref
from collections import deque
from concurrent.futures import BrokenExecutor, Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Callable

import httpx

from . import _unpickle
from ._control import Control
from ._errors import (
    ClusterLost,
    DiskFull,
    Error,
    ItemLost,
    JobFailed,
    NoDaemon,
    RemoteError,
    RemoteTraceback,
    ResultTaken,
    caused,
    is_full,
    raisable,
    unpickled,
)
from ._exchange import Exchange, refusal
from ._held import AT_ONCE, LAZY, Files, LateFuture, Value
from ._notes import Room
from ._shown import Shown
from ._slots import Slot
from ._traces import readable

PATIENCE = 300.0  # seconds for which a daemon may be away before the futures fail
RETRY = 0.2  # seconds between attempts to reach a daemon
ROOM = 2.0  # seconds between attempts to have a disk take more that was full
AGAIN = (404, 500, 502, 503, 504)  # statuses of refusals that another attempt may not meet


Append = (
    tuple[int, list[bytes], bool, list[dict[str, Any]], int]
    | tuple[int, list[bytes], bool, list[dict[str, Any]], int, bool]
)
"""An append: its number, the items, whether it is the last one, which nodes are near some of the items, the number
behind its last call in the session, and whether items name units whose values they take."""


@dataclass(eq=False)
class Job:
    """One of the jobs of a session. All but name is guarded by the session's lock."""

    name: str
    before: int = 0  # calls of the session that earlier jobs have
    size: int = 0  # bytes of all items
    seq: int = 0  # of the last append
    units: int = 0  # appended, or on their way to be
    sent: dict[int, "Future[Any]"] = field(default_factory=dict)  # by their units, in order
    shown: "Shown" = field(default_factory=Shown)  # calls that were sent, to tell which is lost
    unanswered: "deque[Append]" = field(default_factory=deque)
    closing: bool = False  # nothing more is appended
    busy: bool = False  # something that has come is being taken: futures may be about to be settled
    over: bool = False  # nothing is received from it any more
    exchange: Exchange | None = None
    greeted: bool = False  # over this connection the daemon has said which calls it keeps
    receiver: threading.Thread | None = None

    def first(self) -> int:
        """The first unit that has no value yet."""
        # Of a job that may have ended there must be a unit to ask for.
        return min(self.sent, default=max(self.units - 1, 0) if self.closing else self.units)


class Receiver:
    """Settles futures of jobs, each job in a thread that ends with it."""

    what = "call"  # what its units are to its user

    def __init__(self, control: Control, title: str) -> None:
        self._control, self._title = control, title
        self._lock = threading.Lock()
        self._change = threading.Condition(self._lock)  # something has changed that somebody may wait for
        self._jobs: list[Job] = []  # that are received from
        self._received: list[Job] = []  # those whose thread runs: it may yet settle futures of a job that is over
        self._pid = os.getpid()
        self._files = Files()
        self.room = Room()
        self.broken: BaseException | None = None
        self.name = ""  # of the session: of its first job
        self.closed = False  # nobody wants more
        self.leaves = False  # the interpreter ends, so that a daemon that is away is waited for only if a call needs it
        self.abandoned = False  # by its user, who needs not be told that it is broken
        _living.add(self)

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

    def _follow(self, job: Job) -> None:
        """Begins to receive from a job."""
        job.receiver = threading.Thread(target=self._receive, args=(job,), name="dtpnode-receive", daemon=True)
        with self._lock:
            self._jobs.append(job)
            self._received.append(job)
        job.receiver.start()

    def _receive(self, job: Job) -> None:
        try:
            self._receive_all(job)
        finally:
            with self._lock:
                job.over = True
                self._received.remove(job)
                self._change.notify_all()

    def _receive_all(self, job: Job) -> None:
        since: float | None = None
        while True:
            why: Error | httpx.TransportError
            exchange = None
            try:
                with self._lock:
                    first = job.first()
                exchange = Exchange(self._control, job.name, first, not job.closing)
                with self._lock:
                    job.exchange, job.greeted = exchange, False
                    again = list(job.unanswered)
                if self._left(job):  # Whoever ends the session looks for this exchange from now on.
                    return
                if (ended := self._control.ended()) is not None:
                    raise ended
                with contextlib.suppress(httpx.TransportError):  # The daemon may have told why nothing can be sent.
                    for append in again:
                        exchange.send(*append)
                for answer in exchange.answers():
                    since, job.busy = None, True
                    if self._answer(job, answer):
                        return
                    self._idle(job)
                raise NoDaemon("the daemon has closed the connection")
            except (NoDaemon, DiskFull, httpx.TransportError) as e:
                why = e
            except BaseException as e:
                if not self._left(job):
                    self._fail((self._control.ended() or e) if isinstance(e, Error) else e)
                return
            finally:
                with self._lock:
                    job.exchange = None
                if exchange is not None:
                    exchange.close()
            if self._left(job):
                return
            why = self._control.ended() or why
            if isinstance(why, DiskFull):  # It is waited for as long as it takes: people make room, and not soon.
                since = None
                self.room.lacks(why)
                self._idle(job)
                time.sleep(ROOM)
                continue
            since = since or time.monotonic()
            in_vain = self._control.ended() is not None or self.leaves and self.on_their_way() == 0
            if in_vain or time.monotonic() - since > PATIENCE or self.broken is not None:
                self._fail(why)
                return
            self._idle(job)
            time.sleep(RETRY)

    def break_off(self) -> None:
        """Ends the connections, of which the threads that receive find out why."""
        with self._lock:
            exchanges = [job.exchange for job in self._jobs if job.exchange is not None]
        for exchange in exchanges:
            exchange.shut()

    def _idle(self, job: Job) -> None:
        """Notes that all that has come was taken."""
        job.busy = False
        if self.closed:
            with self._lock:
                self._change.notify_all()

    def on_their_way(self) -> int:
        """How many calls have no result yet."""
        with self._lock:
            return sum(len(job.sent) for job in self._jobs)

    def _left(self, job: Job) -> bool:
        """Whether nobody wants more of a job that was broken off."""
        return False

    def _answer(self, job: Job, answer: dict[str, Any]) -> bool:
        """Takes an answer; true if it is the last."""
        for name in ("early", "values"):
            for run in answer.get(name) or ():
                self._values(job, run["first"], run["values"])
        if "kept" in answer:
            self._told_kept(job, answer["kept"], answer.get("unkept"))
        if answer.get("held"):
            self._held(job, answer["held"])
        seq = answer.get("seq", 0)
        failed = answer.get("failed")
        if failed:
            raise self._append_refused(job, self._refused(answer, failed))
        if seq:
            self.room.has()
            with self._lock:
                while job.unanswered and job.unanswered[0][0] <= seq:
                    job.unanswered.popleft()
                self._answered()
        rest = answer.get("rest")
        if not rest:
            return False
        for lost in rest.get("lost") or ():
            self._given_up(job, lost)
        if rest.get("failed"):
            raise self._why(job) or self._refused(answer, rest["failed"])
        if rest.get("over") is None:
            return False
        self._over(job)
        return True

    def _told_kept(self, job: Job, after: int, why: dict[str, Any] | None) -> None:
        """Is told that the daemon keeps calls up to a number, and why it does not keep those behind them."""

    def _append_refused(self, job: Job, error: Error) -> Error:
        """What the refusal of an append comes to."""
        return error

    @staticmethod
    def _refused(answer: dict[str, Any], said: dict[str, Any]) -> Error:
        """What a refusal comes to: a NoDaemon where another attempt may go well, or a DiskFull. A daemon that has just
        come back may not know its jobs, nor who leads them."""
        error = refusal(said)
        error.status = answer.get("status", 0)
        if is_full(error):
            return DiskFull(error.message, error.hint)
        return NoDaemon(error.message, error.hint) if answer.get("status", 0) in AGAIN else error

    def _given_up(self, job: Job, lost: dict[str, Any]) -> None:
        """Takes the word that items were given up."""
        first, last = lost["units"]
        error = item_lost(lost, job.before + first, job.before + last, job.name, self._call(job, first))
        for future in self._take(job, first, last - first):
            if future is not None:
                refuse(future, error)

    def _call(self, job: Job, unit: int) -> str:
        """The call that is a unit, as its user has written it; empty if that is not known."""
        return ""

    def _values(self, job: Job, first: int, values: list[bytes]) -> None:
        futures = self._take(job, first, len(values))
        futures.reverse()
        for value in values:
            # Nothing here refers to a future, and so to its result, for longer than until it is settled.
            try:
                settle(futures.pop(), value)
            except InvalidStateError:  # as in refuse
                pass

    def _held(self, job: Job, run: dict[str, Any]) -> None:
        """Takes values that lie in a file. Large ones stay there until somebody asks for their futures' results. Where
        the file does not have them all is asked for again, over another connection: then they come with a partial."""
        file = self._files.known(run.pop("file"))  # The answer stays until the next one, which may not come for long.
        if run["at"] + run["ends"][-1] > os.fstat(file.fd).st_size:
            raise httpx.ReadError("a file of the daemon lacks values")
        small: list[bytes] = []
        first, size, last = run["first"], 0, 0
        for unit, end in enumerate(run["ends"], first):
            at, n, last = run["at"] + last, end - last, end
            if n < LAZY or self._files.many:
                try:
                    small.append(file.read(at, n))
                except OSError as e:
                    raise httpx.ReadError(str(e)) from e
                size += n
                if size < AT_ONCE:
                    continue
                self._values(job, first, small)
                first, size, small = unit + 1, 0, []
                continue
            self._values(job, first, small)
            first, size, small = unit + 1, 0, []
            with contextlib.suppress(InvalidStateError):
                settle_later(self._take(job, unit, 1)[0], Value(file, at, n), self._taker(job, unit, n))
        self._values(job, first, small)
        del file
        self._files.make_room()

    def _room_lacks(self, lacks: bool) -> None:
        """Is told, again and again, whether a node lacks room on its disk."""
        self._files.short = lacks
        self._files.make_room()

    def _take(self, job: Job, first: int, n: int) -> list["Future[Any] | None"]:
        """The futures of units, each once."""
        with self._lock:
            futures = [job.sent.pop(unit, None) for unit in range(first, first + n)]
            self._taken(sum(f is not None for f in futures))
        return futures

    def _taker(self, job: Job, unit: int, size: int) -> "Callable[[], object] | None":
        """What is called when somebody has taken a large result out of its file, if anything is."""
        return None

    def _taken(self, n: int) -> None:
        """Is told that so many futures are about to be settled. The caller holds _lock."""

    def _answered(self) -> None:
        """Is told that appends were answered. The caller holds _lock."""

    def _over(self, job: Job) -> None:
        with self._lock:
            ended = not job.closing
            whole = not job.sent and not ended
        error = Error("the job has ended without it") if whole else self._why(job) or self._ended(job)
        with self._lock:
            left = list(job.sent.items())
            job.sent.clear()
            self._taken(len(left))
            self._jobs.remove(job)
            self._change.notify_all()
            if not whole and ended:
                self.broken = self.broken or error
        for unit, f in left:
            refuse(f, broken_by(error) if ended else item_lost(
                {"reason": str(error)}, job.before + unit, job.before + unit + 1, job.name, self._call(job, unit)
            ))
        if not whole and ended:
            raise error

    def _status(self, job: Job) -> dict[str, Any]:
        """How a job stands. A daemon that does not know that just now is a NoDaemon."""
        try:
            status: dict[str, Any] = self._control.call("GET", f"/v1/jobs/{job.name}")
            return status
        except Error as e:
            if e.status in AGAIN:
                raise NoDaemon(e.message, e.hint) from e
            raise

    def _why(self, job: Job) -> Error | None:
        """Why a job has no result, or not a whole one."""
        status = self._status(job)
        if status["state"] not in ("failed", "cancelled") and not status.get("error"):
            return None
        return Error(status.get("error") or f"the job is {status['state']}", status.get("hint") or "")

    def _ended(self, job: Job) -> Error:
        """What is known of a job that has ended though more was to be appended."""
        status = self._status(job)
        reasons = dict.fromkeys(str(m.get("reason") or m.get("kind")) for m in status.get("missing") or ())
        words = "; ".join(list(reasons)[:3])
        return Error(
            f"the job {job.name[:12]} has ended ({status['state']}) before its program was done{': ' * bool(words)}{words}",
            f"`dtpnode status {job.name[:12]}` says more; another executor begins another job",
        )

    def _fail(self, why: BaseException) -> None:
        """Gives up all calls that are on their way."""
        with self._lock:
            self.broken = self.broken or why
            left = [f for job in self._jobs for f in job.sent.values()]
            for job in self._jobs:
                job.sent.clear()
                job.unanswered.clear()
            self._taken(len(left))
            self._change.notify_all()
        if not self.abandoned and not isinstance(why, (NoDaemon, httpx.TransportError)):
            first = str(why).partition("\n")[0]  # Futures have the rest.
            logger.critical("the session %s is broken: %s", self.name[:12] or self._title, first)
        self._tell_lost(sum(not f.done() for f in left) + self._unsent())
        for f in left:
            refuse(f, broken_by(why))

    def _unsent(self) -> int:
        """How many calls are lost with the session though they were not on their way."""
        return 0

    def _tell_lost(self, n: int) -> None:
        """Says that calls are lost with a daemon which this process has ended: somebody may never ask for their
        results, and think that they have run."""
        if n and not self.abandoned and self._control.ended() is not None:
            logger.warning(
                "%s of %s %s not done: the LocalCluster, or the client that had started the daemon, was closed before",
                f"{n:,} {self.what}{'s' * (n != 1)}", self.name[:12] or self._title, "was" if n == 1 else "were",
            )


def break_off(sockets: set[str]) -> None:
    """Breaks all sessions with daemons that have these sockets."""
    for receiver in list(_living):
        if receiver._control.socket in sockets:
            receiver.break_off()


_living: "weakref.WeakSet[Receiver]" = weakref.WeakSet()
logger = logging.getLogger("concurrent.futures")  # as that of the standard library's executors


def broken_by(why: BaseException) -> BrokenExecutor:
    """What a future says of which nothing more is known."""
    error: BrokenExecutor
    if isinstance(why, (NoDaemon, httpx.TransportError)):
        error = ClusterLost(str(why))
    else:
        error = JobFailed(str(why))
    # All that an Error of the session itself says is in the words: its traceback would show them twice.
    error.__cause__ = why.__cause__ if type(why) is Error else why
    return error


STALLED = "stall=SECONDS, or None for no limit, where the executor or the run is made, allows it more time; "


def item_lost(lost: dict[str, Any], first: int, last: int, job: str, call: str = "") -> ItemLost:
    """Why items from first until before last were given up; job is the name of theirs, and call shows the first one."""
    one = last == first + 1
    what = f"item {first:,}" if one else f"items {first:,} to {last - 1:,}"
    if call:
        what += f", {call}" if one else f", which begin with {call}"
    words = [f"{what}: {lost.get('reason') or 'given up'}"]
    tries, nodes = lost.get("tries"), lost.get("nodes")
    if tries:
        words.append(f"tried {tries} times" + (f", on {', '.join(nodes)}" if nodes else ""))
    words += [str(lost[name]).strip() for name in ("stack", "tail") if lost.get(name)]
    return ItemLost("\n".join(words), f"{STALLED * (lost.get('kind') == 'stall')}{printed(job)}")


def printed(job: str) -> str:
    """Where to look for what the calls of a job have printed."""
    return f"`dtpnode logs {job[:12]}` has the last 256 KiB that the job has printed on each node"


def refuse(future: "Future[Any]", error: BaseException) -> None:
    """Gives a future its exception."""
    with contextlib.suppress(InvalidStateError):  # Its user has settled it, which is to trouble no others.
        future.set_exception(error)


def settle(future: "Future[Any] | None", value: bytes) -> None:
    """Gives a future the value of its item, as a partial holds it (pyexec/partial.go)."""
    if future is None:
        return
    if value[0] != 0:
        future.set_exception(raised(value) if value[0] == 1 else gone())
        return
    if isinstance(future, (LateFuture, Slot)) and has_root(value):
        future.set_later(functools.partial(made, value))
        return
    try:
        result, _ = made(value)
    except BaseException as e:
        future.set_exception(e)
        return
    future.set_result(result)


def has_root(value: bytes) -> bool:
    """Whether a value may have objects of ROOT, by what their pickles begin with (pyexec/child/root.py). ROOT is not
    for several threads at once: they are made in the thread that asks for them, not beside what it does with others."""
    return b"import_module" in value and b"ROOT" in value


def made(value: bytes) -> tuple[Any, BaseException | None]:
    """The result that an item has given."""
    try:
        return _unpickle.loads(memoryview(value)[1:]), None
    except BaseException as e:
        raise unreadable(e) from e


def settle_later(
    future: "Future[Any] | None", value: Value, taken: "Callable[[], object] | None" = None
) -> None:
    """Gives a future the value of its item, which is in a file; taken is called when it was read well, as what could
    not be read is not to be deleted on the nodes."""
    load = functools.partial(read, value)
    if isinstance(future, (LateFuture, Slot)):
        future.set_later(load, taken)
    elif future is not None:
        try:
            result, error = load()
        except BaseException as e:
            future.set_exception(e)
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
        if taken is not None:
            taken()


def read(value: Value) -> tuple[Any, BaseException | None]:
    """The result of an item, or what it has raised. What cannot be read is a RemoteError, and may be read later."""
    try:
        with value.open() as file:
            first = file.read(1)
            if first == b"\0":
                return _unpickle.load(file), None
            return None, raised(first + file.read()) if first == b"\1" else gone()
    except Exception as e:
        error = unreadable(e)
        if isinstance(e, MemoryError):
            error.hint = f"it has {value.size:,} bytes as a pickle"
        error.hint += "; the nodes keep it, and result() reads it again"
        raise error from None


def gone() -> ResultTaken:
    """What there is of a result that was taken."""
    return ResultTaken(
        "the result was taken by the program that has submitted the call, and is not kept any more",
        "of large results that were taken, nodes keep the first 256 MiB of a session: write results to files that are "
        "wanted again, or submit the call once more",
    )


def unreadable(why: BaseException) -> RemoteError:
    """Why there is no result of an item that has one."""
    words = f"could not read the result: {type(why).__name__}: {why}"
    return RemoteError(words, "is what it is made of importable here, in the same version?")


def raised(value: bytes) -> BaseException:
    """The exception that an item has raised, with its traceback as the cause."""
    pickled, words, trace, item = _unpickle.loads(memoryview(value)[1:])
    task = item.startswith("the task ")  # as _graphrun.show has it; a call begins with the name of its function
    return remade(pickled, words, trace, f"in {item}" if task else f"in the call {item}")


def remade(pickled: bytes | str | None, words: str, trace: str, where: str) -> BaseException:
    """An exception that was raised on a node, with its traceback, and where that was, as the cause."""
    error = raisable(unpickled(pickled, words))
    return caused(error, RemoteTraceback(f"{readable(trace).rstrip()}\n{where}\n"))
