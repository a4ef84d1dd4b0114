"""dask on the pool: a scheduler for ``dask.delayed``, ``dask.bag``, ``dask.array``, ``dask.dataframe`` and what is made
of these.

    >>> import dask
    >>> import dtpnode, dtpnode.dask
    >>> with dtpnode.dask.get(client):
    ...     dask.delayed(sum)([dask.delayed(abs)(i) for i in range(-3, 0)]).compute()
    6

``dask.config.set(scheduler=client.get)`` does the same for all that follows, and ``compute(scheduler=client.get)`` for
one call. The graph runs on the nodes, which need dask: what tasks hand to each other stays on the node that has made
it, goes from there to the node that needs it, and is made again if it is lost with a node. Only what was asked for
comes to this process.
"""

import functools
import os
import pickle
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import cloudpickle
import dask
from dask._task_spec import Alias, DataNode, Task, TaskRef, convert_legacy_graph, cull
from dask.highlevelgraph import HighLevelGraph
from dask.sizeof import sizeof

from . import _graphrun, _persisted, _pickles, _targets
from ._along import Along, Environment, Files, Modules, take_along
from ._control import Control
from ._errors import Error
from ._graph import Graph, Key, Node
from ._graphsend import Run, unsendable
from ._opening import begun, check_stall, patiently
from ._persisted import futures_of
from ._prints import Output, to_stdout
from ._progress import Bar
from ._stored import Stored

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["Scheduler", "futures_of", "get"]

# Without this dask's shuffles go through a folder of temporary files, where each host finds what its own processes have
# written, and nothing else.
dask.config.update_defaults({"dataframe": {"shuffle": {"method": "tasks"}}})

LARGE = 1 << 20  # bytes of a constant from which on it is sent once, and goes from node to node
PIECE = 8 << 20  # bytes of a part of such a constant


def get(
    client: "Client",
    *,
    progress: bool | None = None,
    output: Output | None = to_stdout,
    env: Environment | None = None,
    modules: Modules = (),
    files: Files = (),
    stall: float | None = None,
) -> "Scheduler":
    """The pool as dask's scheduler: of a with block, or as ``scheduler=`` of ``compute`` and of ``dask.config.set``.

    ``progress`` shows a bar, by default where standard error is a terminal, or in a notebook. ``output`` takes what
    tasks print, and ``env``, ``modules`` and ``files`` go along, all as with an Executor. ``stall`` is how many seconds
    the tasks may take that go to a node together, which are many where there are many small ones: by default there is
    no limit. It holds for what is persisted, too.
    """
    return Scheduler(client.control, progress, output, take_along(env, modules, files), client, stall)


class Scheduler:
    """Runs dask's graphs on the pool. ``get(client)`` makes it."""

    def __init__(
        self, control: Control, progress: bool | None = None, output: Output | None = to_stdout,
        along: Along | None = None, client: "Client | None" = None, stall: float | None = None,
    ) -> None:
        self._stall = check_stall(stall)
        self._control, self._progress, self._output, self._along = control, progress, output, along or Along()
        self._client = weakref.ref(client) if client is not None else None  # when it is closed what was persisted ends
        self._within: list[Any] = []
        self._persisting = threading.Lock()
        self._session: _persisted.Session | None = None  # of what is persisted next

    def __call__(self, dsk: Any, keys: Any, **options: Any) -> Any:
        """Runs a graph, and returns the values of keys, which may be nested in lists. It is what dask calls. A task
        that raises has its exception raised here, with a note that has the task's key."""
        warn_of(annotated(dsk).union(options))
        nodes, wanted = needed(dsk, keys)
        values: dict[Key, Any] = {k: nodes[k].value for k in wanted if isinstance(nodes.get(k), DataNode)}
        asked = [k for k in wanted if k not in values]
        if asked:
            refuse(nodes)
            nodes, weights = apart(nodes, self._along.modules)
            nodes, stored = taken(nodes, asked)
            _persisted.ready(self._control, stored.values())
            slots = patiently(self._control, self._control.slots)
            graph = Graph(nodes, asked, slots, weighed(nodes, stored, weights), stored)
            values.update((k, nodes[graph.real(k)].value) for k in asked if graph.real(k) not in graph.home)
            if graph.units:
                values.update(self._run(graph))
        return nested(keys, values)

    def persist(self, collections: Any, *, optimize_graph: bool = True, **options: Any) -> list[Any]:
        """Begins to run collections, whose values stay on the nodes. It is what dask's ``persist`` calls, and returns
        when all is sent: ``compute`` waits for what it takes, and raises what that has raised."""
        keep = functools.partial(Scheduler._keep, self)  # which has no persist, as a bound method would have
        persist: Any = dask.base.persist
        return list(persist(*collections, traverse=False, optimize_graph=optimize_graph, scheduler=keep, **options))

    def _keep(self, dsk: Any, keys: Any, **options: Any) -> Any:
        """Has the nodes run a graph, and keep the values of keys. Returns tasks that stand for these."""
        warn_of(annotated(dsk).union(options))
        nodes, wanted = needed(dsk, keys)
        here = {k: node for k in wanted if (node := nodes.get(k)) is not None}
        values: dict[Key, Any] = {k: n for k, n in here.items() if is_small(n) or is_stored(n)}
        asked = [k for k in wanted if k not in values]
        if asked:
            refuse(nodes)
            nodes, weights = apart(nodes, self._along.modules)
            nodes, stored = taken(nodes, [])
            with self._persisting:
                values.update(self._persist(nodes, asked, weights, stored))
        return nested(keys, values)

    def _persist(
        self, nodes: dict[Key, Node], asked: list[Key], weights: dict[Key, int], stored: dict[Key, Stored]
    ) -> dict[Key, Node]:
        session = self._session
        if session is not None and not session.hold():
            session = None
        try:
            own = session.name if session is not None else ""
            _persisted.ready(self._control, [s for s in stored.values() if s.job != own])
            slots = patiently(self._control, self._control.slots)
            graph = Graph(nodes, asked, slots, weighed(nodes, stored, weights), stored, keep=True)
            if graph.units and session is None:
                session = _persisted.Session(self._control, self._along, self._stall)
                session.begin(self._output)
                self._session = session
                client = self._client() if self._client is not None else None
                if client is not None:
                    client.ends(session)
            kept = session.add(graph) if graph.units and session is not None else {}
        finally:
            if session is not None:
                session.let_go()
        out: dict[Key, Node] = {}
        for key in asked:
            real = graph.real(key)
            found = kept.get(key) or stored.get(real)
            out[key] = Task(key, _graphrun.persisted, found) if found is not None else DataNode(key, nodes[real].value)
        return out

    def _run(self, graph: Graph) -> dict[Key, Any]:
        n = len(graph.order)
        run = Run(self._control, f"dask graph ({n:,} task{'s' * (n != 1)})", self._along, self._stall)
        bar = Bar("dask graph", self._progress, "tasks")
        try:
            patiently(self._control, lambda: begun(lambda: run.open(self._output), lambda _: run.abort()))
            bar.start(n)
            run.send(graph, bar)
            return run.results(bar)
        except BaseException:
            run.cancel()
            raise
        finally:
            bar.stop()
            run.hang_up()

    def __enter__(self) -> "Scheduler":
        self._within.append(dask.config.set(scheduler=self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._within.pop().__exit__(kind, e, trace)


def needed(dsk: Any, keys: Any) -> tuple[dict[Key, Node], list[Key]]:
    """The tasks that are needed for keys, in dask's present form, and those keys in a row."""
    if hasattr(dsk, "__dask_graph__"):
        dsk = dsk.__dask_graph__()
    wanted = in_a_row(keys)
    nodes = convert_legacy_graph(dsk if isinstance(dsk, dict) else dict(dsk))
    return cull(nodes, wanted), wanted


EFFECTLESS = frozenset(("allow_other_workers", "priority", "resources", "retries", "workers"))  # of dask.distributed
PARTS = tuple(
    getattr(dask._expr, name) for name in ("_ExprSequence", "_HLGExprSequence") if hasattr(dask._expr, name)
)  # what dask has several graphs in that are computed together
GRAPH: Any = getattr(dask._expr, "HLGExpr", ())
OWN = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (__file__, dask.__file__))


def annotated(dsk: Any) -> set[str]:
    """The names of the annotations of a graph, also of those that dask drops as it fuses tasks."""
    if isinstance(dsk, PARTS):
        return set().union(*map(annotated, dsk.operands))
    if isinstance(dsk, GRAPH):
        dsk = dsk.hlg
    if not isinstance(dsk, HighLevelGraph):
        return set()
    return set().union(*(layer.annotations or () for layer in dsk.layers.values()))


def warn_of(names: set[str]) -> None:
    """Warns of those annotations, and options of compute, that tell dask.distributed how to run tasks."""
    lost = sorted(names & EFFECTLESS)
    if not lost:
        return
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OWN):
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"{', '.join(lost)} of dask.annotate, or of compute, {'has' if len(lost) == 1 else 'have'} no effect on the "
        "pool: any node with a free slot takes a task, in the order of the graph, and one that raises ends the graph",
        stacklevel=level,
    )


def refuse(nodes: Mapping[Key, Node]) -> None:
    """Raises for graphs whose tasks hand data to each other in ways that do not lead from process to process: results
    would be wrong, without a word."""
    for key, node in nodes.items():
        name = key[0] if isinstance(key, tuple) and key else key
        if isinstance(name, str) and name.startswith(("zpartd-", "partd-")):
            raise Error(
                f"could not run the graph: its task {key!r} shuffles by files of one host, which others do not see, "
                "and which a task that is run again writes twice",
                'have it shuffle by tasks: dask.config.set({"dataframe.shuffle.method": "tasks"}), or import '
                'dtpnode.dask, before the graph is made, and no shuffle_method="disk"',
            )
        if isinstance(node, Task):
            _targets.refuse(key, node, nodes)


def in_a_row(keys: Any) -> list[Key]:
    """Keys that may be nested in lists."""
    return [k for inner in keys for k in in_a_row(inner)] if isinstance(keys, list) else [keys]


def nested(keys: Any, values: Mapping[Key, Any]) -> Any:
    """Values in the place of their keys."""
    return tuple(nested(k, values) for k in keys) if isinstance(keys, list) else values[keys]


def is_small(node: Any) -> bool:
    """Whether a node is a constant that each graph may have with it."""
    return isinstance(node, DataNode) and not is_large(node.value)


MEASURES: Any = sizeof  # which dask has for classes that it knows
UNMEASURED = MEASURES.dispatch(object)  # and for all others
SAMPLED = (list, tuple, set, frozenset, dict)  # of which dask looks at some elements
ATOMS = (int, float, complex, bool, str, bytes, type(None))


class _Enough(Exception):
    pass


class _Counted:
    """A file of which nothing is kept, up to LARGE bytes."""

    size = 0

    def write(self, data: Any) -> int:
        n = memoryview(data).nbytes
        self.size += n
        if self.size >= LARGE:
            raise _Enough
        return n


def is_large(value: Any) -> bool:
    """Whether a value is to be sent apart from the tasks that take it. Of an object of a class that dask does not know
    it has the size without that of its attributes, of a list and what is derived from that a guess, and of an array of
    objects the size of its references: these are pickled to be measured."""
    if sizeof(value) >= LARGE:
        return True
    kind = type(value)
    sampled = issubclass(kind, SAMPLED) or getattr(getattr(value, "dtype", None), "hasobject", False) is True
    if issubclass(kind, ATOMS) or not sampled and MEASURES.dispatch(kind) is not UNMEASURED:
        return False
    for pickler in pickle.Pickler, cloudpickle.Pickler:  # of which the first is faster, and takes less
        try:
            pickler(_Counted(), 5).dump(value)
            return False
        except _Enough:
            return True
        except Exception:
            continue
    return False  # It has no pickle, and is not sent if nobody needs it.


def is_stored(node: Any) -> bool:
    """Whether a task stands for a value of an earlier graph."""
    return type(node) is Task and len(node.args) == 1 and isinstance(node.args[0], Stored)


def behind(nodes: Mapping[Key, Any], key: Key) -> Key:
    """What a key stands for, where dask has only given another name to it: as it does with what is persisted of a
    dataframe."""
    for _ in range(len(nodes)):
        node = nodes.get(key)
        if not isinstance(node, Alias):
            break
        key = node.target
    return key


def taken(nodes: dict[Key, Node], asked: list[Key]) -> tuple[dict[Key, Node], dict[Key, Stored]]:
    """Finds values of earlier graphs in one, also within tasks that dask has fused, and makes tasks of those that are
    asked for."""
    stored: dict[Key, Stored] = {}
    out = dict(nodes)
    for key, node in nodes.items():
        if is_stored(node):
            stored[key] = node.args[0]
        elif is_fused(node):
            out[key], found = opened(node, lambda n: name_of(n.args[0]) if is_stored(n) else None)
            for name, task in found.items():
                stored[name] = task.args[0]
                out[name] = Task(name, _graphrun.persisted, task.args[0])
    for key in asked:
        real = behind(out, key)
        if real not in stored:
            continue
        if real == key:
            s = stored.pop(key)
            real = name_of(s)
            stored[real], out[real] = s, out[key]
        out[key] = Task(key, _graphrun.same, TaskRef(real))
    return out, stored


def is_fused(node: Any) -> bool:
    return type(node) is Task and node.has_subgraph()


def opened(fused: Task, named: Callable[[Node], Key | None]) -> tuple[Task, dict[Key, Node]]:
    """A task that dask has fused, with those nodes in it taken from outside for which there is a name there, and these
    by their names. One of the tasks in it may have been fused, too, when it was optimized once before."""
    inner, outkey, inkeys, *values = fused.args
    names: dict[Key, Key] = {}  # by what they are called within
    found: dict[Key, Node] = {}
    rest: dict[Key, Node] = {}
    for key, node in inner.items():
        name = named(node)
        if name is not None:
            names[key], found[name] = name, node
            continue
        if is_fused(node):
            node, deeper = opened(node, named)
            names.update((name, name) for name in deeper)
            found.update(deeper)
        rest[key] = node
    if not found:
        return fused, {}
    refs = [TaskRef(name) for name in names.values()]
    return Task(fused.key, fused.func, rest, outkey, (*inkeys, *names), *values, *refs), found


def name_of(stored: Stored) -> Key:
    return "dtpnode-stored", stored.job, stored.unit, stored.slot


def weighed(nodes: Mapping[Key, Node], stored: Mapping[Key, Stored], weights: dict[Key, int]) -> dict[Key, int]:
    """Adds, to bytes of tasks, those of what they take of earlier graphs: units of many tasks take little of that."""
    if not stored:
        return weights
    weights = dict(weights)
    for key, node in nodes.items():
        places = [s.place for k in node.dependencies if (s := stored.get(behind(nodes, k))) is not None]
        size = sum(place[1] for place in places if place is not None)
        if size:
            weights[key] = weights.get(key, 0) + size
    return weights


def apart(nodes: dict[Key, Node], but: frozenset[str]) -> tuple[dict[Key, Node], dict[Key, int]]:
    """Makes tasks of large constants, also of those within tasks that dask has fused, which are sent once then: of
    those that are too large for an item several. With that the bytes of such tasks."""
    weights: dict[Key, int] = {}
    out = dict(nodes)
    large: dict[Key, Node] = {}
    for key, node in nodes.items():
        if is_fused(node):
            out[key], found = opened(node, data_name)
            large.update(found)
        elif isinstance(node, DataNode) and is_large(node.value):
            large[key] = node
    for key, node in large.items():
        try:
            pickled = _pickles.by_value(node.value, but)
        except Exception as e:
            raise unsendable(node.key, node.value) from e
        names = [("dtpnode-part", key, i) for i in range(0, len(pickled), PIECE)]
        for name, at in zip(names, range(0, len(pickled), PIECE)):
            out[name] = Task(name, bytes, pickled[at : at + PIECE])
            weights[name] = min(PIECE, len(pickled) - at)
        out[key] = Task(key, _graphrun.joined, *(TaskRef(name) for name in names))
    return out, weights


def data_name(node: Node) -> Key | None:
    """What a large constant in a task that dask has fused is called outside of it: there it is one, whichever tasks
    have it."""
    if not isinstance(node, DataNode) or not is_large(node.value):
        return None
    return "dtpnode-data", id(node.value)
