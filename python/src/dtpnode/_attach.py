"""The futures of a session, for another process than the one that has submitted its calls."""

import contextlib
import threading
from concurrent.futures import Future
from typing import Any, Iterator

from ._control import Control
from ._errors import Error
from ._held import LateFuture
from ._receiver import Job, Receiver
from ._session import PARTIAL, REDUCE, parts_of


EVERY = 1.0  # seconds between looks at how many calls a session has
LOOKS = 10  # at a session of which more and more is sent, before its last calls are found out when they have run


class _Call(LateFuture):
    """The future of a call that another process has submitted."""

    def cancel(self) -> bool:
        return self.cancelled()  # It is not this process's to cancel.

    def never(self) -> None:
        """Tells that there is no such call."""
        self.cancel_here()
        self.set_running_or_notify_cancel()


class Attached(Receiver):
    """What an executor has sent, as futures, from any process of its user and on any node of the pool.

        >>> session = client.attach("3fa9c2e1")
        >>> len(session)
        20000
        >>> [f.result() for f in session][:3]
        [0, 1, 4]

    Calls are numbered from 0, in the order in which the executor has sent them, which is that of submission without
    those that were cancelled before. ``session[n]`` is the future of a call; ``len`` counts those that are known, and
    grows while the executor submits more, about a second later; a loop over the session is over those that are known
    as it begins. An executor sends as many calls as the pool runs within half a second, so
    that those which wait can be cancelled. Its daemon keeps these, once they have waited for a moment: they are
    counted, too, and ``running()`` of their futures is false. Where one of them is cancelled before it is sent there is
    a future too many, which is cancelled when the session ends, and not counted any more.

    Where the session's process is killed its daemon sends what it keeps, at once if it can tell that the process has
    ended, and else a minute later. Calls of the last moment before, less than a second, may be missing; so may some
    where more than 256 MiB of calls have waited, or the daemon's disk was full, of which a warning is logged by
    ``concurrent.futures``.

    The futures cannot be cancelled, and are settled as those of the executor are, on any node within about a second.
    Some results come only when their node hands them in, up to half a minute later while the session is busy: on other
    nodes than that of the session's process large ones, of more than 1 MiB together, and of calls that had ended when
    the session was attached those beyond the last 4 MiB. Results are there for as long as
    nodes keep them (``dtpnode up --keep-results``), but for large ones that the executor's program has taken: of those
    from 1 MiB on the first 256 MiB of a session are kept, and the others may be a ``ResultTaken``. Objects of classes
    of the session's script, or of modules of its user's own, are of those of the same names here, where this process
    has imported these modules, or has such classes in its own script; else they come with their classes.

    ``name`` is that of the session's first job, as ``Executor.name`` and ``dtpnode ps`` tell it. Where the
    session's process was killed its daemon closes the job a minute after that, and after all calls that it keeps are
    sent; ``finish`` does so at once.
    """

    def __init__(self, control: Control, name: str) -> None:
        parts = parts_of(control, name)
        first = parts[0][1]
        if first.get("kind") != "Python":
            raise Error(f"the job {name} is no session of calls in Python: it runs {first.get('kind')}")
        if first["title"].endswith((REDUCE, PARTIAL)):
            raise Error(f"the job {name} is a reduction, which has a total and no futures", "client.reduction has it")
        super().__init__(control, first["title"])
        self.name = first["id"]
        self._futures: list[_Call] = []
        self._names: set[str] = set()  # of the jobs that are known
        self._counted: set[str] = set()  # of those whose last call is known
        self._leaves = threading.Event()
        self._learn(parts)
        self._looker = threading.Thread(target=self._look, name="dtpnode-attached", daemon=True)
        self._looker.start()

    def _look(self) -> None:
        """Learns of more calls, until there can be none: what is received is results alone."""
        while not self._leaves.wait(EVERY) and self.broken is None:
            with self._lock:
                if not self._jobs:
                    return
                job = max(self._jobs, key=lambda job: job.before)
            with contextlib.suppress(Error):  # A daemon that is away is asked again.
                units, waiting = self._counts(job, job.units)
                with self._lock:
                    if job.name in self._counted:
                        continue
                    self._know(job, units)
                    self._expect(job, units + waiting - job.units)
                if not self._status(job).get("open"):  # The session may have gone on with another job.
                    self._learn(parts_of(self._control, self.name))

    def _learn(self, parts: list[tuple[int, dict[str, Any]]]) -> None:
        """Follows those of a session's jobs that were not known before."""
        for before, status in parts:
            with self._lock:
                if status["id"] in self._names:
                    continue
                self._names.add(status["id"])
            job = Job(status["id"], before, closing=True)
            units, waiting = int(status["units"]), 0
            if status is parts[-1][1]:
                units, waiting = self._counts(job, units)
            with self._lock:
                self._know(job, units)
                self._expect(job, waiting)
            self._follow(job)

    def _counts(self, job: Job, units: int) -> tuple[int, int]:
        """How many calls a job has, which were so many a moment ago, and how many the daemon of its program keeps that
        are not in it yet, as far as it can be asked. Of calls that come into it between the two questions neither may
        count, so that both are asked again then."""
        waiting = 0
        for _ in range(LOOKS):
            before = units
            try:
                waiting = int(self._control.call("GET", f"/v1/jobs/{job.name}/backlog")["waiting"])
                units = int(self._status(job)["units"])
            except Error:
                break
            if units == before:
                break
        return units, waiting

    def _know(self, job: Job, units: int) -> None:
        """Makes futures of a job's units, up to a number of them, as running. The caller holds _lock."""
        self._expect(job, units - job.units)
        for unit in range(job.units, units):
            future = self._futures[job.before + unit]
            if not future.done():
                future.set_running_or_notify_cancel()
        job.units = max(job.units, units)

    def _expect(self, job: Job, n: int) -> None:
        """Makes futures of the n calls that come into a job next. The caller holds _lock."""
        for unit in range(job.units, job.units + n):
            while len(self._futures) <= job.before + unit:
                self._futures.append(_Call())
            job.sent[unit] = self._futures[job.before + unit]

    def _over(self, job: Job) -> None:
        """Takes back what waited and never came. It may have gone on to another job."""
        units = int(self._status(job)["units"])
        parts = parts_of(self._control, self.name)
        with self._lock:
            self._counted.add(job.name)
            never = [job.sent.pop(unit) for unit in sorted(job.sent) if unit >= units]
        super()._over(job)
        self._learn(parts)
        last = max(parts, key=lambda part: part[0])
        if last[1]["id"] != job.name:
            return
        with self._lock:
            del self._futures[job.before + units :]
        for future in never:
            assert isinstance(future, _Call)
            future.never()

    def _take(self, job: Job, first: int, n: int) -> list["Future[Any] | None"]:
        with self._lock:
            self._know(job, first + n)
        return super()._take(job, first, n)

    def _left(self, job: Job) -> bool:
        return self.closed

    def finish(self) -> None:
        """Lets the session end when what was submitted has run: for one whose process is gone. Where it is not, its
        executor breaks as it submits the next call, or as the session has ended: ``submit``, or the futures that have
        no result there yet, raise ``JobFailed``. What was submitted before runs all the same, and has its results
        here."""
        for job in list(self._jobs):
            with contextlib.suppress(Error):  # It may have ended.
                self._control.call("POST", f"/v1/jobs/{job.name}/append", {"close": True})

    def cancel(self) -> None:
        """Cancels the session's jobs: calls that run are stopped, and those without a result get none."""
        for job in list(self._jobs):
            self._control.call("POST", f"/v1/jobs/{job.name}/cancel", {})

    def _tell_lost(self, n: int) -> None:
        """The session tells it, where its calls are lost with a daemon of this process."""

    def close(self) -> None:
        """Follows the session no longer. It goes on; futures that are not settled never will be."""
        self.closed = True
        self._leaves.set()
        for job in list(self._jobs):
            with self._lock:
                exchange = job.exchange
            if exchange is not None:
                exchange.close()

    def __len__(self) -> int:
        with self._lock:
            return len(self._futures)

    def __getitem__(self, number: int) -> "Future[Any]":
        with self._lock:
            return self._futures[number]

    def __iter__(self) -> "Iterator[Future[Any]]":
        with self._lock:
            return iter(list(self._futures))

    def __enter__(self) -> "Attached":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        with self._lock:
            done = sum(f.done() for f in self._futures)
            wait = sum(not f.done() and not f.running() for f in self._futures)
            waiting = f", {wait} wait to be sent" if wait else ""
            return (
                f"<dtpnode.Attached to {self.name}: {done} of the {len(self._futures)} calls that are known here "
                f"are settled{waiting}>"
            )
