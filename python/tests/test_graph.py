"""Graphs are cut into units that give what dask's own scheduler gives, whatever is lost between them."""

import hashlib
import operator
import os
import pickle
import random
import socket
import struct
import subprocess
import sys
import threading
from functools import partial

import msgpack
import numpy as np
import pytest
from dask._task_spec import Alias, DataNode, List, Task, TaskRef
from dask.local import get_sync

import dtpnode.dask
from dtpnode import _graphrun, _graphsend, _pickles, _receiver, _stored
from dtpnode._graph import MOST, Graph
from dtpnode._graphsend import Run
from dtpnode.dask import needed, nested

SEEDS = int(os.environ.get("DTPNODE_SEEDS", "60"))


class Values:
    """A node's store of values, as the daemon has it, which may lose some."""

    def __init__(self, blobs=()):
        self.kept, self.blobs, self.keeps, self.lose = {}, blobs, [], lambda where: False

    def ask(self, frame):
        if frame["op"] == "keep":
            assert os.path.isabs(frame["path"])
            for at, size, told in frame["values"]:
                with open(frame["path"], "rb") as f:
                    f.seek(at)
                    assert hashlib.sha256(f.read(size)).digest() == told
            path = f"{frame['path']}-{len(self.keeps)}"
            os.link(frame["path"], path)
            self.kept[frame["unit"]] = [(path, at, size) for at, size, _ in frame["values"]]
            self.keeps.append(frame["unit"])
            return {"op": "kept"}
        if frame["op"] == "get":
            return {"op": "got", "values": [self._get(*where) for where in frame["want"]]}
        assert frame["op"] == "item"
        first = 0
        for path, n in self.blobs:
            if frame["unit"] < first + n:
                return {"op": "item", "path": path, "at": frame["unit"] - first}
            first += n
        raise AssertionError(frame)

    def _get(self, unit, slot):
        if unit in self.kept and not self.lose((unit, slot)):
            return self.kept[unit][slot]
        self.kept.pop(unit, None)
        return None


class Items(list):
    """A blob of items in this process."""


def appends(graph, job=""):
    """The items of a graph, by append."""
    run = Run.__new__(Run)
    run._graph, run._along, run._often, run.name = graph, dtpnode.dask.Along(), _graphsend.often(graph), job
    return [Items(items) for items, _ in run._appends([])]


def blob(path, items):
    """Writes items as exec/items.go has them."""
    ends = np.cumsum([len(item) for item in items])
    path.write_bytes(b"dtpitems" + struct.pack(f"<Q{len(items)}Q", len(items), *map(int, ends)) + b"".join(items))
    return str(path), len(items)


def run(graph, folder, lose=None, processes=3):
    """Runs all units in the order of their numbers, in processes by turns, and returns what was asked for."""
    blobs = appends(graph)
    values = Values([blob(folder / f"blob{i}", items) for i, items in enumerate(blobs)])
    if lose is not None:
        values.lose = lose
    ran = []
    for i in range(processes):
        ran.append(_graphrun.Process())
        ran[i].daemon, ran[i].pid = values, i
    out, n = {}, 0
    for items in blobs:
        for at, item in enumerate(items):
            on = struct.unpack_from(f"<{struct.unpack_from('<I', item)[0]}Q", item, 4)
            assert all(u < n for u in on), "units take values of units before them alone"
            out.update(ran[n % processes].run(item, items, at) or {})
            n += 1
    return out, values


def some_graph(rng, n):
    """A graph of random tasks over integers."""
    dsk = {}
    for i in range(n):
        before = rng.sample(sorted(dsk), min(len(dsk), rng.choice((0, 1, 1, 2, 3))))
        kind = rng.random()
        if kind < 0.1 or not before:
            dsk[i] = DataNode(i, rng.randrange(100)) if kind < 0.05 else Task(i, abs, -i)
        elif kind < 0.2:
            dsk[i] = Alias(i, before[0])
        elif kind < 0.4:
            dsk[i] = Task(i, sum, List(*(TaskRef(k) for k in before), 3))
        elif kind < 0.5:
            dsk[i] = Task(i, pow, TaskRef(before[0]), Task(None, operator.mod, TaskRef(before[-1]), 3), mod=97)
        elif kind < 0.6:
            dsk[i] = Task(i, lambda a, b: a - b, TaskRef(before[0]), b=TaskRef(before[-1]))
        else:
            dsk[i] = Task(i, lambda *args: (sum(args) * 31 + i) % 1009, *(TaskRef(k) for k in before))
    return dsk


def once(rng):
    """Loses some values, each once."""
    lost = set()

    def lose(where):
        if where in lost or rng.random() > 0.2:
            return False
        lost.add(where)
        return True

    return lose


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_graphs(seed, tmp_path, monkeypatch):
    """What units give is what dask gives, for any number of slots, and where some values are lost once or again."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(seed)
    dsk = some_graph(rng, rng.choice((1, 5, 40, 300)))
    keys = rng.sample(sorted(dsk), min(len(dsk), rng.randrange(1, 6)))
    want = get_sync(dict(dsk), keys)
    nodes, wanted = needed(dsk, keys)
    graph = Graph(nodes, wanted, rng.choice((1, 1, 2, 50)))
    if seed % 2:
        monkeypatch.setattr(_graphsend, "MAX_BATCH", 2000)
    out, _ = run(graph, tmp_path, once(rng) if seed % 3 else None)
    for key in wanted:
        if graph.real(key) not in graph.home:
            out[key] = nodes[graph.real(key)].value
    assert nested(keys, out) == want


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_random_graphs_that_are_persisted_and_fail_in_part(seed, tmp_path, monkeypatch):
    """Each key has what dask gives for it alone, which may be an exception, however tasks are cut into units."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(seed)
    dsk = some_graph(rng, rng.choice((5, 40, 100)))

    def fails(key, *_):
        raise KeyError(key)

    for key in rng.sample(sorted(dsk), max(len(dsk) // 30, 1)):
        dsk[key] = Task(key, fails, key, *(TaskRef(k) for k in dsk[key].dependencies))
    nodes, wanted = needed(dsk, rng.sample(sorted(dsk), len(dsk) // 2))
    graph = Graph(nodes, wanted, rng.choice((1, 2, 50)), keep=True)
    out, values = run(graph, tmp_path, once(rng) if seed % 2 else None)
    values.lose = lambda where: False
    reader = _graphrun.Process()
    reader.daemon = values
    for key in wanted:
        if graph.real(key) not in graph.home:
            continue
        slot, _, size = out[key]
        try:
            want = get_sync(dict(dsk), key)
        except KeyError as e:
            error = _receiver.remade(*pickle.loads(size))
            assert isinstance(error, KeyError) and error.__notes__ == [f"in the task {error.args[0]!r}"]
            assert len(e.args) == 1 and dsk[error.args[0]].func is fails
            continue
        assert isinstance(size, int)
        where = graph.home[graph.real(key)] + 1, slot
        if where[0] in values.kept:
            assert reader.take([where], (), 0) == [want]


class Jobs:
    """A node's stores, by jobs, of which one is that of its processes."""

    def __init__(self, own, **jobs):
        self._own, self._jobs = own, jobs

    def ask(self, frame):
        job = frame.pop("job", self._own)
        if job not in self._jobs:
            raise _graphrun.Over(f"no job {job}")
        return self._jobs[job].ask(frame)


def test_values_of_an_earlier_graph(tmp_path, monkeypatch):
    """What is persisted is taken by units of another job. Where it is lost, it is made again for its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DTPNODE_NODE", "here")
    chain = {"a": Task("a", operator.add, 1, 2), "b": Task("b", operator.neg, TaskRef("a"))}
    two = {**chain, "x": Task("x", operator.mul, TaskRef("b"), 100), "y": Alias("y", "x")}
    earlier = Graph(two, ["b", "y"], 1, keep=True)
    blobs = appends(earlier)
    told = {}
    first = Values([blob(tmp_path / "earlier", *blobs)])
    process = _graphrun.Process()
    process.daemon = first
    for at, item in enumerate(blobs[0]):
        told.update(process.run(item, blobs[0], at) or {})
    assert told.keys() == {"b", "y"} and all(node == "here" and size > 0 for _, node, size in told.values())
    numbers = {key: earlier.home[earlier.real(key)] + 1 for key in told}
    stored = {key: _stored.Stored("one", numbers[key], slot, key) for key, (slot, _, _) in told.items()}

    nodes = {key: Task(key, _graphrun.persisted, s) for key, s in stored.items()}
    nodes["c"] = Task("c", operator.sub, TaskRef("b"), TaskRef("y"))
    nodes["inner"] = Task("inner", operator.add, Task(None, _graphrun.persisted, stored["b"]), 1)
    nodes["fused"] = Task.fuse(nodes["b"], Task("plus", operator.add, TaskRef("b"), 5), key="fused")
    nodes, found = dtpnode.dask.taken(nodes, ["y"])
    assert found.keys() == {"b", *map(dtpnode.dask.name_of, stored.values())}
    later = Graph(nodes, ["c", "y", "fused"], 1, {"c": 1 << 30, "y": 1 << 30}, found)
    assert len(later.units) > 1, "those of which much is taken have units of their own"
    items, = appends(later, "two")
    for lost in (False, True):
        if lost:
            first.kept.clear()
            first.keeps.clear()
        second, out = Values([blob(tmp_path / "later", items)]), {}
        process = _graphrun.Process()
        process.daemon, process.pid = Jobs("two", one=first, two=second), f"later-{lost}"
        for at, item in enumerate(items):
            out.update(process.run(item, items, at) or {})
        assert out == {"c": 297, "y": -300, "fused": 2}
        assert set(first.keeps) == set(numbers.values())
    process = _graphrun.Process()
    process.daemon, process.pid = Jobs("two", two=second), "last"
    monkeypatch.setattr(_graphrun, "PAUSE", 0)
    with pytest.raises(RuntimeError, match="what was persisted is gone: the job one.*persist it again"):
        process.run(items[1], items, 1)
    own, = appends(Graph(nodes, ["c"], 1, None, found), "one")
    assert struct.unpack_from("<IQ", own[1]) == (1, numbers["b"]), "units of its own job are named"


def test_waves():
    """Chains with one input run beside each other, also those that are cut off from the segment that they begin in."""
    dsk = {"in": Task("in", abs, -1)}
    for c in range(500):
        dsk[c, 0] = Task((c, 0), abs, TaskRef("in"))
        for i in range(1, 10):
            dsk[c, i] = Task((c, i), operator.add, TaskRef((c, i - 1)), 1)
    graph = Graph(dsk, [(c, 9) for c in range(500)], 1)
    assert len(graph.units) > 10
    assert all(source == 0 for unit in graph.units for source, _ in unit.imports.values())


def test_tree_of_tasks():
    """A large tree is cut into few units, and most of them take nothing."""
    dsk, level = {}, []
    for i in range(20_000):
        dsk["leaf", i] = Task(("leaf", i), int)
        level.append(("leaf", i))
    depth = 0
    while len(level) > 1:
        depth += 1
        for j in range(0, len(level), 8):
            dsk[depth, j // 8] = Task((depth, j // 8), sum, List(*map(TaskRef, level[j : j + 8])))
        level = [(depth, j) for j in range((len(level) + 7) // 8)]
    graph = Graph(dsk, level, 1)
    assert len(graph.units) < 3 * len(dsk) / MOST
    assert sum(len(unit.tasks) for unit in graph.units if not unit.imports) > 0.95 * len(graph.order)
    assert len(graph.order) == len(dsk)


def test_what_is_wrong_with_a_graph():
    with pytest.raises(dtpnode.Error, match="lacks 'b', which 'a' takes"):
        Graph({"a": Task("a", abs, TaskRef("b"))}, ["a"], 1)
    with pytest.raises(dtpnode.Error, match="lacks 'a', which is asked for"):
        Graph({}, ["a"], 1)
    with pytest.raises(dtpnode.Error, match="cycle"):
        Graph({"a": Task("a", abs, TaskRef("b")), "b": Task("b", abs, TaskRef("a"))}, ["a"], 1)
    with pytest.raises(dtpnode.Error, match="stand for each other"):
        Graph({"a": Alias("a", "b"), "b": Alias("b", "a")}, ["a"], 1)


def test_values(tmp_path):
    """Values are read as they were written, and what is large in them is not copied into a pickle."""
    pack = _graphrun.Pack(str(tmp_path), "pack")
    array, small = np.arange(100_000.0), [1, "two", b"three", np.arange(3)]
    wheres = [pack.write(_graphrun.parts_of(v)) for v in (array, small, None, {"a": array, "b": array[::2]})]
    assert all(at % _graphrun.ALIGNED == 0 for at, _, _ in wheres)
    read = [_graphrun.read(pack.path, at, size) for at, size, _ in wheres]
    assert np.array_equal(read[0], array) and np.array_equal(read[3]["b"], array[::2])
    assert read[1][:3] == small[:3] and read[2] is None
    read[0][0] = 7  # into a copy of its page
    assert _graphrun.read(pack.path, *wheres[0][:2])[0] == 0
    error = _graphrun.read(pack.path, *pack.write(_graphrun.parts_of(_graphrun.Raised(KeyError("x")).sent(), 1))[:2])
    assert isinstance(error, _graphrun.Raised) and isinstance(error.error, KeyError)
    sent = _graphrun.Raised.of(b"no pickle", "Odd: salt and pepper").sent()  # of a class that cannot be made here
    error = _graphrun.read(pack.path, *pack.write(_graphrun.parts_of(sent, 1))[:2]).error
    assert str(error) == "Odd: salt and pepper" and _graphrun.Raised(error).sent() == sent
    pack.close()


@pytest.mark.parametrize(
    "gone, again", [("c", "c"), ("ca", "c"), ("cba", "cba"), ("d", "d"), ("dcb", "dcb"), ("b", "")]
)
def test_lost_values_are_made_again_as_far_as_needed(gone, again, tmp_path, monkeypatch):
    """Also where their units are in another append."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ran").mkdir()

    def ran(key, *values):
        with open(tmp_path / "ran" / key, "a") as f:
            f.write("x")
        return sum(values, 1)

    dsk = {"a": Task("a", ran, "a"), "b": Task("b", ran, "b", TaskRef("a")), "other": Task("other", ran, "other")}
    dsk["c"] = Task("c", ran, "c", TaskRef("b"))
    dsk["c2"] = Task("c2", ran, "c2", TaskRef("b"), TaskRef("a"))
    dsk["d"] = Task("d", ran, "d", TaskRef("c"), TaskRef("c2"), TaskRef("other"))
    dsk["e"] = Task("e", ran, "e", TaskRef("d"), TaskRef("c"))
    graph = Graph(dsk, ["e"], 1)
    monkeypatch.setattr(_graphsend, "MAX_BATCH", 200)
    blobs = appends(graph)
    assert len(blobs) > 1 and len(graph.units) == len(dsk)
    values = Values([blob(tmp_path / f"blob{i}", items) for i, items in enumerate(blobs)])
    numbers, n = {}, 0
    for items in blobs:
        for at, item in enumerate(items):
            process = _graphrun.Process()
            process.daemon, process.pid = values, n
            if at:
                numbers[graph.units[len(numbers)].tasks[0]] = n
            if at and len(numbers) == len(dsk):
                for key in gone:
                    del values.kept[numbers[key]]
            out = process.run(item, items, at)
            n += 1
    assert out == {"e": 13}
    assert {key for key in dsk if (tmp_path / "ran" / key).read_text() != "x"} == set(again)


def test_values_that_are_removed_while_others_are_made_again(tmp_path, monkeypatch):
    """A node may remove what is made again as soon as it was read once, as nobody but who makes it waits for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_graphrun, "RECENT", 0)
    dsk = {"a": Task("a", abs, -1), "other": Task("other", abs, -7)}
    for key in ("b", "c"):
        dsk[key] = Task(key, operator.add, TaskRef("a"), TaskRef("other"))
    dsk["d"] = Task("d", operator.mul, TaskRef("b"), TaskRef("c"))
    graph = Graph(dsk, ["d"], 1)
    items, = appends(graph)
    values = Values([blob(tmp_path / "blob", items)])
    process = _graphrun.Process()
    process.daemon = values
    for at, item in enumerate(items[:-1]):
        process.run(item, items, at)
    values.kept.clear()
    get = values._get

    def once(unit, slot):
        found = get(unit, slot)
        values.kept.pop(unit, None)
        return found

    monkeypatch.setattr(values, "_get", once)
    assert process.run(items[-1], items, len(items) - 1) == {"d": 64}


class Frozen(Exception):
    """It takes no note."""

    def add_note(self, note):
        raise AttributeError("it is frozen")


def too_large():
    raise MemoryError("of a task")


def frozen():
    raise Frozen


@pytest.mark.parametrize(
    "task, kind",
    [((operator.truediv, 1, 0), ZeroDivisionError), ((too_large,), MemoryError), ((frozen,), Frozen)],
    ids=["division", "memory", "no notes"],
)
def test_exceptions_go_on_to_what_takes_them(task, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dsk = {"a": Task("a", *task), "x": Task("x", abs, -1)}
    dsk["b"] = Task("b", operator.add, TaskRef("a"), TaskRef("x"))
    dsk["c"] = Task("c", operator.add, TaskRef("b"), TaskRef("x"))
    graph = Graph(dsk, ["c"], 1)
    items = appends(graph)[0]
    values, process = Values(), _graphrun.Process()
    process.daemon = values
    raised = []
    for at, item in enumerate(items):
        try:
            process.run(item, items, at)
        except kind as e:
            raised.append(e)
    assert len(raised) == len([u for u in graph.units if u.tasks != ["x"]]) >= 2
    assert len(values.kept) == len(graph.units) - 1  # of all units but the one that is asked for
    for e in raised:
        assert kind is Frozen or e.__notes__ == ["in the task 'a'"]


def test_memory_for_values(tmp_path, monkeypatch):
    """It is not the task that has raised where there is no memory to keep its value, and nobody takes it for that."""
    monkeypatch.chdir(tmp_path)
    dsk = {"a": Task("a", abs, -1), "b": Task("b", abs, TaskRef("a")), "c": Task("c", abs, TaskRef("a"))}
    items = appends(Graph(dsk, ["b", "c"], 1))[0]
    values, process = Values(), _graphrun.Process()
    process.daemon = values

    def lacks(value, kind=0):
        raise MemoryError

    # Code that comes by value brings functions of its own, also in this process, into classes that are there already.
    monkeypatch.setitem(_graphrun.Run._parts.__globals__, "parts_of", lacks)
    with pytest.raises(MemoryError, match="for the values of tasks"):
        for at, item in enumerate(items):
            process.run(item, items, at)
    assert not values.kept


def test_socket(tmp_path, monkeypatch):
    """The daemon is asked over a socket, anew where the connection has broken off, and told what it refuses."""
    monkeypatch.chdir(tmp_path)
    server = socket.socket(socket.AF_UNIX)
    server.bind("values")
    server.listen()

    def serve():
        for answer in ({"op": "kept"}, None, {"op": "failed", "why": "no room"}):
            conn, _ = server.accept()
            with conn, conn.makefile("rb") as f:
                while answer is not None:
                    size = f.read(4)
                    if not size:
                        break
                    asked.append(msgpack.unpackb(f.read(struct.unpack(">I", size)[0])))
                    body = msgpack.packb(answer)
                    conn.sendall(struct.pack(">I", len(body)) + body)
                    if len(asked) == 1:
                        break

    asked = []
    thread = threading.Thread(target=serve)
    thread.start()
    daemon = _graphrun.Daemon(str(tmp_path / "values"))
    assert daemon.ask({"op": "keep"}) == {"op": "kept"}
    with pytest.raises(_graphrun.Unread, match="does not answer"):
        daemon.ask({"op": "get"})
    with pytest.raises(_graphrun.Unread, match="no room"):
        daemon.ask({"op": "get", "want": []})
    daemon._socket.close()
    thread.join()
    server.close()


def test_what_runs_on_nodes_does_without_the_package():
    """Nodes have dask, and need not have this."""
    names = ("unit", "show", "unpicklable", "joined")
    code = _pickles.by_value({name: getattr(_graphrun, name) for name in names})
    items = appends(Graph({"a": Task("a", abs, -7)}, ["a"], 1))[0]
    script = (
        "import pickle, sys\n"
        "sys.modules['dtpnode'] = None\n"
        "code, items = pickle.load(sys.stdin.buffer)\n"
        "code = pickle.loads(code)\n"
        "print(code['unit'](items[1], items, 1), code['show'](items[1], items, 1))\n"
        "print(code['unpicklable']({'k': (i for i in ())}, ''))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps((code, list(items))), capture_output=True, check=True
    )
    assert done.stdout.decode().splitlines()[0] == "{'a': 7} the task 'a'"
    assert "the value of the task 'k', a generator" in done.stdout.decode()


def test_shared(tmp_path):
    """What many tasks have is written once, as functions are, and a constant of the graph."""
    text = "x" * 1000
    def f(a, b):
        return len(text) + len(a) + b
    data = list(range(1000))
    dsk = {"data": DataNode("data", data)}
    for i in range(100):
        dsk[i] = Task(i, f, TaskRef("data") if i % 2 else data, i)
    graph = Graph(dsk, list(range(100)), 50)
    assert len(graph.units) == 100
    items, = appends(graph)
    assert len(items[0]) > 1000 + 2000 and max(map(len, items[1:])) < 300
    process = _graphrun.Process()
    assert process.run(items[7], items, 7) == {6: 2006}
    assert len(process.shared._things) == 1, "the function is there for other units, and the list for this one alone"


def test_each_unit_has_its_own(tmp_path):
    """What tasks change of their constants no other unit sees, nor the same one when it runs again."""
    data = list(range(1000))
    dsk = {"data": DataNode("data", data)}

    def change(a, i):
        a.append(i)
        return len(a)

    for i in range(4):
        dsk[i] = Task(i, change, TaskRef("data"), i)
    items, = appends(Graph(dsk, list(range(4)), 50))
    process = _graphrun.Process()
    for at in (1, 2, 2, 3, 4, 1):
        assert process.run(items[at], items, at) == {at - 1: 1001}


class Counts:
    """What has a state of its own."""

    def __init__(self):
        self.n = 0


def _around(value):
    return lambda: value


@pytest.mark.parametrize(("thing", "code"), [
    (len, True), (Counts, True), (_around, True), (_around(3), True), (_around((len, "x")), True), (_around([]), False),
    (_around(_around({})), False), (Counts().__init__, False), ([].append, False), (partial(max, 3), True),
    (partial(max, []), False), (partial(_around([])), False), (Counts(), False), ({}, False), ((1, [2]), False),
    (lambda a=[]: a, False), (lambda *, a=None: a, True), (os, True),
])
def test_is_code(thing, code):
    assert _graphsend.is_code(thing) is code
