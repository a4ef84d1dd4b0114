"""The backend of ROOT's distributed RDataFrame. Importing it imports ROOT."""

import contextlib
import dataclasses
import functools
import importlib
import itertools
import math
import operator
import os
import pickle
import re
import sys
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable

import ROOT
from ROOT._distrdf import DataFrame, HeadNode, Operation, Ranges
from ROOT._distrdf.Backends import Base
from ROOT._pythonization._rdataframe import AsNumpyResult

from . import _pickles, _rdfbooked
from ._affinity import Near
from ._along import take_along
from ._client import Client
from ._errors import Error, ItemLost, NodeWarning
from ._executor import Executor
from ._held import LateFuture
from ._opening import HOUR, check_stall, patiently
from ._progress import Bar
from ._rdfsnapshot import Snapshots, writes_rntuple, writes_variations
from ._session import Call

if TYPE_CHECKING:
    from . import _dtpnode_rdf as task
else:
    # By the name that it has on the nodes, so that pickles refer to it by that.
    _spec = importlib.util.spec_from_file_location("_dtpnode_rdf", Path(__file__).with_name("_dtpnode_rdf.py"))
    task = importlib.util.module_from_spec(_spec)
    sys.modules[_spec.name] = task
    _spec.loader.exec_module(task)

task.know_empty()

SLICES = 8  # ranges for each slot
SMALL = 10_000  # entries without a source, for fewer of which there are no more ranges than slots
LOOKED = 8  # files that are asked for the number of their clusters
TRIES = 10  # nodes that may lack what a range needs
FAR = 1e6  # seconds: what it costs to have a range run on a node that lacks what it needs
IMPORTS = ["_dtpnode_rdf"]
MOMENT = 0.5  # seconds between looks at how far a reduction has come
LARGE = 512 << 20  # bytes of histograms of all ranges, from which on the nodes add them
UNLOADED = "load: exit"  # how an error begins that says that the process which forks others has ended as it began
IDLE = 600.0  # seconds after which the processes of a session end that runs nothing

ROOT.EnableThreadSafety()  # ROOT's RunGraphs runs each graph in a thread of its own, which merges what comes.


# --- sessions


@dataclasses.dataclass(frozen=True)
class Options:
    """What goes along, and how results are shown and written."""

    env: Any = None
    modules: tuple[Any, ...] = ()
    one_file: bool = False
    progress: bool | None = None
    stall: float | None = HOUR  # seconds that a range may take, None for any

    def __post_init__(self) -> None:
        check_stall(self.stall)
        if not isinstance(self.one_file, bool):
            raise TypeError(f"one_file is {self.one_file!r}, and must be True or False: Snapshots name their files")


First = Callable[[frozenset[str]], bytes | None]  # gives the graph that a session begins with; modules travel as files


@contextlib.contextmanager
def modules_of(options: Options, first: First) -> Iterator[list[Any]]:
    """The modules that go to the nodes."""
    modules = [Path(str(task.__file__)), *options.modules]
    graph = first(take_along(modules=modules).modules)
    with tempfile.TemporaryDirectory() as folder:
        if graph is not None:
            path = Path(folder, f"{task.FIRST}.py")
            path.write_text(f"GRAPH = {graph!r}\n")
            modules.append(path)
        yield modules


class Pool:
    """An executor whose processes run the ranges of graph after graph."""

    def __init__(self, client: Client, options: Options, files: dict[str, str], first: First) -> None:
        graphs: list[bytes] = []

        def given(but: frozenset[str]) -> bytes | None:
            graph = first(but)
            graphs.extend([graph] if graph is not None else [])
            return graph

        def begin(graph: First) -> Executor:
            with modules_of(options, graph) as modules:
                return patiently(client.control, lambda: client.executor(
                    name="RDataFrame", imports=IMPORTS, env=options.env, modules=modules, files=files,
                    stall=options.stall,
                ))

        try:
            self.executor = begin(given)
        except Error as e:
            if not (graphs and e.message.startswith(UNLOADED)):
                raise
            # To compile the graph has ended the process that forks all others: those that run ranges compile it then,
            # so that a range which ends its process is named.
            self.executor = begin(lambda _: None)
        self.living: set[int] = set()  # executions that have not ended
        self.told: set[str] = set()  # what its user was warned of
        self._timer: threading.Timer | None = None

    def usable(self) -> bool:
        return not self.executor._broken

    def begin(self, number: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.living.add(number)

    def end(self, number: int, close: Callable[[], None]) -> None:
        self.living.discard(number)
        if not self.living:
            self._timer = threading.Timer(IDLE, close)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.executor.shutdown(wait=False, cancel_futures=True)

    def abandon(self) -> None:
        """Stops what runs."""
        self.close()
        self.executor._session.abandon()

    def tell(self, words: str) -> None:
        if words not in self.told:
            self.told.add(words)
            warnings.warn(words, NodeWarning, stacklevel=2)


class Pools:
    """The sessions of a client. A session is for the same limit, environment, modules and files, by what these hold: a
    module that was edited since is another one, and so is a lock file."""

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)
        self._lock = threading.Lock()
        self._pools: dict[str, Pool] = {}  # by the fingerprints of what went along
        self._numbers = itertools.count(1)

    @contextlib.contextmanager
    def execution(self, options: Options, files: dict[str, str], first: First) -> Iterator[tuple[Pool, int]]:
        """A session for an execution, and the number of that."""
        with self._lock:
            pool = self._pool(options, files, first)
            number = next(self._numbers)
            pool.begin(number)
        try:
            yield pool, number
        except KeyboardInterrupt:
            with self._lock:
                if pool.living == {number}:  # No other thread has a graph that runs there.
                    self._pools = {k: p for k, p in self._pools.items() if p is not pool}
                    pool.abandon()
            raise
        finally:
            with self._lock:
                pool.end(number, lambda: self._drop(pool))

    def _pool(self, options: Options, files: dict[str, str], first: First) -> Pool:
        client = self._client()
        if client is None or client.closed:
            raise Error("the client of this RDataFrame was closed", "make another client, and the dataframe with that")
        key = f"{options.stall} {take_along(options.env, options.modules, files).fingerprint()}"
        pool = self._pools.get(key)
        if pool is not None and pool.usable():
            return pool
        for k, other in list(self._pools.items()):
            if not other.living:  # Processes that have ROOT take memory, of which nodes need not have two lots.
                other.close()
                del self._pools[k]
        pool = self._pools[key] = Pool(client, options, files, first)
        return pool

    def _drop(self, pool: Pool) -> None:
        with self._lock:
            if not pool.living:
                self._pools = {k: p for k, p in self._pools.items() if p is not pool}
                pool.close()

    def close(self) -> None:
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()


_pools: "weakref.WeakKeyDictionary[Client, Pools]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def pools(client: Client) -> Pools:
    """The sessions of a client, which end with it."""
    with _lock:
        found = _pools.get(client)
        if found is None:
            found = _pools[client] = Pools(client)
            client.on_close(found.close)
        return found


# --- dataframes


def frame(client: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A distributed RDataFrame that runs on a client's pool."""
    if not isinstance(client, Client):
        raise TypeError(f"executor is a {type(client).__name__}, and must be a dtpnode.Client")
    npartitions = options.pop("npartitions", None)
    if npartitions is not None:
        try:
            npartitions = operator.index(npartitions)
        except TypeError:  # ROOT makes ranges of a fraction beyond the last entry.
            raise TypeError(f"npartitions is {npartitions!r}, and must be a whole number") from None
    if npartitions is not None and npartitions < 1:
        raise ValueError(f"npartitions is {npartitions}, and must be at least 1")
    unknown = options.keys() - {f.name for f in dataclasses.fields(Options)}
    if unknown:
        raise TypeError(f"RDataFrame takes no argument {', '.join(sorted(unknown))}")
    if "modules" in options:
        given = options["modules"]
        options["modules"] = (given,) if isinstance(given, (str, os.PathLike, ModuleType)) else tuple(given)
    return Backend(client, Options(**options)).make_dataframe(*args, npartitions=npartitions)


def from_spec(path: str, *args: Any, executor: Client, **options: Any) -> Any:
    """A distributed RDataFrame of what a file in JSON specifies."""
    return frame(executor, (ROOT.Internal.RDF.RetrieveSpecFromJson(path), *args), options)


class Backend(Base.BaseBackend):  # type: ignore[misc]
    """The backend of one dataframe."""

    def __init__(self, client: Client, options: Options | None = None) -> None:
        super().__init__()
        self.client, self.options = client, options or Options()
        self._head: Callable[[], Any] = lambda: None

    def make_dataframe(self, *args: Any, **kwargs: Any) -> Any:
        """A dataframe on the same pool. ROOT calls it, too, for what a Snapshot returns."""
        args = tuple(list(arg) if isinstance(arg, tuple) else arg for arg in args)  # ROOT looks for lists of files alone.
        _rdfbooked.check_source(args)
        backend = Backend(self.client, self.options)
        head = HeadNode.get_headnode(backend, kwargs.pop("npartitions", None), *args)
        _rdfbooked.hold_source(head)
        _rdfbooked.check_samples(head)
        backend._head = weakref.ref(head)
        _rdfbooked.watch(head, args)
        return DataFrame.RDataFrame(head)

    def optimize_npartitions(self) -> int:
        """How many ranges there are, unless its user says: several for each slot, but no more than there are entries,
        or clusters as far as the first files tell. Each file is divided into the same number of ranges."""
        slots = max(self.client.slots, 1)
        most, head = SLICES * slots, self._head()
        if head is None:
            return slots
        entries = getattr(head, "nentries", None)
        if entries is not None:
            return max(min(most, max(slots, int(entries) // SMALL), int(entries)), 1)
        files = list(getattr(head, "inputfiles", ()))
        if not files or len(files) >= most:
            return most
        names = getattr(head, "subtreenames", None) or getattr(head, "subnames", None) or [""] * len(files)
        rntuple = isinstance(head, HeadNode.RNTupleHeadNode)
        clusters = max(_clusters(rntuple, str(name), str(file)) for name, file in list(zip(names, files))[:LOOKED])
        return len(files) * max(min(math.ceil(most / len(files)), clusters), 1)

    def distribute_unique_paths(self, paths: Any) -> None:
        """Files go along with a session; see sent."""

    def sent(self) -> dict[str, str]:
        """The files that go along, by their names in working folders."""
        out: dict[str, str] = {}
        for path in sorted({*self.headers, *self.shared_libraries, *self.pcms, *self.files}):
            path = os.path.abspath(path)
            name = os.path.basename(path)
            if out.setdefault(name, path) != path:
                raise Error(
                    f"could not send both {out[name]} and {path} to the nodes: they have the same name",
                    "files lie side by side there: rename one of them",
                )
        return out

    def ProcessAndMerge(self, ranges: list[Any], mapper: Any, reducer: Callable[[Any, Any], Any]) -> Any:
        """Runs the ranges of a graph, and merges what they give in their order."""
        complete(ranges)
        self._snapshots = Snapshots(mapper, self.options.one_file)
        if not self._snapshots.folders and len(ranges) * size(mapper) > LARGE:
            return self._reduce(ranges, mapper, reducer)
        merged = Tree(len(ranges), task.exact(reducer))
        for some in self._run(ranges, mapper):
            for at, result in some:
                merged.add(at, result)
            del some
        return self._last(merged.total)

    def ProcessAndMergeLive(
        self, ranges: list[Any], mapper: Any, reducer: Callable[[Any, Any], Any], drawables: dict[int, Any]
    ) -> Any:
        """As ProcessAndMerge, in the order in which ranges end, but for what has an order of its own; what is there so
        far is drawn each time."""
        complete(ranges)
        total: Any = None
        self._snapshots = Snapshots(mapper, self.options.one_file)
        reducer = task.exact(reducer)
        ordered, left = Ordered(), len(ranges)
        with _canvas(len(drawables)) as canvas:
            for some in self._run(ranges, mapper):
                for at, result in some:
                    ordered.take(at, result)
                    total = result if total is None else reducer(total, result)
                    left -= 1
                if not left:
                    ordered.give(total, reducer)
                if total is not None and total.mergeables is not None:
                    _draw(canvas, total.mergeables, drawables)
        return self._last(total)

    def _run(
        self, ranges: list[Any], mapper: Any, places: Iterable[int] | None = None
    ) -> Iterator[list[tuple[int, Any]]]:
        """The results of ranges as they come, some at a time, each with its place. places are by default all."""
        begun = functools.partial(self._first, mapper, ranges)
        try:
            with pools(self.client).execution(self.options, self.sent(), begun) as (pool, number):
                execution = Execution(self, pool, number, ranges)
                yield from execution.results(mapper, self._snapshots, range(len(ranges)) if places is None else places)
        except BaseException:
            self._snapshots.drop()
            raise

    def _reduce(self, ranges: list[Any], mapper: Any, reducer: Callable[[Any, Any], Any]) -> Any:
        """As ProcessAndMerge for large results: they are added in the processes that make them, on nodes, and between
        nodes. Ranges that fail so are run once more each by itself, which tells how, or has other nodes run them."""
        found, lost = self._add_up(ranges, mapper)
        reducer = task.exact(reducer)
        for node, version in sorted(item for total in found for item in total.versions.items()):
            if version != here():
                warnings.warn(differs(node, version), NodeWarning, stacklevel=2)
        for some in self._run(ranges, mapper, lost) if lost else ():
            found += [task.Total(result, ranges[at].id) for at, result in some]
        for values in [v for total in found for v in total.apart.values()]:
            joined_late(values)
        return functools.reduce(lambda a, b: task.add(a, b, reducer), found).whole(reducer)

    def _add_up(self, ranges: list[Any], mapper: Any) -> tuple[list["task.Total"], list[int]]:
        """The total that nodes have made, if any, and the places of the ranges that it lacks."""
        with modules_of(self.options, functools.partial(self._first, mapper, ranges)) as modules:
            but = take_along(modules=modules).modules
            pieces = [piece_of(some, words(some, len(ranges)), but) for some in ranges]
            job = self.client.reduce(
                task.Adding(self.run_of(mapper, self._snapshots, but)), pieces, op=task.add, partial=True,
                name="RDataFrame", imports=IMPORTS, env=self.options.env, modules=modules, files=self.sent(),
                stall=self.options.stall,
            )
        job.tells, job.within = False, lambda: True
        bar = Bar("RDataFrame", self.options.progress, unit="ranges")
        try:
            bar.start(len(ranges))
            while wait([job], timeout=MOMENT).not_done:
                bar.advance(job.progress[0] - bar.done)
            bar.advance(job.counted - bar.done)
            lost = [at for missing in job.missing for at in range(missing["first"], missing["last"])]
            return ([] if len(lost) == len(ranges) else [job.result().opened()]), lost
        except Exception as e:
            warnings.warn(f"nodes could not add what ranges give, so each comes here: {e}", NodeWarning, stacklevel=2)
            return [], list(range(len(ranges)))
        finally:
            job.cancel()  # if it is not over
            bar.stop()

    def run_of(self, mapper: Any, snapshots: Snapshots, but: frozenset[str]) -> "task.Run":
        """What runs the ranges of a graph. Modules in but travel as files."""
        with snapshots.elsewhere():
            pickled = _pickles.by_value(mapper, but)
        headers, libraries = (tuple(sorted(map(os.path.basename, s))) for s in (self.headers, self.shared_libraries))
        sent = tuple(sorted(self.sent()))
        return task.Run(pickled, headers, libraries, sent, snapshots.folders, afresh(mapper), task.histograms())

    def _first(self, mapper: Any, ranges: list[Any], but: frozenset[str]) -> bytes | None:
        """What a session that begins with a graph compiles where it forks processes. None if code of the user's had to
        run for that: where it ends its process, that must be one that runs a range. And None where what reads the data
        begins threads, as from afar and of RNTuples: that is nothing for a process that forks."""
        if self.sent() or isinstance(self.initialization, functools.partial):
            return None
        if ranges[0].exec_id.rdf_uuid == "RNTuple" or len(files_of(ranges[0])) < len(set(names_of(ranges[0]))):
            return None
        found = self.run_of(mapper, self._snapshots, but), piece_of(ranges[0], words(ranges[0], len(ranges)), but)
        pickled = pickle.dumps(found)
        return pickled if len(pickled) <= task.SPARED else None

    def _last(self, total: Any) -> Any:
        self._snapshots.finish(total)
        return total


def _clusters(rntuple: bool, name: str, file: str) -> int:
    """How many clusters a tree has, or enough of them where it cannot be read here."""
    try:
        bounds, _ = Ranges.get_clusters_and_entries("RNTuple" if rntuple else "", name, file)
        return len(bounds) - 1
    except ROOT.std.exception:
        return 1 << 20


class Columns(AsNumpyResult):  # type: ignore[misc]
    """What AsNumpy has given of ranges, in their order. It is put together once, when it is asked for: ROOT's own
    copies all that there is for each pair of ranges."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self._py_arrays: dict[str, Any] | None = None
        self._parts = [arrays]

    def Merge(self, other: "Columns") -> None:
        self._parts += other._parts

    def GetValue(self) -> dict[str, Any]:
        if self._py_arrays is None:
            parts, self._parts = self._parts, []
            self._py_arrays = {name: joined([part.pop(name) for part in parts]) for name in list(parts[0])}
        return self._py_arrays


def joined(parts: list[Any]) -> Any:
    """Arrays one behind the other. Each is let go of when it is copied, so that all is never there twice; it takes the
    list apart."""
    if len(parts) == 1:
        return parts[0]
    import numpy

    out = numpy.empty(sum(map(len, parts)), numpy.result_type(*{part.dtype for part in parts}))
    end = len(out)
    while parts:
        part = parts.pop()
        out[end - len(part) : end] = part
        end -= len(part)
    return out


def joined_late(values: list[Any]) -> None:
    """Has what AsNumpy has given, among the values of a range, be put together when all is there."""
    for i, value in enumerate(values):
        if type(value) is AsNumpyResult:
            values[i] = Columns(value.GetValue())


class Late(AsNumpyResult):  # type: ignore[misc]
    """Stands for something in what ranges have given so far that is put together when all is there."""

    def __init__(self) -> None:
        super().__init__([], [])

    def Merge(self, _: Any) -> None:
        pass


class Ordered:
    """What is to be put together in the order of ranges, though they are merged in another order."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, Any]] = {}  # by the place of the range, and that of the value in its result

    def take(self, at: int, result: Any) -> None:
        """Takes that out of the result of a range. A graph is there still, since it may be drawn."""
        for i, value in enumerate(result.mergeables or ()):
            if task.in_order(value):
                graph = not hasattr(value, "Merge")
                self._rows.setdefault(at, {})[i] = pickle.loads(pickle.dumps(value)) if graph else value
                result.mergeables[i] = value if graph else Late()

    def give(self, total: Any, reducer: Callable[[Any, Any], Any]) -> None:
        """Puts it together, into the total of all ranges."""
        rows = [type(total)(list(row.values()), None) for _, row in sorted(self._rows.items())]
        if rows:
            places = next(iter(self._rows.values()))
            for i, value in zip(places, functools.reduce(reducer, rows).mergeables):
                total.mergeables[i] = value


class Tree:
    """Merges results in their order, as soon as neighbours are there, always in the same pairs."""

    def __init__(self, n: int, reducer: Callable[[Any, Any], Any]) -> None:
        self._n, self._reducer = n, reducer
        self._have: dict[tuple[int, int], Any] = {}  # by the level in the tree, and the place there
        self.total: Any = None

    def add(self, at: int, result: Any) -> None:
        level, n = 0, self._n
        while n > 1:
            beside = at ^ 1
            if beside < n:
                other = self._have.pop((level, beside), None)
                if other is None:
                    self._have[level, at] = result
                    return
                result = self._reducer(other, result) if beside < at else self._reducer(result, other)
            level, at, n = level + 1, at // 2, (n + 1) // 2
        self.total = result


class Execution:
    """One run of a graph."""

    def __init__(self, backend: Backend, pool: Pool, number: int, ranges: list[Any]) -> None:
        self._backend, self._pool, self._number = backend, pool, number
        self._session = pool.executor._session
        self._ranges = ranges
        self._words = [words(r, len(ranges)) for r in ranges]
        self._tries = [0] * len(ranges)
        self._waiting: dict["Future[Any]", int] = {}
        self._good = ""  # a node that has run some range

    def results(self, mapper: Any, snapshots: Snapshots, places: Iterable[int]) -> Iterator[list[tuple[int, Any]]]:
        but = self._session.along.modules
        run = self._backend.run_of(mapper, snapshots, but)
        run.execution, run.living = self._number, tuple(self._pool.living)
        self._function = _pickles.function(run, but)
        bar = Bar("RDataFrame", self._backend.options.progress, unit="ranges")
        try:
            self._send(places)
            bar.start(len(self._waiting))
            while self._waiting:
                over, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
                some = []
                for future in sorted(over, key=self._waiting.__getitem__):
                    at = self._waiting.pop(future)
                    done = self._done(at, future)
                    if done is not None:
                        snapshots.take(done)
                        joined_late(done.result.mergeables or [])
                        some.append((at, task.mend(done.result, "unpickled")))
                        bar.advance()
                    del future, done
                over.clear()
                yield some
        finally:
            for future in self._waiting:
                future.cancel()
            bar.stop()

    def _send(self, places: Any, near: Near | None = None) -> None:
        but = self._session.along.modules
        calls = []
        for at in places:
            future: "Future[Any]" = LateFuture()
            piece = piece_of(self._ranges[at], self._words[at], but)
            calls.append(Call(future, self._function, _pickles.arguments((piece,), {}, but), near=near))
            self._waiting[future] = at
        self._session.submit(calls)

    def _done(self, at: int, future: "Future[Any]") -> Any:
        """What has come of a range; None if it is to run on another node."""
        try:
            done = future.result()
            done.result  # It is unpickled here, and not by the thread to which it has come.
        except task.Lacking as e:
            self._tries[at] += 1
            if self._tries[at] >= TRIES:
                raise Error(f"could not run {self._words[at]}: {e}", "no node was found that has it") from None
            self._pool.tell(f"{e}; what it should have run goes to other nodes")
            self._send([at], Near(self._good or self._home(), FAR))
            return None
        except CancelledError:
            raise Error(f"{self._words[at]} was cancelled: the client was closed, or the run interrupted") from None
        except ItemLost as e:
            room = self._backend._snapshots.room()
            raise ItemLost(f"{self._words[at]}: {with_signal(e.message)}{room}", e.hint) from e.__cause__
        except Exception as e:
            raise named(e, self._words[at])
        self._good = self._good or done.node
        if done.version != here():
            self._pool.tell(differs(done.name, done.version))
        return done

    def _home(self) -> str:
        """The node of the daemon that is talked to."""
        return str(self._backend.client.control.call("GET", "/v1/status").get("id") or "")


def here() -> str:
    """The version of ROOT in this program."""
    return str(ROOT.gROOT.GetVersion())


def differs(node: str, version: str) -> str:
    """What a user is told of a node with another version of ROOT."""
    return f"{node} has ROOT {version}, and not {here()} as this program: results may differ"


# Actions of which ROOT makes clones for other ranges that give what new ones would. Those of a Report end the process,
# those of HistoND may be wrong, and of what writes an RNTuple there are none.
CLONED = frozenset(
    "AsNumpy Count Graph GraphAsymmErrors Histo1D Histo2D Histo3D Max Mean Min Profile1D Profile2D Snapshot StdDev Sum"
    .split()
)


def nodes(mapper: Any) -> list[Any]:
    """The nodes of a graph that a mapper runs, each with its operation."""
    found = mapper.keywords["computation_graph_callable"].args[0].values()
    return [node for node in found if node.operation is not None]


def operations(mapper: Any) -> list[Any]:
    """The operations of a graph that a mapper runs."""
    return [node.operation for node in nodes(mapper)]


def afresh(mapper: Any) -> bool:
    """Whether a graph is to be built for each range, since clones of it would give something else."""
    for node in nodes(mapper):
        operation = node.operation
        if isinstance(operation, Operation.Transformation):
            continue
        if operation.name not in CLONED:
            return True
        if isinstance(operation, Operation.Snapshot) and (writes_rntuple(operation) or writes_variations(operation)):
            return True
        if isinstance(operation, Operation.AsNumpy) and not all(_plain(kind) for _, kind in _rdfbooked.taken(node)):
            return True
    return False


def _plain(kind: str) -> bool:
    """Whether columns of a type are numbers. What takes others cannot be cloned, as vectors: ROOT crashes then, or says
    that there is no such function."""
    return not re.search(r"[<:]", kind)


def size(mapper: Any) -> int:
    """About how many bytes the histograms have that a graph makes of a range."""
    booked = operations(mapper)
    cells = sum(_cells(o) for o in booked if o.name.startswith(("Histo", "Profile")))
    varied = any(isinstance(o, Operation.VariationsFor) for o in booked)
    return BYTES * cells * (1 + sum(_tags(o) for o in booked if varied and o.name == "Vary"))


def _tags(vary: Any) -> int:
    """About how many variations an operation makes: it takes their number, or a list with their names."""
    given = [*vary.args[2:3], *vary.kwargs.values()]
    return max([1, *(a if isinstance(a, int) else len(a) for a in given if isinstance(a, (int, list, tuple)))])


BYTES = 16  # of a cell of a histogram: its content, and the sum of squares of its weights


def _cells(operation: Any) -> int:
    """How many cells the histogram of an operation has; 0 if that is not known here."""
    if operation.name in ("HistoNSparseD", "Profile3D"):
        return 0  # It has what was filled, or it is none that ROOT has.
    try:
        model = _rdfbooked.model_of(operation)
        bins = getattr(model, "fNbins", None)
        if bins is None:
            bins = [getattr(model, f"fNbins{axis}", 0) for axis in "XYZ"]
        return math.prod(int(n) + 2 for n in bins if n)
    except (AttributeError, TypeError):
        return 0


def piece_of(some: Any, what: str, but: frozenset[str]) -> "task.Piece":
    """A range as it goes to the nodes."""
    return task.Piece(_pickles.by_value(some, but), what, files_of(some))


def complete(ranges: list[Any]) -> None:
    """Has the last range end with the last file. ROOT computes its end as a multiple of a fraction, which may come to a
    bit less, so that a last entry is left out, or to a bit more, which is the begin of a file that there is not."""
    last = ranges[-1]
    if hasattr(last, "last_tree_end_perc"):
        last.last_file_idx, last.last_tree_end_perc = len(last.filenames), 1.0


def names_of(some: Any) -> list[str]:
    """The names of the files that a range reads."""
    if not hasattr(some, "filenames"):
        return []
    names = [str(f) for f in some.filenames]
    if some.friendinfo is not None:
        names += [str(name) for friend in some.friendinfo.fFriendFileNames for name in friend]
    return names


def files_of(some: Any) -> tuple[tuple[str, str], ...]:
    """The files of this host that a range reads: each name as the range has it, and where that is."""
    here = os.getcwd()
    out = {}
    for name in names_of(some):
        plain = re.split("[?#]", name.removeprefix("file:"))[0]
        path = os.path.join(here, plain)
        if "://" not in plain and os.path.exists(path):
            out[plain] = path
    return tuple(out.items())


def words(some: Any, n: int) -> str:
    """A range as its user recognises it."""
    which = f"range {some.id} of {n}"
    if not hasattr(some, "filenames"):
        return f"{which}: entries {some.start:,} to {some.end - 1:,}"
    files = some.filenames[some.first_file_idx : some.last_file_idx]
    trees = some.treenames[some.first_file_idx : some.last_file_idx]
    first, last = f"{some.first_tree_start_perc:.1%}", f"{some.last_tree_end_perc:.1%}"
    if len(files) == 1:
        return f"{which}: {trees[0]} of {files[0]} from {first} to {last}"
    return f"{which}: {trees[0]} of {files[0]} from {first}, to {trees[-1]} of {files[-1]} up to {last}"


SIGNALS = {128: "a bus error", 129: "a segmentation violation", 132: "an illegal instruction", 133: "an abort"}


def with_signal(message: str) -> str:
    """What is said of a process that has ended, with the signal after which ROOT leaves with a status of its own."""
    return re.sub(
        r"left with exit status (\d+)\b",
        lambda m: f"{m[0]}, as ROOT does after {SIGNALS[int(m[1])]}" if int(m[1]) in SIGNALS else m[0],
        message,
    )


DECLARED = (
    "\nNodes do not know what was declared in this program alone, by ROOT.gInterpreter: declare it by "
    "ROOT.RDF.Distributed.DistributeCppCode, DistributeHeaders or DistributeSharedLibs."
)


def named(e: Exception, what: str) -> Exception:
    """An exception of a range that says of which."""
    hint = DECLARED if isinstance(e, RuntimeError) and "just-in-time compilation" in str(e) else ""
    if len(e.args) == 1 and isinstance(e.args[0], str) and type(e).__str__ is not KeyError.__str__:
        e.args = (f"{e.args[0]}\n(in {what}){hint}",)
    elif hasattr(e, "add_note"):
        e.add_note(f"in {what}{hint}")
    return e


# --- what is drawn while ranges run


@contextlib.contextmanager
def _canvas(n: int) -> Iterator[Any]:
    """A canvas with a pad for each of n objects; the one that was drawn on before is so again afterwards."""
    columns = max(math.ceil(math.sqrt(n)), 1)
    rows = max(math.ceil(n / columns), 1)
    context = ROOT.TVirtualPad.TContext()
    canvas = ROOT.TCanvas("dtpnode_live", "RDataFrame", 800 * columns, 400 * rows)
    canvas.Divide(columns, rows)
    try:
        yield canvas
    finally:
        canvas.Close()
        context.__destruct__()


def _draw(canvas: Any, mergeables: Any, drawables: dict[int, Any]) -> None:
    for pad_number, (callbacks, at, operation) in enumerate(drawables.values(), 1):
        pad = canvas.cd(pad_number)
        value = mergeables[at].GetValue()
        for callback in callbacks:
            if callback is not None:
                callback(value)
        value.Draw("AP" if operation in ("Graph", "GraphAsymmErrors") else "")
        pad.Update()
