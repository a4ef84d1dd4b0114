"""The futures of a session, for another process than the one that has submitted its calls."""

import contextlib
from concurrent.futures import Future
from typing import Any, Iterator

from ._control import Control
from ._errors import Error
from ._held import LateFuture
from ._receiver import Job, Receiver
from ._session import REDUCE, parts_of


class Attached(Receiver):
    """What an executor has sent, as futures, from any process of its user and on any node of the pool.

        >>> session = client.attach("3fa9c2e1")
        >>> len(session)
        20000
        >>> [f.result() for f in session][:3]
        [0, 1, 4]

    Calls are numbered from 0, in the order in which the executor has sent them, which is that of submission without
    those that were cancelled before. ``session[n]`` is the future of a call; ``len`` counts those that are known, and
    grows while the executor submits more. An executor sends as many calls as the pool runs within half a second, so
    that those which wait can be cancelled: these are not there yet, and are lost where its process is killed.

    The futures cannot be cancelled, and are settled as those of the executor are. Results are there for as long as
    nodes keep them (``dtpnode up --keep-results``), but for large ones that the executor's program has taken: of those
    from 1 MiB on the first 256 MiB of a session are kept, and the others may be a ``ResultTaken``.

    ``name`` is that of the session's first job, as ``Executor.name`` and ``dtpnode ps`` tell it. Where the
    session's process was killed its daemon closes the job a minute later; ``finish`` does so at once.
    """

    def __init__(self, control: Control, name: str) -> None:
        parts = parts_of(control, name)
        first = parts[0][1]
        if first.get("kind") != "Python":
            raise Error(f"the job {name} is no session of calls in Python: it runs {first.get('kind')}")
        if first["title"].endswith(REDUCE):
            raise Error(f"the job {name} is a reduction, which has a total and no futures", "client.reduction has it")
        super().__init__(control, first["title"])
        self.name = first["id"]
        self._futures: list[Future[Any]] = []
        for before, status in parts:
            job = Job(status["id"], before, closing=True)
            with self._lock:
                self._know(job, int(status["units"]))
            self._follow(job)

    def _know(self, job: Job, units: int) -> None:
        """Makes futures of a job's units, up to a number of them. The caller holds _lock."""
        for unit in range(job.units, units):
            future: Future[Any] = LateFuture()
            future.set_running_or_notify_cancel()
            at = job.before + unit
            while len(self._futures) <= at:
                self._futures.append(future)
            self._futures[at] = future
            job.sent[unit] = future
        job.units = max(job.units, units)

    def _take(self, job: Job, first: int, n: int) -> list["Future[Any] | None"]:
        with self._lock:
            self._know(job, first + n)
        return super()._take(job, first, n)

    def _left(self, job: Job) -> bool:
        return self.closed

    def finish(self) -> None:
        """Lets the session end when what was submitted has run: for one whose process is gone. Where it is not, its
        executor can submit no more."""
        for job in list(self._jobs):
            with contextlib.suppress(Error):  # It may have ended.
                self._control.call("POST", f"/v1/jobs/{job.name}/append", {"close": True})

    def cancel(self) -> None:
        """Cancels the session's jobs: calls that run are stopped, and those without a result get none."""
        for job in list(self._jobs):
            self._control.call("POST", f"/v1/jobs/{job.name}/cancel", {})

    def close(self) -> None:
        """Follows the session no longer. It goes on; futures that are not settled never will be."""
        self.closed = True
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
            return f"<dtpnode.Attached to {self.name}: {done} of {len(self._futures)} calls are settled>"
