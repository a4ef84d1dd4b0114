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

import contextlib
import io
import struct
import sys
from collections import ChainMap
from collections.abc import Mapping
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Iterator

import cloudpickle
import dask
import httpx
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, convert_legacy_graph, cull
from dask.sizeof import sizeof

from . import _graphrun, _pickles, _unpicklable
from ._along import Along, Environment, Files, Modules, take_along
from ._archive import pack
from ._control import Control
from ._errors import Error, ItemLost, TooLarge, Unpicklable
from ._graph import Graph, Key, Node, Unit
from ._held import LateFuture
from ._modules import by_reference, ship
from ._notes import Notes
from ._opening import open_job
from ._pickles import MAX_ITEM
from ._prints import Output, Prints, to_stdout
from ._progress import Bar
from ._receiver import Append, Job, Receiver, broken_by
from ._session import MAX_BATCH

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["Scheduler", "get"]

# Without this dask's shuffles go through a folder of temporary files, where each host finds what its own processes have
# written, and nothing else.
dask.config.update_defaults({"dataframe": {"shuffle": {"method": "tasks"}}})

cloudpickle.register_pickle_by_value(_graphrun)
cloudpickle.register_pickle_by_value(_unpicklable)

MAX_ITEMS = 1 << 30  # bytes of all items of a job, as the daemon has it
LARGE = 1 << 20  # bytes of a constant from which on it is sent once, and goes from node to node
PIECE = 8 << 20  # bytes of a part of such a constant
SHARED = 200  # bytes of the pickle of a function from which on units share it
AHEAD = 4  # appends that are on their way
IMPORTS = ("dask", "dask.bag", "dask.array", "dask.dataframe", "numpy", "pandas", "pyarrow")


def get(
    client: "Client",
    *,
    progress: bool | None = None,
    output: Output | None = to_stdout,
    env: Environment | None = None,
    modules: Modules = (),
    files: Files = (),
) -> "Scheduler":
    """The pool as dask's scheduler: of a with block, or as ``scheduler=`` of ``compute`` and of ``dask.config.set``.

    ``progress`` shows a bar, by default where standard error is a terminal, or in a notebook. ``output`` takes what
    tasks print, and ``env``, ``modules`` and ``files`` go along, all as with an Executor.
    """
    return Scheduler(client.control, progress, output, take_along(env, modules, files))


class Scheduler:
    """Runs dask's graphs on the pool. ``get(client)`` makes it."""

    def __init__(
        self, control: Control, progress: bool | None = None, output: Output | None = to_stdout,
        along: Along | None = None,
    ) -> None:
        self._control, self._progress, self._output, self._along = control, progress, output, along or Along()
        self._within: list[Any] = []

    def __call__(self, dsk: Any, keys: Any, **_: Any) -> Any:
        """Runs a graph, and returns the values of keys, which may be nested in lists. It is what dask calls. A task
        that raises has its exception raised here, with a note that has the task's key."""
        nodes, wanted = needed(dsk, keys)
        values: dict[Key, Any] = {k: nodes[k].value for k in wanted if isinstance(nodes.get(k), DataNode)}
        asked = [k for k in wanted if k not in values]
        if asked:
            refuse(nodes)
            nodes, weights = apart(nodes, self._along.modules)
            graph = Graph(nodes, asked, self._control.slots(), weights)
            values.update((k, nodes[graph.real(k)].value) for k in asked if graph.real(k) not in graph.home)
            if graph.units:
                values.update(self._run(graph))
        return nested(keys, values)

    def _run(self, graph: Graph) -> dict[Key, Any]:
        n = len(graph.order)
        run = _Run(self._control, f"dask graph ({n:,} task{'s' * (n != 1)})", graph, self._along)
        run.open(self._output)
        bar = Bar("dask graph", self._progress, "tasks")
        bar.start(n)
        try:
            run.send(bar)
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


def refuse(nodes: Mapping[Key, Node]) -> None:
    """Raises for graphs whose tasks hand data to each other in ways that do not lead from process to process: results
    would be wrong, without a word."""
    for key, node in nodes.items():
        name = key[0] if isinstance(key, tuple) and key else key
        if isinstance(name, str) and name.startswith(("zpartd-", "partd-")):
            raise Error(
                f"could not run the graph: its task {key!r} shuffles by files of one host, which others do not see, and "
                "which a task that is run again writes twice",
                'have it shuffle by tasks: dask.config.set({"dataframe.shuffle.method": "tasks"}), or import '
                'dtpnode.dask, before the graph is made, and no shuffle_method="disk"',
            )
        into = stored_into(node, nodes) if isinstance(node, Task) else None
        if into is not None and hasattr(type(into), "__array_interface__"):
            raise Error(
                f"could not run the graph: its task {key!r} stores into an array of this process, which the nodes do "
                "not see: it would stay as it is",
                "compute() the array and assign it, or store it in files, as by to_zarr or da.to_npy_stack",
            )


def stored_into(task: Task, nodes: Mapping[Key, Any]) -> Any:
    """What a task of dask.array.store writes into, if it is known before it runs; else None. It may be one of several
    that dask has fused, each time within another one."""
    function, args = getattr(task.func, "__name__", ""), task.args
    if function == "_execute_subgraph" and len(args) > 2 and isinstance(args[0], dict) and isinstance(args[2], tuple):
        within = ChainMap(args[0], dict(zip(args[2], args[3:])), nodes)  # type: ignore[arg-type]
        found = (stored_into(step, within) for step in args[0].values() if isinstance(step, Task))
        return next((into for into in found if into is not None), None)
    if function != "load_store_chunk" or len(args) < 2:
        return None
    into = args[1]
    for _ in range(len(nodes)):
        if not isinstance(into, (TaskRef, Alias)):
            break
        into = nodes.get(into.target if isinstance(into, Alias) else into.key)
    return into.value if isinstance(into, DataNode) else into if hasattr(into, "__array_interface__") else None


def in_a_row(keys: Any) -> list[Key]:
    """Keys that may be nested in lists."""
    return [k for inner in keys for k in in_a_row(inner)] if isinstance(keys, list) else [keys]


def nested(keys: Any, values: Mapping[Key, Any]) -> Any:
    """Values in the place of their keys."""
    return tuple(nested(k, values) for k in keys) if isinstance(keys, list) else values[keys]


def apart(nodes: dict[Key, Node], but: frozenset[str]) -> tuple[dict[Key, Node], dict[Key, int]]:
    """Makes tasks of large constants, which are sent once then: of those that are too large for an item several. With
    that the bytes of such tasks."""
    weights: dict[Key, int] = {}
    out = nodes
    for key, node in nodes.items():
        if not isinstance(node, DataNode) or sizeof(node.value) < LARGE:
            continue
        if out is nodes:
            out = dict(nodes)
        try:
            pickled = _pickles.by_value(node.value, but)
        except Exception as e:
            raise unsendable(key, node.value) from e
        names = [("dtpnode-part", key, i) for i in range(0, len(pickled), PIECE)]
        for name, at in zip(names, range(0, len(pickled), PIECE)):
            out[name] = Task(name, bytes, pickled[at : at + PIECE])
            weights[name] = min(PIECE, len(pickled) - at)
        out[key] = Task(key, _graphrun.joined, *(TaskRef(name) for name in names))
    return out, weights


def unsendable(key: Key, value: Any) -> Unpicklable:
    why = _unpicklable.unpicklable(value, f"the task {key!r}") or f"the task {key!r}"
    return Unpicklable(f"could not send the graph: {why}", ADVICE)


class _Pickler(_pickles._Pickler):
    """Writes units. What many of them have is written once for all of an append."""

    def __init__(self, file: Any, shared: "_Shared") -> None:
        super().__init__(file, 5)
        self._place = shared.place

    def persistent_id(self, obj: Any) -> int | None:
        return self._place(obj)


class _Shared:
    """What units of an append share."""

    def __init__(self, often: dict[int, Any], but: frozenset[str]) -> None:
        self._often = often  # arguments of several tasks, by their ids
        self._but = but
        self._places: dict[int, int | None] = {}  # by ids; None is for what each writes by itself
        self._held: list[Any] = []  # so that no other object gets the id of one
        self.pickles: list[bytes] = []
        self.size = 0

    def place(self, obj: Any) -> int | None:
        if type(obj) in _ATOMS or not (type(obj) is FunctionType or isinstance(obj, type) or id(obj) in self._often):
            return None
        at = id(obj)
        if at in self._places:
            return self._places[at]
        pickled = _pickles.by_value(obj, self._but)
        place = None
        if len(pickled) > SHARED:
            place = len(self.pickles)
            self.pickles.append(pickled)
            self.size += len(pickled) + 8
        self._held.append(obj)
        self._places[at] = place
        return place


_ATOMS = frozenset((int, float, str, bool, type(None), complex))


def often(graph: Graph) -> dict[int, Any]:
    """Arguments and constants that several tasks have, by their ids."""
    seen: dict[int, Any] = {}
    out: dict[int, Any] = {}
    for node in graph.nodes.values():
        if isinstance(node, DataNode):
            out[id(node.value)] = node.value
        elif type(node) is Task:
            for arg in (*node.args, *node.kwargs.values()):
                if type(arg) in _ATOMS or isinstance(arg, (GraphNode, TaskRef)):
                    continue
                if id(arg) in seen:
                    out[id(arg)] = arg
                seen[id(arg)] = arg
    return {at: v for at, v in out.items() if type(v) not in _ATOMS}


class _Run(Receiver):
    """Sends the units of a graph, and waits for what was asked for."""

    def __init__(self, control: Control, title: str, graph: Graph, along: Along) -> None:
        super().__init__(control, title)
        self._graph, self._along = graph, along
        self._notes = Notes(control)
        self._prints: Prints | None = None
        self._job: Job
        self._often = often(graph)
        self._units: dict[int, Unit] = {}  # by their numbers in the job
        self._done = 0  # tasks
        self._results: list[LateFuture] = []  # of units with values that were asked for
        self._unsettled = 0  # units without a result
        self._error: BaseException | None = None  # what a task has raised first

    # --- sending

    def open(self, output: Output | None) -> None:
        """Opens the job."""
        imports = [name for name in IMPORTS if name in sys.modules]
        code = {
            "process": _graphrun.unit, "show": _graphrun.show, "unpicklable": _graphrun.unpicklable,
            "MODE": "values", "ITEMS": "blob", "IMPORTS": imports,
        }
        name = open_job(self._control, self._title, pack(code, self._along), self._along, self._notes, True)
        self.name, self._job = name, Job(name)
        self._follow(self._job)
        if output is not None:
            self._prints = Prints(self._control, output)
            self._prints.follow(name)

    def send(self, bar: Bar) -> None:
        """Sends all units, and that there are no more."""
        numbers: list[int] = []
        for items, units in self._appends(numbers):
            first = self._job.units
            futures = {first + i: self._future(first + i) for i in range(len(items))}
            with self._lock:
                while len(self._job.unanswered) >= AHEAD and self.broken is None and self._error is None:
                    self._change.wait()
                if self.broken is not None or self._error is not None:
                    return
                self._units.update(zip(range(first + 1, first + len(items)), units))
                self._unsettled += len(items)
                self._job.sent.update(futures)
                self._job.units += len(items)
                self._job.seq += 1
                append: Append = self._job.seq, items, False, [], 0, True
                self._job.unanswered.append(append)
                exchange = self._job.exchange
            self._hand(exchange, append)
            self._told(bar)
        with self._lock:
            self._job.seq += 1
            self._job.closing = True
            append = self._job.seq, [], True, [], 0, False
            self._job.unanswered.append(append)
            exchange = self._job.exchange
        self._hand(exchange, append)

    def _appends(self, numbers: list[int]) -> Iterator[tuple[list[bytes], list[Unit]]]:
        """The items of each append, of which the first is what the others share, and these are units. The numbers of
        units in the job are put into numbers."""
        ship()
        total = 0
        append = _Append(0, self._often, self._along.modules)
        for unit in self._graph.units:
            if append.size > MAX_BATCH:
                yield append.items(), append.units
                append = append.next()
            before = append.shared.size
            item = self._item(unit, append, numbers)
            took = len(item) + append.shared.size - before
            if append.units and append.size + took > MAX_ITEM:
                yield append.items(), append.units
                append = append.next()
                item = self._item(unit, append, numbers)
                took = len(item) + append.shared.size
            if took > MAX_ITEM:
                raise self._too_large(unit, took)
            total += took
            if total > MAX_ITEMS:
                raise TooLarge(
                    f"the graph has more than {MAX_ITEMS:,} bytes as a pickle, up to the task {unit.tasks[0]!r}",
                    "have tasks read their data, from files that the nodes see, in place of handing it to them",
                )
            numbers.append(append.number)
            append.add(unit, item)
        if append.units:
            yield append.items(), append.units

    def _item(self, unit: Unit, append: "_Append", numbers: list[int]) -> bytes:
        program = self._graph.program(unit, numbers)
        on = sorted({number for number, _ in program[0]})
        return linked(on, _graphrun.UNIT + self._written(append.number, program, append.shared, unit))

    def _written(self, number: int, program: Any, shared: _Shared, unit: Unit) -> bytes:
        out = io.BytesIO()
        try:
            with by_reference(self._along.modules):
                _Pickler(out, shared).dump((number, program))
        except Exception as e:
            for key in unit.tasks:
                node = self._graph.nodes[key]
                why = _unpicklable.unpicklable(node, f"the task {key!r}")
                if why:
                    raise Unpicklable(f"could not send the graph: {why}", ADVICE) from e
            raise Unpicklable(f"could not send the graph: {type(e).__name__}: {e}", ADVICE) from e
        return out.getvalue()

    def _too_large(self, unit: Unit, size: int) -> TooLarge:
        key = max(unit.tasks, key=lambda k: len(cloudpickle.dumps(self._graph.nodes[k])))
        return TooLarge(
            f"the graph cannot be sent: the task {key!r} and what it was given have {size:,} bytes as a pickle, and "
            f"may have {MAX_ITEM:,}",
            "hand over data that is large as dask.delayed(data), or have tasks read it",
        )

    # --- receiving

    def _future(self, number: int) -> LateFuture:
        future = LateFuture()
        future.add_done_callback(lambda f: self._settled(number, f))
        return future

    def _settled(self, number: int, future: Any) -> None:
        """Notes that a unit has a result. One that is read later is in a file, and was not raised as a rule."""
        late = future._load is not None
        error = None if late else future.exception()
        with self._lock:
            self._unsettled -= 1
            unit = self._units.get(number)
            self._done += len(unit.tasks) if unit is not None else 0
            if late or error is None and future.result() is not None:
                self._results.append(future)
            if error is not None and self._error is None:
                if isinstance(error, ItemLost) and unit is not None:
                    more = f", or one of the {len(unit.tasks) - 1:,} behind it" if len(unit.tasks) > 1 else ""
                    _graphrun.noted(error, f"in the task {unit.tasks[0]!r}{more}")
                self._error = error
            self._change.notify_all()

    def _answered(self) -> None:
        self._change.notify_all()

    def results(self, bar: Bar) -> dict[Key, Any]:
        """Waits for what was asked for. What a task has raised is raised at once."""
        while True:
            with self._lock:
                if not self._error and self.broken is None and self._unsettled:
                    self._change.wait()
                error, over = self._error, not self._unsettled
            self._told(bar)
            if error is not None:
                raise error
            if self.broken is not None:
                raise broken_by(self.broken)
            if over:
                break
        out: dict[Key, Any] = {}
        for future in self._results:
            out.update(future.result())
        return out

    def _told(self, bar: Bar) -> None:
        with self._lock:
            done = self._done
        if done > bar.done:
            bar.advance(done - bar.done)

    def cancel(self) -> None:
        """Ends the job."""
        self.abandoned = True
        with contextlib.suppress(Error, httpx.TransportError):
            self._control.call("POST", f"/v1/jobs/{self.name}/cancel", {})

    def hang_up(self) -> None:
        """Ends receiving, when nothing more is wanted."""
        self.closed = True
        self._notes.close()
        if self._prints is not None:
            self._prints.join()
        with self._lock:
            exchange = self._job.exchange
        if exchange is not None:
            exchange.close()

    def _left(self, job: Job) -> bool:
        return self.closed


class _Append:
    """Items that are sent together."""

    def __init__(self, first: int, often: dict[int, Any], but: frozenset[str]) -> None:
        self._first, self._often, self._but = first, often, but
        self.shared = _Shared(often, but)
        self.units: list[Unit] = []
        self._items: list[bytes] = []
        self._size = 0

    @property
    def size(self) -> int:
        return self._size + self.shared.size

    @property
    def number(self) -> int:
        """That of the next unit in the job."""
        return self._first + 1 + len(self.units)

    def add(self, unit: Unit, item: bytes) -> None:
        self.units.append(unit)
        self._items.append(item)
        self._size += len(item) + 8

    def items(self) -> list[bytes]:
        return [linked([], _graphrun.pack_shared(self.shared.pickles)), *self._items]

    def next(self) -> "_Append":
        return _Append(self.number, self._often, self._but)


ADVICE = "make it where it is used, in the task itself"


def linked(on: list[int], item: bytes) -> bytes:
    """An item that names the units whose values it takes (exec/items.go)."""
    return struct.pack(f"<I{len(on)}Q", len(on), *on) + item
