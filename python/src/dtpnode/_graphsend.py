"""Graphs of dask on their way to the nodes, as units, and what was asked for on its way back."""

import contextlib
import io
import struct
import sys
from functools import partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Iterator

import cloudpickle
import httpx
from dask._task_spec import DataNode, GraphNode, Task, TaskRef

from . import _excepted, _graphrun, _pickles, _unpicklable
from ._along import Along
from ._archive import pack
from ._control import Control
from ._errors import Error, ItemLost, TooLarge, Unpicklable
from ._graph import Graph, Key, Unit
from ._held import LateFuture
from ._modules import by_reference, ship
from ._notes import Notes
from ._opening import open_job
from ._pickles import MAX_ITEM
from ._prints import Output, Prints
from ._progress import Bar
from ._receiver import Append, Job, Receiver, broken_by
from ._session import MAX_BATCH, MAX_NEAR

cloudpickle.register_pickle_by_value(_excepted)
cloudpickle.register_pickle_by_value(_graphrun)
cloudpickle.register_pickle_by_value(_unpicklable)

MAX_ITEMS = 1 << 30  # bytes of all items of a job, as the daemon has it
SHARED = 200  # bytes of the pickle of a function from which on units share it
AHEAD = 4  # appends that are on their way
RATE = 100e6  # bytes a second that go from one host to another, about
LEAST = 0.05  # seconds that a unit waits at least for the node that has what it takes, as in engine/grow.go
IMPORTS = ("dask", "dask.bag", "dask.array", "dask.dataframe", "numpy", "pandas", "pyarrow")
ADVICE = "make it where it is used, in the task itself"


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
    """What units of an append share.

    Code is one object in each process, for all units. What may have a state of its own, such as an accumulator that a
    task fills, each unit has as it was sent, whatever other units have made of it: two objects of this process that are
    equal are still two, and a unit that runs again begins anew.
    """

    def __init__(self, often: dict[int, Any], but: frozenset[str]) -> None:
        self._often = often  # arguments of several tasks, by their ids
        self._but = but
        self._places: dict[int, int | None] = {}  # by ids; None is for what each writes by itself
        self._held: list[Any] = []  # so that no other object gets the id of one
        self.pickles: list[bytes] = []
        self.size = 0

    def place(self, obj: Any) -> int | None:
        """What stands for an object in a unit: its place among the pickles, as -1 - place if each unit is to have an
        object of its own; None if each writes it by itself."""
        if type(obj) in _ATOMS or not (type(obj) is FunctionType or isinstance(obj, type) or id(obj) in self._often):
            return None
        at = id(obj)
        if at in self._places:
            return self._places[at]
        pickled = _pickles.by_value(obj, self._but)
        place = None
        if len(pickled) > SHARED:
            place = len(self.pickles) if is_code(obj) else -1 - len(self.pickles)
            self.pickles.append(pickled)
            self.size += len(pickled) + 8
        self._held.append(obj)
        self._places[at] = place
        return place


_ATOMS = frozenset((int, float, str, bool, type(None), complex))
_LASTING = frozenset((bytes, range, slice, ModuleType))


def is_code(obj: Any) -> bool:
    """Whether an object is a function or a class, or of some, and has no state of its own that can change in place:
    what is global to it is that of its module, which tasks in a process share wherever they run."""
    if type(obj) in _ATOMS or type(obj) in _LASTING or isinstance(obj, type):
        return True
    if type(obj) is tuple or type(obj) is frozenset:
        return all(map(is_code, obj))
    if type(obj) is BuiltinFunctionType:
        return isinstance(obj.__self__, ModuleType | None)
    if type(obj) is partial:
        return not obj.__dict__ and is_code((obj.func, *obj.args, *obj.keywords.values()))
    if type(obj) is not FunctionType or obj.__dict__:
        return False
    given = *(obj.__defaults__ or ()), *(obj.__kwdefaults__ or {}).values()
    try:
        around = [cell.cell_contents for cell in obj.__closure__ or ()]
    except ValueError:  # One is empty yet.
        return False
    return all(v is obj or is_code(v) for v in (*given, *around))


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


class Run(Receiver):
    """Sends the units of a graph, and waits for what was asked for."""

    what = "unit"

    def __init__(self, control: Control, title: str, along: Along, stall: float | None = None) -> None:
        super().__init__(control, title)
        self._along, self._stall = along, stall
        self._notes = Notes(control)
        self._prints: Prints | None = None
        self._job: Job
        self._graph: Graph  # that is being sent
        self._often: dict[int, Any] = {}
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
            "exception": _excepted.pickled, "MODE": "values", "ITEMS": "blob", "IMPORTS": imports,
        }
        packed = pack(code, self._along)
        name = open_job(self._control, self._title, packed, self._along, self._notes, True, self._stall)
        self._job = Job(name)
        self.name = name
        self._follow(self._job)
        if output is not None:
            self._prints = Prints(self._control, output)
            self._prints.follow(name)

    def send(self, graph: Graph, bar: Bar) -> None:
        """Sends all units of a graph, and that there are no more."""
        for _ in self._send(graph):
            self._told(bar)
        with self._lock:
            if self.broken is not None or self._error is not None:
                return
            self._job.seq += 1
            self._job.closing = True
            append: Append = self._job.seq, [], True, [], 0, False
            self._job.unanswered.append(append)
            exchange = self._job.exchange
        self._hand(exchange, append)

    def _send(self, graph: Graph) -> Iterator[list[int]]:
        """Sends all units of a graph, and gives the numbers of units in the job that are known so far, each time after
        an append. It ends early where a task has raised, or the session is broken."""
        self._graph, self._often = graph, often(graph)
        numbers: list[int] = []
        for items, units in self._appends(numbers, self._job.units):
            first = self._job.units
            futures = {first + i: self._future(first + i) for i in range(len(items))}
            with self._lock:
                while len(self._job.unanswered) >= AHEAD and self.broken is None and self._error is None:
                    self._change.wait()
                if self.broken is not None or self._error is not None:
                    return
                for number, unit in enumerate(units, first + 1):
                    self._units[number] = unit
                    self._expect(number, unit, futures[number])
                self._unsettled += len(items)
                self._job.sent.update(futures)
                self._job.units += len(items)
                self._job.seq += 1
                self._job.size += sum(map(len, items))
                append: Append = self._job.seq, items, False, near(units), 0, True
                self._job.unanswered.append(append)
                exchange = self._job.exchange
            self._hand(exchange, append)
            yield numbers

    def _appends(self, numbers: list[int], first: int = 0) -> Iterator[tuple[list[bytes], list[Unit]]]:
        """The items of each append, of which the first is what the others share, and these are units. The numbers of
        units in the job, which has some already, are put into numbers."""
        ship()
        total = 0
        append = _Append(first, self._often, self._along.modules)
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
        program = self._graph.program(unit, numbers, self.name)
        on = sorted({where[0] for where in program[0] if len(where) == 2})
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

    def _expect(self, number: int, unit: Unit, future: LateFuture) -> None:
        """Is told that a unit is about to be sent. The caller holds _lock."""

    def _settled(self, number: int, future: Any) -> None:
        """Notes that a unit has a result. One that is read later is in a file, and was not raised as a rule."""
        late = future._load is not None
        error = None if late else future.exception()
        with self._lock:
            self._unsettled -= 1
            unit = self._units.pop(number, None)
            self._done += len(unit.tasks) if unit is not None else 0
            if late or error is None and future.result() is not None:
                self._results.append(future)
            if error is not None and self._error is None:
                note_task(error, unit)
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

    def abort(self) -> None:
        """Ends the job, of which nobody wants anything."""
        self.cancel()
        self.hang_up()

    def cancel(self) -> None:
        """Ends the job, if it was opened."""
        self.abandoned = True
        if not self.name:
            return
        with contextlib.suppress(Error, httpx.TransportError):
            self._control.call("POST", f"/v1/jobs/{self.name}/cancel", {})

    def hang_up(self) -> None:
        """Ends receiving, when nothing more is wanted."""
        self.closed = True
        self._notes.close()
        if self._prints is not None:
            self._prints.join()
        if not self.name:  # It was not opened.
            return
        with self._lock:
            exchange = self._job.exchange
        if exchange is not None:
            exchange.close()

    def _left(self, job: Job) -> bool:
        return self.closed


def note_task(error: BaseException, unit: Unit | None) -> None:
    """Notes which task is lost: of what tasks raise that is known where it was raised."""
    if isinstance(error, ItemLost) and unit is not None:
        more = f", or one of the {len(unit.tasks) - 1:,} behind it" if len(unit.tasks) > 1 else ""
        _graphrun.noted(error, f"in the task {unit.tasks[0]!r}{more}")


def near(units: list[Unit]) -> list[dict[str, Any]]:
    """Which nodes have most of what units take of earlier graphs, for an append of these units. Of what they take of
    each other the job's home knows that."""
    out: list[dict[str, Any]] = []
    for at, unit in enumerate(units, 1):
        sizes: dict[str, int] = {}
        for stored in unit.stored.values():
            if stored.place is not None and not unit.imports:
                node, size = stored.place
                sizes[node] = sizes.get(node, 0) + size
        if not sizes:
            continue
        node = max(sizes, key=lambda name: sizes[name])
        cost = max(sizes[node] / RATE, LEAST)
        if out and out[-1]["node"] == node and out[-1]["last"] == at:
            run = out[-1]
            run["cost"] += (cost - run["cost"]) / (at + 1 - run["first"])
            run["last"] = at + 1
        elif len(out) < MAX_NEAR:
            out.append({"first": at, "last": at + 1, "node": node, "cost": cost})
    return out


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


def linked(on: list[int], item: bytes) -> bytes:
    """An item that names the units whose values it takes (exec/items.go)."""
    return struct.pack(f"<I{len(on)}Q", len(on), *on) + item
