"""Graphs of dask, cut into units that the nodes run: which tasks a unit has, and what it takes from other units.

Nothing here talks to anybody. A graph may have a hundred thousand tasks, each of some microseconds: to run each of them
as a unit of its own would take a hundred times as long as to run them all. So units have many tasks where there are
many, and what tasks of a unit hand to each other never leaves their process.

Tasks are put in an order, depth first, in which each comes behind those whose values it takes, and the order is cut
into segments. A unit has the tasks of a segment that are of the same *wave*: a task without inputs is of wave 0, one
with inputs is of the highest wave of these, where an input from another segment counts one more. So a unit takes values
only from units of lower waves, units are numbered by waves, and whatever a segment has that need not wait for others is
a unit that does not. A linear chain of tasks is never cut by segments.

A unit is written as a program over registers, which _graphrun runs: the first have what it takes from other units, the
next have constants of the graph, and each task puts its value into one more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, List, Task, TaskRef

from ._errors import Error
from ._graphrun import Where
from ._stored import Stored

MOST = 256  # tasks of a segment, where all are small
CHAIN = 1024  # tasks of a chain that stay together
SPREAD = 64  # segments for each slot, as long as there are tasks enough: so the last ones end at about the same time
WEIGHT = 8 << 20  # bytes of constants in the tasks of a segment, unless one task has more
LINKS = 1 << 16  # units from which a unit may take values (exec/items.go)

SHOWN = 5  # keys of a cycle that an error names

Key = Any  # what dask has as keys: strings, numbers, and tuples of these
Node = Any  # dask's GraphNode
Program = tuple[
    list[Where],  # imports
    list[Any],  # constants
    list[tuple[Any, ...]],  # tasks, as step has them
    list[int],  # registers that are exports
    list[tuple[Key, int]],  # keys that were asked for, and the registers of their values
    list[tuple[Key, int]] | None,  # keys that are persisted, and which exports they are; None of a graph to compute
]


@dataclass(eq=False, slots=True)
class Unit:
    """Tasks that are run in one process, one after the other."""

    tasks: list[Key]  # in order
    imports: dict[Key, tuple[int, int]] = field(default_factory=dict)  # by keys, the unit and which of its exports
    stored: dict[Key, Stored] = field(default_factory=dict)  # by keys, values of earlier graphs
    constants: dict[Key, None] = field(default_factory=dict)  # keys, in order
    exports: list[Key] = field(default_factory=list)  # tasks whose values other units take
    wanted: list[tuple[Key, Key]] = field(default_factory=list)  # keys that were asked for, and their tasks
    kept: list[tuple[Key, Key]] = field(default_factory=list)  # keys that are persisted, and their tasks


def cycle(keys: list[Key], again: Key) -> str:
    """Says that of keys, of which each is an alias of the next one, the last is one of one of them again."""
    loop = keys[keys.index(again) :]
    shown = [repr(key) for key in loop]
    if len(shown) > SHOWN:
        shown[SHOWN - 1 : -1] = [f"{len(shown) - SHOWN:,} more"]
    return f"the graph has keys that stand for each other: {', '.join(shown[:-1])} and {shown[-1]}"


class Graph:
    """A graph that is cut into units, in ``units``. Units take values only from those before them.

    ``nodes`` are tasks, constants and aliases, as dask's ``convert_legacy_graph`` makes them, and ``wanted`` the keys
    of values that are asked for or, with ``keep``, are to stay on the nodes. ``slots`` is how many units can run at a
    time. ``weights`` has bytes of tasks that are large. ``stored`` has values of earlier graphs, by keys that are in
    nodes, too, and are not asked for themselves."""

    def __init__(
        self,
        nodes: Mapping[Key, Node],
        wanted: Iterable[Key],
        slots: int,
        weights: Mapping[Key, int] | None = None,
        stored: Mapping[Key, Stored] | None = None,
        keep: bool = False,
    ) -> None:
        self.nodes, self.stored, self.keep = nodes, stored or {}, keep
        self._reals = {key: self._target(key) for key, node in nodes.items() if type(node) is Alias}
        asked = list(dict.fromkeys(wanted))
        self.order, self._inputs = self._sorted(asked)
        most = min(max(len(self.order) // (max(slots, 1) * SPREAD), 1), MOST)
        self.units, homes = self._units(self._segments(most, weights or {}))
        self.home = dict(zip(self.order, homes))  # by tasks, their units
        self._exported: dict[Key, tuple[int, int]] = {}  # by tasks, their units, and which export of these
        self._link(homes)
        for key in asked:
            real = self.real(key)
            if real in self.home and keep:
                self._export(real)
                self.units[self.home[real]].kept.append((key, real))
            elif real in self.home:
                self.units[self.home[real]].wanted.append((key, real))

    def real(self, key: Key) -> Key:
        """What a key stands for, which may be an alias."""
        return self._reals.get(key, key) if self._reals else key

    def _target(self, alias: Key) -> Key:
        key, seen = alias, {alias: None}
        while type(node := self.nodes.get(key)) is Alias:
            key = node.target
            if key in seen:
                raise Error(cycle(list(seen), key))
            seen[key] = None
        return key

    def _of(self, key: Key, by: Key) -> Node:
        node = self.nodes.get(key)
        if node is None:
            raise Error(f"the graph lacks {key!r}, which {'is asked for' if by is None else f'{by!r} takes'}")
        return node

    def _sorted(self, wanted: list[Key]) -> tuple[list[Key], list[list[int]]]:
        """All tasks that are needed, depth first, each behind its inputs, with the places of those inputs of each that
        are tasks. dask's own order is as good for this, and takes ten times as long to be found."""
        listed = {key: at for at, key in enumerate(self.nodes)}  # so that the order does not depend on hashes
        order: list[Key] = []
        places: dict[Key, int] = {}  # in the order; -1 for tasks whose inputs are looked at still
        inputs: list[list[int]] = []
        needs: dict[Key, list[Key]] = {}  # of tasks whose inputs are looked at
        for first in wanted:
            self._of(first, None)
            stack = [(self.real(first), first)]
            while stack:
                key, by = stack[-1]
                place = places.get(key)
                if place is None:
                    node = self._of(key, None if by == key else by)
                    if type(node) is DataNode or key in self.stored:
                        stack.pop()
                        continue
                    places[key] = -1
                    found = node.dependencies
                    if self._reals:
                        found = {self.real(k) for k in found}
                    needed = needs[key] = list(found)
                    if len(needed) > 1:
                        needed.sort(key=lambda k: listed.get(k, -1))
                    for need in reversed(needed):
                        before = places.get(need)
                        if before is None:
                            stack.append((need, key))
                        elif before < 0:
                            raise Error(f"the graph has a cycle: {key!r} takes {need!r}, which takes it")
                    continue
                stack.pop()
                if place < 0:
                    places[key] = len(order)
                    order.append(key)
                    inputs.append([places[k] for k in needs.pop(key) if k in places])
        return order, inputs

    def _segments(self, most: int, weights: Mapping[Key, int]) -> list[int]:
        """The number of the segment that each task is in."""
        takers = [0] * len(self.order)
        for inputs in self._inputs:
            for i in inputs:
                takers[i] += 1
        out: list[int] = []
        chains: list[int] = []  # how many tasks the chain has up to one
        segment = size = weight = 0
        for key, inputs in zip(self.order, self._inputs):
            own = weights.get(key, 0) if weights else 0
            if len(inputs) == 1 and takers[inputs[0]] == 1 and chains[inputs[0]] < CHAIN and not own:
                out.append(out[inputs[0]])
                chains.append(chains[inputs[0]] + 1)
                size += out[-1] == segment
                continue
            if size and (size >= most or weight + own > WEIGHT):
                segment, size, weight = segment + 1, 0, 0
            out.append(segment)
            chains.append(1)
            size, weight = size + 1, weight + own
        return out

    def _units(self, segments: list[int]) -> tuple[list[Unit], list[int]]:
        """Units in the order of waves, and in which of them each task is."""
        waves: list[int] = []
        found: dict[tuple[int, int], list[int]] = {}
        for at, (own, inputs) in enumerate(zip(segments, self._inputs)):
            wave = 0
            for i in inputs:
                w = waves[i] + (segments[i] != own)
                if w > wave:
                    wave = w
            waves.append(wave)
            tasks = found.get((wave, own))
            if tasks is None:
                found[wave, own] = [at]
            else:
                tasks.append(at)
        homes = [0] * len(segments)
        units = []
        for number, (_, tasks) in enumerate(sorted(found.items())):
            for at in tasks:
                homes[at] = number
            units.append(Unit([self.order[at] for at in tasks]))
        return units, homes

    def _link(self, homes: list[int]) -> None:
        """Finds what units take from each other, and which constants they have."""
        order = self.order
        for key, own, inputs in zip(order, homes, self._inputs):
            unit = self.units[own]
            for i in inputs:
                if homes[i] != own and order[i] not in unit.imports:
                    unit.imports[order[i]] = self._export(order[i])
            found = self.nodes[key].dependencies
            if len(inputs) < len(found):
                for name in sorted(map(self.real, found), key=repr):
                    if name in self.stored:
                        unit.stored[name] = self.stored[name]
                    elif name not in self.home:
                        unit.constants[name] = None
        for unit in self.units:
            if len({source for source, _ in unit.imports.values()}) > LINKS:
                raise Error(
                    f"the task {unit.tasks[0]!r} takes the values of more than {LINKS:,} units",
                    "add what it takes in a tree, as split_every= of dask's reductions does",
                )

    def _export(self, key: Key) -> tuple[int, int]:
        found = self._exported.get(key)
        if found is None:
            number = self.home[key]
            exports = self.units[number].exports
            found = self._exported[key] = number, len(exports)
            exports.append(key)
        return found

    def program(self, unit: Unit, numbers: Sequence[int], job: str = "") -> Program:
        """A unit as it is run in a job. numbers are those of all units before it there."""
        at: dict[Key, int] = {}
        for key in (*unit.imports, *unit.stored, *unit.constants, *unit.tasks):
            at[key] = len(at)
        imports: list[Where] = [(numbers[source], slot) for source, slot in unit.imports.values()]
        return (
            imports + [stored.where(job) for stored in unit.stored.values()],
            [self.nodes[key].value for key in unit.constants],
            [self.step(key, at) for key in unit.tasks],
            [at[key] for key in unit.exports],
            [(key, at[real]) for key, real in unit.wanted],
            [(key, slot) for slot, key in self.kept(unit)] if self.keep else None,
        )

    def kept(self, unit: Unit) -> list[tuple[int, Key]]:
        """The keys of a unit that are persisted, and which of its exports are their values."""
        return [(self._exported[real][1], key) for key, real in unit.kept]

    def step(self, key: Key, at: Mapping[Key, int]) -> tuple[Any, ...]:
        """A task as it is run: its key, function, arguments, keywords, and at which places of the arguments a register
        stands for its value. A place is a number, or that of a list and places in that. What is not of this form is its
        key, itself, and the registers of what it takes by their keys.

        dask's own form has five times as many bytes, and takes five times as long to be written and read."""
        node = self.nodes[key]
        if type(node) is Task and not any(isinstance(v, (GraphNode, TaskRef)) for v in node.kwargs.values()):
            args: list[Any] = []
            places: list[Any] = []
            for place, arg in enumerate(node.args):
                kind = type(arg)
                if kind is TaskRef:
                    places.append(place)
                    arg = at[self.real(arg.key)]
                elif kind is List and all(type(a) is TaskRef or not isinstance(a, GraphNode) for a in arg.args):
                    inner = [p for p, a in enumerate(arg.args) if type(a) is TaskRef]
                    places.append((place, inner))
                    arg = [at[self.real(a.key)] if type(a) is TaskRef else a for a in arg.args]
                elif isinstance(arg, GraphNode):
                    break
                args.append(arg)
            else:
                return key, node.func, args, node.kwargs, places
        return key, node, [(name, at[self.real(name)]) for name in node.dependencies]
