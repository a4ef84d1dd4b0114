"""joblib on the pool: scikit-learn, and whatever else uses ``joblib.Parallel``, runs on all of your hosts.

    >>> import dtpnode.joblib, joblib
    >>> with joblib.parallel_config(backend="dtpnode"):
    ...     joblib.Parallel()(joblib.delayed(abs)(i) for i in range(-3, 0))
    [3, 2, 1]

Importing this module registers the backend. The nodes need joblib, and what the functions import. ``n_jobs`` bounds how
many batches of calls are on their way at a time; by default, and with -1, these are as many as the pool has slots.
``parallel_config(backend="dtpnode", client=client)`` names a client; without it the first use makes a ``Client()``,
which starts a daemon if this user has none. ``env``, ``modules`` and ``files`` are those of an Executor: what the nodes
lack goes along, and is looked at for each call of ``Parallel``, so that what was edited meanwhile counts. ``stall`` is
how many seconds a batch of calls may take, as an Executor has it; by default there is no limit. What is nested in a
call runs in threads of its process.
"""

import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Callable

from joblib import register_parallel_backend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase

from ._along import Environment, Files, Modules, take_along
from ._calls import run
from ._client import Client
from ._executor import Executor
from ._opening import check_stall

__all__ = ["Backend"]

OPTIONS = ("client", "env", "modules", "files", "stall")
JOBLIBS = {"nesting_level", "inner_max_num_threads"}  # which joblib itself gives its backends


class Backend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """The backend "dtpnode" of ``joblib.Parallel``. ``client`` is where it runs; by default that of ``Client()``.
    ``env``, ``modules`` and ``files`` go along, as with an Executor, and ``stall`` is how many seconds a batch of calls
    may take, None for any number."""

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False
    default_n_jobs = -1

    def __init__(
        self,
        client: Client | None = None,
        env: Environment | None = None,
        modules: Modules = (),
        files: Files = (),
        stall: float | None = None,
        **options: Any,
    ) -> None:
        if unknown := sorted(options.keys() - JOBLIBS):
            raise TypeError(f'the backend "dtpnode" has no option {", ".join(unknown)}; it has {", ".join(OPTIONS)}')
        if client is not None and not isinstance(client, Client):
            raise TypeError(f"client must be a dtpnode.Client, and not {type(client).__name__}: {client!r}")
        super().__init__(**options)
        self._client = client
        # Those of an iterator, such as Path.glob, are looked at for each call of Parallel.
        more = {"modules": modules, "files": files}
        self._stall = check_stall(stall)
        self._sent = {"env": env, **{k: list(v) if isinstance(v, Iterator) else v for k, v in more.items()}}
        self._futures: "weakref.WeakSet[Future[Any]]" = weakref.WeakSet()

    def __reduce__(self) -> tuple[type["Backend"], tuple[()]]:
        return Backend, ()  # as part of what goes to the nodes, where it has no client

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many batches of calls may be on their way: all slots of the pool where n_jobs is None or negative, of
        which -2 leaves out one, and so on."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        slots = _shared.client(self._client).slots
        return max(slots + 1 + (-1 if n_jobs is None else n_jobs), 1)

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **options: Any) -> int:
        """Prepares for a call of Parallel, and returns effective_n_jobs. Of joblib's options none has a meaning
        here."""
        if misplaced := [name for name in OPTIONS if name in options]:
            raise TypeError(
                f"{', '.join(misplaced)}: Parallel has no such options; "
                'joblib.parallel_config(backend="dtpnode", ...) takes them'
            )
        self.parallel = parallel
        n = self.effective_n_jobs(n_jobs)
        workers = n if n_jobs is not None and n_jobs > 0 else None
        self._executor = _shared.executor(self._client, workers, self._sent, self._stall)
        return n

    def submit(self, func: Callable[[], Any], callback: "Callable[[Future[Any]], None] | None" = None) -> "Future[Any]":
        """Sends a batch of calls."""
        future = self._executor.submit(run, func)
        self._futures.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future: "Future[Any]") -> Any:
        """The results of a batch that is done."""
        return future.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancels what is not on its way yet."""
        for future in list(self._futures):
            future.cancel()

    def terminate(self) -> None:
        """Forgets how long batches took. The processes on the nodes stay for the next call of Parallel."""
        self.reset_batch_stats()


# Of an executor: how many calls are on their way at a time, how long one may take, and what goes along by name.
Key = tuple[int | None, float | None, str]


class _Shared:
    """Executors that calls of Parallel share, so that each does not begin with new processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: Client | None = None
        # With the fingerprints of what has gone along with each.
        self._executors: "weakref.WeakKeyDictionary[Client, dict[Key, tuple[str, Executor]]]"
        self._executors = weakref.WeakKeyDictionary()

    def client(self, given: Client | None) -> Client:
        with self._lock:
            if given is None:
                given = self._own = self._own or Client()
            return given

    def executor(
        self, given: Client | None, workers: int | None, sent: dict[str, Any], stall: float | None = None
    ) -> Executor:
        client = self.client(given)
        with self._lock:
            of = self._executors.setdefault(client, {})
            key, now = (workers, stall, repr(sent)), take_along(**sent).fingerprint()
            was, executor = of.get(key, ("", None))
            if executor is None or executor._broken or was != now:
                # One that is replaced ends with the last call of Parallel that uses it, which may be another thread's.
                executor = client.executor(workers, name="joblib", imports=_imports(), stall=stall, **sent)
                of[key] = now, executor
            return executor


def _imports() -> list[str]:
    """What calls of joblib mostly need, as far as this process has it, which takes seconds to import."""
    return [name for name in ("joblib", "numpy", "scipy", "sklearn") if name in sys.modules]


_shared = _Shared()

register_parallel_backend("dtpnode", Backend)
