"""A concurrent.futures.Executor over the pool."""

import threading
import time
import weakref
from concurrent.futures import Executor as _Executor
from concurrent.futures import Future
from typing import Any, Callable, Iterable, Iterator

from ._control import Control
from ._pickles import dumps
from ._session import Call, Session

import cloudpickle


class Executor(_Executor):
    """Runs calls on the nodes of the pool; see ``concurrent.futures.Executor`` for the methods.

    control is of the daemon that takes the calls. max_workers bounds how many calls run at a time; by default all
    slots of the pool take part. initializer is called with initargs in each process on the nodes, before the first
    call that it runs. A call counts once, whatever dies, and the futures outlive the daemon that is talked to.
    """

    def __init__(
        self,
        control: Control,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        name: str = "executor",
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._session = Session(control, initializer, initargs, name, max_workers)
        _living.add(self._session)
        self._drop = weakref.finalize(self, self._session.close)
        self._drop.atexit = False  # _at_exit waits for what was submitted

    @property
    def job(self) -> str:
        """The name of the job that takes the calls now."""
        return self._session.name

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Schedules fn(*args, **kwargs) and returns its future."""
        future: Future[Any] = Future()
        self._session.submit([Call(future, cloudpickle.dumps(fn, 5), dumps((args, kwargs)))])
        return future

    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """As ``concurrent.futures.Executor.map``: results in order, those that are not taken are cancelled. Calls
        travel together in any case, so that chunksize makes no difference."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        end = None if timeout is None else time.monotonic() + timeout
        function = cloudpickle.dumps(fn, 5)
        calls = [Call(Future(), function, dumps((args, {}))) for args in zip(*iterables)]
        self._session.submit(calls)
        return _results([c.future for c in calls], end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As ``concurrent.futures.Executor.shutdown``."""
        self._session.close(cancel_futures)
        if wait:
            self._session.join()


def _results(futures: "list[Future[Any]]", end: float | None) -> Iterator[Any]:
    futures.reverse()
    try:
        while futures:
            f = futures[-1]
            value = f.result() if end is None else f.result(end - time.monotonic())
            futures.pop()
            del f
            yield value
            del value
    finally:
        for f in futures:
            f.cancel()


_living: "weakref.WeakSet[Session]" = weakref.WeakSet()


def _at_exit() -> None:
    """Waits for what was submitted, as the executors of the standard library do when the interpreter ends."""
    living = list(_living)
    for session in living:
        session.close()
    for session in living:
        session.join()


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
