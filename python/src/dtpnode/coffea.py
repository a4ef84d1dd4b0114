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
import operator
import os
import sys
import tempfile
import threading
import warnings
from types import FunctionType
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping

import cloudpickle
from coffea.processor.accumulator import accumulate
from coffea.processor.executor import ExecutorBase
from coffea.util import rich_bar

from . import _chunks, _sums
from ._along import Environment, Files, Modules
from ._client import Client
from ._errors import Error, ItemLost
from ._opening import HOUR, begun, check_stall, patiently
from ._pickles import by_value
from ._prints import Output, to_stdout
from ._receiver import remade
from ._reduction import STOPPED, Incomplete, Reduction

if TYPE_CHECKING:
    import pandas

__all__ = ["DtpnodeExecutor"]

cloudpickle.register_pickle_by_value(_chunks)

LOOK = 0.2  # seconds between looks at the progress of a job that a bar shows
SHOWN = 5  # missing chunks that a warning names
LOOKS = "get_metadata"  # what Runner calls the function that looks into files
LARGE = 8 << 20  # bytes of a processor that travels as a file of its own: code may have 64 MiB
PROCESSOR = "dtpnode-processor"  # the name of that file
IMPORTS = ("coffea.processor", "coffea.nanoevents", "coffea.nanoevents.methods.nanoaod", "numpy.ma")  # once a node

Missing = tuple[tuple[str, str, str, int, int], str]
"""A chunk, or a file with -1 for both entries, as _chunks.place has it, and why it is missing."""


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
    entry, last entry) and the reason in words. ``failed`` has in the same way chunks that have raised or were lost, and
    files whose entries could not be counted, and ``stopped`` the chunks that were not processed since the run was
    stopped. All are of the last run, and ``report`` is all of them as a DataFrame. Where ``skipbadfiles`` is True, or
    has OSError, a chunk is skipped, too, whose file is found to be damaged as its events are processed: coffea's other
    executors end the run then.

    Chunks run in the working folder of this process, on nodes that have one of that name, so that relative names of
    files mean the same as here. With ``files`` they run in a folder that has these.

    ``env``, ``modules`` and ``files`` go along, as with ``Executor``, and ``output`` takes what chunks print. ``stall``
    is how many seconds a chunk may take before it is taken for an endless loop, and lost when it was tried three times:
    an hour, and None for any time.

    At Ctrl-C the run stops softly, as with coffea's ``TaskVineExecutor``: ``Runner`` returns what the chunks give that
    are done, and a warning says how many of all these are. With ``use_result_type`` that is an ``Ok``, as there, since
    no exception was raised: ``stopped`` tells it from that of a whole run. ``chunks`` of ``savemetrics`` is how many
    are added then. A second Ctrl-C cancels the run.
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
        stall: float | None = HOUR,
        last: "Last | None" = None,
    ) -> None:
        super().__init__(status, unit, desc, compression, function_name)
        if client is not None and not isinstance(client, Client):
            raise TypeError(f"client must be a dtpnode.Client, or None for that of this user's daemon, not {client!r}")
        if operator.index(retries) < 0:
            raise ValueError(f"retries must be 0 or more, not {retries}: how often a chunk that raises is tried again")
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
        self.stall = check_stall(stall)
        self.last = last if last is not None else Last()  # of copies, too: Runner makes one for files, one for chunks

    def __repr__(self) -> str:
        return f"<dtpnode.coffea.DtpnodeExecutor, {self.client!r}>"

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, client=None, output=None)

    @property
    def skipped(self) -> "list[Missing]":
        """What the last run has skipped."""
        return self.last.skipped

    @property
    def failed(self) -> "list[Missing]":
        """What else is missing in what the last run has given."""
        return self.last.failed

    @property
    def stopped(self) -> "list[Missing]":
        """What the last run has not processed since it was stopped."""
        return self.last.stopped

    @property
    def report(self) -> "pandas.DataFrame":
        """What is missing in the last run's result, a row for each chunk or file: dataset, file, tree, first, last (the
        entry behind the last one; both are -1 for a file), kind (``skipped``, ``failed`` or ``stopped``) and reason."""
        import pandas

        rows = [(*place, "skipped", reason) for place, reason in self.skipped]
        rows += [(*place, "failed", reason) for place, reason in self.failed]
        rows += [(*place, "stopped", reason) for place, reason in self.stopped]
        return pandas.DataFrame(rows, columns=["dataset", "file", "tree", "first", "last", "kind", "reason"])

    def __call__(self, items: Iterable[Any], function: Callable[[Any], Any], accumulator: Any) -> tuple[Any, Any]:
        """Runs function over items, and returns what they accumulate on top of accumulator, with 0, or the exception
        for which something is missing. Runner calls it, for files first and then for chunks."""
        todo = list(items)
        looks = self.function_name == LOOKS
        if looks:
            todo.sort(key=_chunks.place)  # It comes as a set, of which the order says nothing.
        self.last.begins(looks)
        if not todo:
            return accumulator, 0
        with tempfile.TemporaryDirectory(prefix="dtpnode-") as folder:
            future = self._begin(todo, own(function), folder)
            total, problem, crashed, stopped = self._wait(future, todo, looks)
        accumulated, skipped, failed, first, _ = total if isinstance(total, tuple) else total.parts
        self._tell("was skipped", "were skipped", skipped, self.skipped)
        how = "could not be read" if looks else "failed"
        self._tell(how, how, failed + crashed, self.failed)
        if first is not None and (not crashed or first[0] < min(crashed)[0]):
            at, pickled, words, text = first
            problem = remade(pickled, words, text, f"at {_chunks.shown(at)}")
        out = accumulate([accumulated], accumulator)
        if stopped:
            self.stopped.extend(stopped)
            added = len(todo) - len(stopped) - len(skipped) - len(failed) - len(crashed)
            if isinstance(out, dict) and isinstance(out.get("metrics"), dict):
                out["metrics"] = Metrics(out["metrics"], added)
            warnings.warn(
                f"interrupted: what is returned is that of {added:,} of {counted(len(todo), self.unit)}; "
                "the executor's `report` has the others", stacklevel=3,
            )
        return out, problem

    def _begin(self, todo: list[Any], function: Callable[[Any], Any], folder: str) -> Reduction:
        """Begins the job."""
        client = self.client if self.client is not None else _shared()
        name = self.function_name or "chunk"
        files: Any = self.files
        function, processor = apart(function)
        if processor is not None:
            path = os.path.join(folder, PROCESSOR)
            with open(path, "wb") as f:
                f.write(processor)
            files = {**named(files), PROCESSOR: path}
        work = _chunks.chunks(
            function, self.compression, name,
            None if self.files else os.getcwd(),  # Files that go along stand in processes' own folders.
            PROCESSOR if processor is not None else None,
            self.recoverable,
        )
        add = functools.partial(_chunks.add, self.compression)
        add.dtpnode_name = _sums.ACCUMULATORS  # type: ignore[attr-defined]

        def reduce() -> Reduction:
            return client.reduce(
                work, todo, op=add, fail_fast=not self.recoverable,
                name="coffea files" if name == LOOKS else f"coffea {name}", imports=IMPORTS,
                output=self.output, env=self.env, modules=self.modules, files=files, stall=self.stall,
            )

        return patiently(client.control, lambda: begun(reduce, Reduction.cancel))

    def _wait(self, future: Reduction, todo: list[Any], looks: bool) -> tuple[Any, Any, list[Missing], list[Missing]]:
        """The total, 0 or why something is missing in it, what was lost, and what was not done since it was stopped."""
        future.within = lambda: True  # An interrupt does not have the job go on.
        future.tells = False  # A warning names chunks, and not items.
        try:
            self._watch(future, len(todo))
            error = future.exception()
        except KeyboardInterrupt:
            if looks:
                future.cancel()
                raise
            return self._stop(future, todo)
        if error is None:
            return future.result(), 0, [], []
        missing = gone(future)
        error = told(error, missing, todo)
        if not self.recoverable:
            raise error
        try:
            total = future.total
        except Error:
            raise error from None  # No chunk has a value, or there is no total.
        return total, error, each(todo, missing), []

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

    def _stop(self, future: Reduction, todo: list[Any]) -> tuple[Any, Any, list[Missing], list[Missing]]:
        """Ends a run that was interrupted with what is done of it, as _wait has it."""
        sys.stderr.write("interrupted: chunks that are done are added; Ctrl-C again to cancel\n")
        try:
            future.stop()
            total = future.total
        except KeyboardInterrupt:
            future.cancel()
            raise
        except (Error, TypeError):  # It is a TypeError where no item had come to a node.
            error = future.exception()
            if error is not None and not isinstance(error, Incomplete):  # What ran then has raised.
                raise told(error, gone(future), todo) from None
            raise KeyboardInterrupt(f"interrupted before any of {counted(len(todo), self.unit)} was done") from None
        unsent = future.progress[1], len(todo), STOPPED
        undone = [(m["first"], m["last"], m["reason"]) for m in future.missing if m["kind"] == "undone"]
        return total, 0, each(todo, gone(future)), each(todo, [*undone, unsent])

    def _tell(self, was: str, were: str, missing: list[Missing], kept: list[Missing]) -> None:
        if not missing:
            return
        missing = sorted(missing)
        kept.extend(missing)
        lines = [f"  {_chunks.shown(place)}: {why}" for place, why in missing[:SHOWN]]
        if len(missing) > SHOWN:
            lines.append(f"  and {len(missing) - SHOWN:,} more, which the executor's `report` has")
        what = f"{counted(len(missing), self.unit)} {was if len(missing) == 1 else were}"
        warnings.warn("\n".join([f"{what}:", *lines]), stacklevel=4)


class Metrics(dict[str, Any]):
    """What Runner measures, of a run that was stopped. Runner puts in how many chunks there are: here it stays how many
    of these are added."""

    def __init__(self, metrics: dict[str, Any], added: int) -> None:
        super().__init__(metrics)
        self._added = added

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, self._added if name == "chunks" else value)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class Last:
    """What is missing in what the last run has given."""

    def __init__(self) -> None:
        self.skipped: list[Missing] = []
        self.failed: list[Missing] = []
        self.stopped: list[Missing] = []
        self._looked = False  # into files, with which a run begins unless it knows them

    def begins(self, looks: bool) -> None:
        if looks or not self._looked:
            self.skipped.clear()
            self.failed.clear()
            self.stopped.clear()
        self._looked = looks


def each(todo: list[Any], ranges: list[tuple[int, int, str]]) -> list[Missing]:
    """What is in ranges of items, each by itself, with why it is missing."""
    return [
        (_chunks.place(item), " ".join(why.split())) for first, last, why in ranges for item in todo[first:last]
    ]


def counted(n: int, unit: str) -> str:
    """A number of what an executor runs, whose unit is "items" where it is called by itself."""
    return f"{n:,} {unit.removesuffix('s')}{'s' * (n != 1)}"


def gone(future: Reduction) -> list[tuple[int, int, str]]:
    """The ranges of items that have raised or were lost, and why."""
    return [(m["first"], m["last"], m["reason"]) for m in future.missing if m["kind"] != "undone"]


def told(error: BaseException, missing: list[tuple[int, int, str]], todo: list[Any]) -> BaseException:
    """Why items are missing, as users of coffea know it."""
    return lost(error, todo[missing[0][0]]) if isinstance(error, ItemLost) and missing else error


def lost(error: ItemLost, item: Any) -> ItemLost:
    """What is told of an item that was lost, with the chunk's name in place of its number."""
    return ItemLost(f"{_chunks.shown(_chunks.place(item))}: {error.message.partition(': ')[2]}", error.hint)


def named(files: Files) -> dict[str, str | os.PathLike[str]]:
    """Files that go along, by their names."""
    if isinstance(files, Mapping):
        return dict(files)
    paths = [files] if isinstance(files, (str, os.PathLike)) else files
    return {os.path.basename(os.fspath(path)): path for path in paths}


def own(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """coffea's function with its processor pickled again, so that modules of the user's own go along with it: coffea
    refers to these by their names, which the nodes do not know. It is packed also where coffea leaves it as it is: each
    chunk unpacks one of its own."""
    processor = processor_of(function)
    if not isinstance(function, functools.partial) or processor is None:
        return function
    import lz4.frame

    if isinstance(processor, bytes):
        processor = cloudpickle.loads(lz4.frame.decompress(processor))
        if isinstance(processor, FunctionType):
            placed(processor)
    return _chunks.with_processor(function, lz4.frame.compress(by_value(processor), compression_level=1))


def placed(fn: FunctionType) -> None:
    """Gives a function of the user's own, and those that it calls, the names of their files, which coffea's pickle of
    them lacks: tracebacks show their lines then."""
    for f in fn, *fn.__globals__.values():
        if isinstance(f, FunctionType):
            was = getattr(sys.modules.get(f.__module__), f.__name__, None)
            if isinstance(was, FunctionType) and was.__code__ == f.__code__:
                f.__code__ = was.__code__


def processor_of(function: Any) -> Any:
    """The processor in coffea's function, which is bytes where that has packed it, None without one."""
    if not isinstance(function, functools.partial):
        return None
    found = function.keywords.get(_chunks.PROCESSOR)
    if found is not None:
        return found
    return next((p for p in map(processor_of, function.args) if p is not None), None)


def apart(function: Any) -> tuple[Any, bytes | None]:
    """The function, and the processor by itself if that is large, which the function lacks then."""
    packed = processor_of(function)
    if not isinstance(packed, bytes) or len(packed) <= LARGE:
        return function, None
    return _chunks.with_processor(function, _chunks.APART), packed


_lock = threading.Lock()
_own: Client | None = None


def _shared() -> Client:
    """The client of executors that name none."""
    global _own
    with _lock:
        _own = _own or Client()
        return _own
