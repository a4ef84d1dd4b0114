"""coffea on the pool: an executor for ``coffea.processor.Runner``, and nothing else of an analysis changes.

    >>> from coffea import processor                                            # doctest: +SKIP
    >>> from coffea.nanoevents import NanoAODSchema                             # doctest: +SKIP
    >>> import dtpnode, dtpnode.coffea                                          # doctest: +SKIP
    >>> executor = dtpnode.coffea.DtpnodeExecutor(dtpnode.Client())             # doctest: +SKIP
    >>> run = processor.Runner(executor=executor, schema=NanoAODSchema)         # doctest: +SKIP
    >>> out = run({"ZJets": ["nano_dy.root"]}, MyProcessor(), treename="Events")  # doctest: +SKIP

Files are looked into and chunks are processed on the nodes, which need coffea, and see the files by the same names. The
processor travels once, with the modules of your own that it is made of. What chunks accumulate is added in the
processes that make it, on their nodes, and between nodes up a tree: this process gets the one total. A node that dies
costs the time of what it had under way, and no chunk is in the total twice.
"""

import functools
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Callable, Iterable

import cloudpickle
from coffea.processor.accumulator import accumulate
from coffea.processor.executor import ExecutorBase
from coffea.util import rich_bar

from . import _chunks
from ._along import Environment, Files, Modules
from ._client import Client
from ._errors import Error
from ._pickles import by_value
from ._prints import Output, to_stdout
from ._reduction import Reduction

if TYPE_CHECKING:
    import pandas

__all__ = ["DtpnodeExecutor"]

cloudpickle.register_pickle_by_value(_chunks)

LOOK = 0.2  # seconds between looks at the progress of a job that a bar shows
SHOWN = 5  # skipped chunks that the warning names


class DtpnodeExecutor(ExecutorBase):  # type: ignore[misc]
    """Runs coffea's chunks on the pool.

    ``client`` is where it runs; by default that of ``Client()``, which starts a daemon if this user has none.

    ``status``, ``unit``, ``desc``, ``function_name`` and ``compression`` (the LZ4 level of sums that travel between
    processes and nodes; None for none) are those of all executors of coffea. ``retries`` is how often a chunk that
    raises is tried again in its process. ``recoverable`` has coffea keep what other chunks have accumulated when some
    raise, or are lost since they end their process: all others are run, and ``Runner`` raises the first exception with
    the rest as its ``partial_output``. ``treereduction``, ``merging`` and ``workers`` are accepted for the sake of
    scripts that have them: sums are always made where the values are, and all slots of the pool are used.

    ``skipped`` has what ``Runner(skipbadfiles=...)`` has skipped, each a tuple of (dataset, filename, treename, first
    entry, last entry) and the reason in words; it is that of the last run. ``report`` is the same as a DataFrame.

    ``env``, ``modules`` and ``files`` go along, as with ``Executor``, and ``output`` takes what chunks print.

    At Ctrl-C the run stops softly: chunks that are done are in what ``Runner`` returns, and a warning says how many of
    all these are. A second Ctrl-C cancels it.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        status: bool = True,
        unit: str = "items",
        desc: str = "Processing",
        compression: int | None = 1,
        function_name: str | None = None,
        retries: int = 3,
        recoverable: bool = False,
        treereduction: int = 20,
        merging: Any = False,
        workers: int | None = None,
        env: Environment | None = None,
        modules: Modules = (),
        files: Files = (),
        output: Output | None = to_stdout,
        skipped: list[Any] | None = None,
    ) -> None:
        super().__init__(status, unit, desc, compression, function_name)
        self.client = client
        self.retries = retries
        self.recoverable = recoverable
        self.treereduction = treereduction
        self.merging = merging
        self.workers = workers
        self.env = env
        self.modules = modules
        self.files = files
        self.output = output
        self.skipped: list[tuple[tuple[str, str, str, int, int], str]] = skipped if skipped is not None else []

    def __repr__(self) -> str:
        return f"<dtpnode.coffea.DtpnodeExecutor, {self.client!r}>"

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, client=None, output=None)

    @property
    def report(self) -> "pandas.DataFrame":
        """What the last run has skipped, a row for each chunk: dataset, file, tree, first, last, reason."""
        import pandas

        rows = [(*place, reason) for place, reason in self.skipped]
        return pandas.DataFrame(rows, columns=["dataset", "file", "tree", "first", "last", "reason"])

    def __call__(self, items: Iterable[Any], function: Callable[[Any], Any], accumulator: Any) -> tuple[Any, Any]:
        """Runs function over items, and returns what they accumulate on top of accumulator, with 0, or the exception for
        which something is missing. Runner calls it, for files first and then for chunks."""
        todo = list(items)
        looks = self.function_name == "get_metadata"
        if looks:
            self.skipped.clear()  # A run begins with it.
            todo.sort(key=_chunks.place)  # It comes as a set, of which the order says nothing.
        if not todo:
            return accumulator, 0
        client = self.client if self.client is not None else _shared()
        what = "files" if looks else self.function_name or "chunks"
        future = client.reduce(
            _chunks.chunks(own(function), self.compression, self.function_name or "chunk"), todo,
            op=functools.partial(_chunks.add, self.compression), name=f"coffea {what}",
            output=self.output, env=self.env, modules=self.modules, files=self.files,
        )
        total, problem = self._wait(future, len(todo), looks)
        accumulated, skipped = total if isinstance(total, tuple) else (total.accumulated, total.skipped)
        self._tell(skipped, self.unit)
        return accumulate([accumulated], accumulator), problem

    def _wait(self, future: Reduction, n: int, looks: bool) -> tuple[Any, Any]:
        """The total, and 0 or what is wrong with it."""
        try:
            self._watch(future, n)
            error = future.exception()
        except KeyboardInterrupt:
            future.within = lambda: True
            if looks:
                future.cancel()
                raise
            return self._stop(future, n), 0
        if error is None:
            return future.result(), 0
        if self.recoverable:
            try:
                return future.total, error
            except Error:
                pass  # No chunk has a value.
        raise error

    def _watch(self, future: Reduction, n: int) -> None:
        """Draws the bar until the total is there."""
        if not self.status:
            future.exception()
            return
        over = threading.Event()
        future.add_done_callback(lambda _: over.set())
        with rich_bar() as progress:
            task = progress.add_task(self.desc, total=n, unit=self.unit)
            while not over.wait(LOOK):
                progress.update(task, completed=future.progress[0], refresh=True)
            if not future.cancelled() and future.exception() is None:
                progress.update(task, completed=n, refresh=True)

    def _stop(self, future: Reduction, n: int) -> Any:
        """Ends a run that was interrupted with what is done of it."""
        sys.stderr.write("interrupted: chunks that are done are added; Ctrl-C again to cancel\n")
        try:
            future.stop()
            total = future.total
        except KeyboardInterrupt:
            future.cancel()
            raise
        except Error as e:
            raise KeyboardInterrupt(f"interrupted before any {self.unit} was done: {e}") from None
        warnings.warn(
            f"interrupted: what is returned is that of {future.counted:,} of {n:,} {self.unit}s", stacklevel=5
        )
        return total

    def _tell(self, skipped: list[Any], unit: str) -> None:
        if not skipped:
            return
        self.skipped.extend(sorted(skipped))
        lines = [f"  {place[1]} {_entries(place)}: {why}" for place, why in sorted(skipped)[:SHOWN]]
        if len(skipped) > SHOWN:
            lines.append(f"  and {len(skipped) - SHOWN:,} more, which the executor's `skipped` has")
        s = "s were" if len(skipped) > 1 else " was"
        warnings.warn("\n".join([f"{len(skipped):,} {unit}{s} skipped:", *lines]), stacklevel=4)


def _entries(place: tuple[str, str, str, int, int]) -> str:
    return f"{place[2]} entries {place[3]} to {place[4] - 1}" if place[3] >= 0 else place[2]


def own(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """coffea's function with its processor pickled again, so that modules of the user's own go along with it: coffea
    refers to these by their names, which the nodes do not know."""
    if not isinstance(function, functools.partial):
        return function
    args = tuple(own(a) if isinstance(a, functools.partial) else a for a in function.args)
    keywords = dict(function.keywords)
    packed = keywords.get("processor_instance")
    if isinstance(packed, bytes):
        import lz4.frame

        processor = cloudpickle.loads(lz4.frame.decompress(packed))
        keywords["processor_instance"] = lz4.frame.compress(by_value(processor), compression_level=1)
    return functools.partial(function.func, *args, **keywords)


_lock = threading.Lock()
_own: Client | None = None


def _shared() -> Client:
    """The client of executors that name none."""
    global _own
    with _lock:
        _own = _own or Client()
        return _own
