"""remote_map: outcomes as they come, on the nodes that have run the same before; and redis-htcondor's Manager on it."""

import collections
import os
import pickle
import re
import sqlite3
import sys
import threading
import time
import warnings

import awkward
import numpy
import pytest
import uproot
from far import Far

import dtpnode
from dtpnode import _affinity, _map
from dtpnode._affinity import Affinity, Near, Ran
from dtpnode._collected import collected
from dtpnode._imports import imported_by
from dtpnode._progress import Bar
from dtpnode.compat.redis_htcondor import Manager, Worker, get_worker, plotting, utils

LIMIT = 900
FILES, ENTRIES, CHUNK = 3, 4000, 500


@pytest.fixture(scope="module")
def three(cache):
    with dtpnode.LocalCluster(nodes=3, slots=1, args=["--cache", cache]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client_of_three(three):
    with three.client() as client:  # one for all, whose nodes are made ready once
        list(client.remote_map(ready, range(3), progress=False))
        yield client


@pytest.fixture
def manager(client_of_three):
    manager = Manager(client_of_three)
    yield manager
    manager.close()


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """NanoAOD-like files in a store that is far away."""
    folder = tmp_path_factory.mktemp("far")
    rng = numpy.random.default_rng(1)
    for i in range(FILES):
        counts = rng.poisson(2, ENTRIES)
        pt = awkward.unflatten(rng.exponential(20, counts.sum()).astype("float32"), counts)
        with uproot.recreate(folder / f"nano_{i}.root") as f:
            f.mktree("Events", {"Muon": "var * {pt: float32, eta: float32}"})
            f["Events"].extend({"Muon": awkward.zip({"pt": pt, "eta": pt / 20})})
    far = Far(folder, 0.05)
    yield far
    far.close()


@pytest.fixture(scope="module")
def chunks(far):
    chunks, nevents = utils.get_chunking([far.url(f"nano_{i}.root") for i in range(FILES)], CHUNK)
    assert len(chunks) == FILES * ENTRIES // CHUNK and nevents == FILES * ENTRIES
    return chunks


def sum_pt(chunk):
    import uproot

    name, first, last = chunk
    cache = get_worker().cache
    muons = cache.get(chunk)
    if muons is None:
        with uproot.open(name) as f:
            muons = f["Events"].arrays(["Muon_pt", "Muon_eta"], entry_start=first, entry_stop=last)
        cache[chunk] = muons
    return first, float(muons["Muon_pt"].layout.content.data.sum())


def nodes_of(results):
    return {r["args"]: r["worker_name"] for r in results}


def values_of(results):
    return sorted((r["args"], r["result"]) for r in results)


def ready(n):
    import time

    import uproot  # noqa: F401  # so that the nodes are made ready for what imports it

    time.sleep(0.02)
    return n


def test_affinity(three, manager, far, chunks):
    """The same chunks go to the nodes that have them in their caches: for the same client and for another, after whom
    the store is hardly asked. When a node dies its chunks run elsewhere, and all results are the same."""
    while len(set(nodes_of(manager.remote_map(ready, range(30), progress_bar=False)).values())) < 3:
        pass  # until all nodes take part
    far.take()
    first = manager.remote_map(sum_pt, chunks, progress_bar=False)
    asked = far.take()
    assert asked >= len(chunks)
    assert [r["result"] for r in first if isinstance(r["result"], str)] == []
    assert len(set(nodes_of(first).values())) == 3, "all nodes take part"
    again = manager.remote_map(sum_pt, chunks, progress_bar=False)
    moved = far.take()
    assert values_of(again) == values_of(first)
    # As many times fewer requests as it was faster there: 6.7.
    assert moved * 6.7 <= asked
    with three.client() as other:
        later = Manager(other).remote_map(sum_pt, chunks, progress_bar=False)
        assert values_of(later) == values_of(first)
        assert far.take() * 2 <= asked, "nodes that are still being made ready are waited for"
    dead = next(d for d in three._processes.daemons[1:])
    dead.process.kill()
    dead.process.wait()
    rest = manager.remote_map(sum_pt, chunks, progress_bar=False)
    assert values_of(rest) == values_of(first)
    assert not any("__local-1__" in name for name in nodes_of(rest).values())
    dead.launch()
    dead.wait_ready()


def uproot_sum(chunk, cache=None):
    import uproot

    name, first, last = chunk
    with uproot.open(name, array_cache=cache) as f:
        return float(f["Events/Muon_pt"].array(entry_start=first, entry_stop=last).layout.content.data.sum())


def test_array_cache_of_uproot(manager, far, chunks):
    """uproot takes the cache as its array_cache: what is opened again is not read again."""
    some = chunks[:: ENTRIES // CHUNK]
    one = manager.remote_map(uproot_sum, some, progress_bar=False)
    asked = far.take()
    for _ in range(2):
        more = manager.remote_map(uproot_sum, some, worker_names=[one[0]["worker_name"]], progress_bar=False)
        assert values_of(more) == values_of(one)
    there = far.take()
    more = manager.remote_map(uproot_sum, some, worker_names=[one[0]["worker_name"]], progress_bar=False)
    assert values_of(more) == values_of(one)
    assert far.take() < asked and there


def tree_sum(chunk):
    name, first, last = chunk
    tree = get_worker().tree(name)
    return float(tree["Muon_pt"].array(entry_start=first, entry_stop=last).layout.content.data.sum())


def test_trees(manager, far, chunks, tmp_path):
    """A tree that a node has opened is opened again without a question, and its arrays are not read again; one that was
    written anew is another."""
    some = chunks[:: ENTRIES // CHUNK]
    one = manager.remote_map(tree_sum, some, progress_bar=False)
    assert [r["result"] for r in one if not isinstance(r["result"], float)] == []
    names = [one[0]["worker_name"]]
    manager.remote_map(tree_sum, some, worker_names=names, progress_bar=False)
    far.take()
    more = manager.remote_map(tree_sum, some, worker_names=names, progress_bar=False)
    assert values_of(more) == values_of(one) and far.take() == 0
    for n in 3, 5:
        with uproot.recreate(tmp_path / "a.root") as f:
            f.mktree("Events", {"x": "int32"}).extend({"x": numpy.arange(n, dtype="int32")})
        for _ in range(2):
            assert len(get_worker().tree(str(tmp_path / "a.root"))["x"].array()) == n


def test_outcomes(client):
    """Outcomes come as they are ready, with values, exceptions and where they are from."""
    def work(n):
        import os

        if n == 3:
            raise ValueError("three")
        if n == 4:
            os._exit(1)
        return {"n": n, "name": dtpnode.get_worker().name, "read": len(open("/proc/self/stat", "rb").read())}

    before = time.time()
    outcomes = client.remote_map(work, range(6), progress=False)
    assert len(outcomes) == 6
    found = {o.index: o for o in outcomes}
    assert sorted(found) == list(range(6))
    for n in 0, 1, 2, 5:
        o = found[n]
        assert o.item == n and o.result()["n"] == n and o.error is None and o.traceback == ""
        assert o.node and o.worker == o.value["name"] == f"{dtpnode._worker.user()}__{o.node_name}__{o.worker[-1]}"
        assert before <= o.start <= o.stop <= time.time()
        assert o.read_bytes >= o.value["read"]
    three = found[3]
    assert isinstance(three.error, ValueError) and three.node
    assert 'raise ValueError("three")' in three.traceback and "_here.py" not in three.traceback
    with pytest.raises(ValueError, match="three") as e:
        three.result()
    assert 'raise ValueError("three")' in str(e.value.__cause__)
    assert isinstance(found[4].error, dtpnode.ItemLost) and not found[4].worker


def generates(item):
    return (i for i in item)


def holds(item):
    return {"a": [threading.Lock()]}


def aborts(item):
    os.abort()


def test_results_that_have_no_pickle(client):
    """What is in the way is named as the user has it, and where the call has run is known."""
    for function, why in (generates, "the result, a generator: "), (holds, "the result['a'][0], a _thread.lock: "):
        (outcome,) = client.remote_map(function, ["k"], progress=False)
        assert isinstance(outcome.error, pickle.PicklingError)
        assert why in str(outcome.error) and why in outcome.traceback
        assert outcome.node and outcome.node_name == "local-0" and outcome.worker.endswith(tuple("0123456789"))
        assert 0 < outcome.start <= outcome.stop and outcome.value is None


def test_numbers_of_items_in_errors(client):
    """They are the user's own, also where the session has run others before."""
    list(client.remote_map(abs, range(9), progress=False))
    (outcome,) = client.remote_map(aborts, ["k"], progress=False)
    with pytest.raises(dtpnode.ItemLost, match=r"^item 0, aborts\('k'\): .*SIGABRT"):
        outcome.result()
    for items in [[0], threading.Lock()], iter([[0], threading.Lock()]):
        with pytest.raises(dtpnode.Unpicklable, match=r"the call of the item 1: args\[0\], a _thread.lock"):
            list(client.remote_map(len, items, progress=False))
    many = dtpnode.ItemLost("items 1,009 to 1,011, which begin with f(1): killed")
    assert _map.of_item(many, 10).message == "item 10 and others, which begin with f(1): killed"


def test_outcomes_are_lazy(client, monkeypatch):
    """Items may be without end, and what has no outcome is cancelled when the iterator is dropped."""
    monkeypatch.setattr(_map, "AHEAD", 2_000)
    taken = []

    def endless():
        n = 0
        while True:
            taken.append(n)
            yield n
            n += 1

    outcomes = client.remote_map(abs, endless(), progress=False)
    got = [next(outcomes).value for _ in range(50)]
    assert len(set(got)) == 50
    with pytest.raises(TypeError, match="how many"):
        len(outcomes)
    session = outcomes._map._executor._session
    outcomes.close()
    with pytest.raises(StopIteration):
        next(outcomes)
    n = len(taken)
    assert n <= 2_100 and session.closed
    assert [o.value for o in client.remote_map(abs, [-1], progress=False)] == [1], "another map goes on"
    assert list(client.remote_map(abs, [], progress=False)) == []


def test_a_loop_is_left(client, monkeypatch):
    """A loop over outcomes that is left early ends its map: items that have not run are cancelled."""
    begun = []
    begin = _map.Running._begin
    monkeypatch.setattr(_map.Running, "_begin", lambda running: (begun.append(running), begin(running)))
    for items in range(3_000), iter(range(3_000)):
        for outcome in client.remote_map(slowly, items, progress=False):
            assert outcome.value is None
            break
        collected.join()
        running = begun.pop()
        assert running.over and running._executor._session.closed


def slowly(_item):
    time.sleep(0.02)


def late(gate, more=()):
    """Ten numbers, and others when a gate opens."""
    yield from range(10)
    assert gate.wait(60.0), "it was waited for"
    yield from more


def test_arguments_that_make_no_map(client, monkeypatch):
    """What is no iterable, and nodes that there are not, are refused, and nothing is left to be cleaned up."""
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    for items in 3, None:
        with pytest.raises(TypeError, match="not iterable"):
            client.remote_map(abs, items, progress=False)
    for nodes in [], "local-0":
        with pytest.raises(ValueError, match="a list of at least one node's id"):
            client.remote_map(abs, [-1], nodes=nodes, progress=False)
    own = client.control.call("GET", "/v1/members")[0]["id"]
    with pytest.raises(dtpnode.Error, match=f"(?s)no member of the cluster: 'nosuch'.*{own}"):
        client.remote_map(abs, [-1], nodes=[own, "nosuch"], progress=False)
    assert [o.value for o in client.remote_map(abs, [-1], nodes=[own], progress=False)] == [1]
    assert ignored == []


@pytest.mark.parametrize("kind", [list, numpy.array])
def test_items_that_are_changed_meanwhile(client_of_three, kind, monkeypatch):
    """Items are those that there were as remote_map was called, though not all are sent at once."""
    monkeypatch.setattr(_map, "AHEAD", 10)
    monkeypatch.setattr(_map, "PART", 10)
    items = kind(range(50))
    outcomes = client_of_three.remote_map(int, items, progress=False)
    for i in range(50):
        items[i] = 0
    assert sorted(outcome.value for outcome in outcomes) == list(range(50))


def test_slow_items(client, manager):
    """What has come of items that are slow runs, and has its outcome, while the next one is waited for; what they raise
    comes behind all outcomes."""
    gate = threading.Event()
    outcomes = client.remote_map(abs, late(gate, (1 // (12 - n) for n in range(10, 20))), progress=False)
    assert sorted(next(outcomes).value for _ in range(10)) == list(range(10))
    gate.set()
    assert sorted(next(outcomes).value for _ in range(2)) == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(outcomes)
    assert list(outcomes) == []
    gate.clear()
    results = manager.remote_map(abs, late(gate, [10]), return_metadata=False, blocking=False, progress_bar=False)
    assert sorted(next(results) for _ in range(10)) == list(range(10))
    gate.set()
    assert list(results) == [10]
    with pytest.raises(dtpnode.Unpicklable):
        list(client.remote_map(abs, iter([1, threading.Lock()]), progress=False))
    assert [o.value for o in client.remote_map(lambda f: f(), [lambda: 7], progress=False)] == [7]
    outcomes = client.remote_map(abs, late(gate), progress=False)
    next(outcomes)
    outcomes._map._executor.shutdown(wait=False)
    assert len(list(outcomes)) == 9


def test_executor_is_used_again(client):
    """The nodes need not be made ready for each map, unless it imports more, and two at a time do not meet."""
    names = []
    for _ in range(2):
        one = client.remote_map(abs, [-1, -2], progress=False)
        names.append(one._map._executor.name)
        assert sorted(o.value for o in one) == [1, 2]
    assert names[0] == names[1]
    one, two = (client.remote_map(abs, [-1], progress=False) for _ in range(2))
    assert one._map._executor is not two._map._executor
    assert [o.value for o in two] == [1] == [o.value for o in one]
    with pytest.raises(dtpnode.Unpicklable):
        client.remote_map(lambda x, lock=__import__("threading").Lock(): x, [1], progress=False)
    assert [o.value for o in client.remote_map(abs, [-3], progress=False)] == [3]


def test_bar(capsys):
    """In a log there is a line at the end, for those who want one, and nothing on standard output."""
    for wanted, line in (True, r"title: 2 of 3 items in \d+\.\d s, [\d,.]+ items/s\n"), (None, ""), (False, ""):
        bar = Bar("title", wanted)
        bar.start(3)
        bar.advance()
        bar.advance()
        bar.stop()
        bar.stop()
        out, err = capsys.readouterr()
        assert out == "" and re.fullmatch(line, err), err


def test_imports_of_functions():
    def inner(x):
        import xml.dom

        import uproot.behaviors

        return xml.dom, uproot.behaviors, x

    def outer(x):
        from json import decoder  # noqa: F401

        return inner(x), numpy.sum(x), dtpnode

    assert imported_by(outer) == {"numpy", "uproot.behaviors", "awkward", "fsspec.implementations.http"}
    assert imported_by(len) == set()


def test_table(tmp_path, monkeypatch):
    """What is remembered is bounded, shared by processes, and survives its file's damage as nothing."""
    table = Affinity(tmp_path)
    table.note([Ran(b"a", "one", 2.0), Ran(b"b", "two", 0.001)])
    assert table.near([b"a", b"b", b"c"]) == {b"a": Near("one", 2.0)}
    table.note([Ran(b"a", "two", 1.0)])
    assert Affinity(tmp_path).near([b"a"]) == {b"a": Near("two", 1.8)}
    monkeypatch.setattr(_affinity, "ITEMS", 1000)
    for first in range(0, 2000, 100):
        table.note([Ran(b"%d" % i, "one", 1.0) for i in range(first, first + 100)])
    with sqlite3.connect(tmp_path / "affinity.sqlite") as t:
        assert t.execute("SELECT count(*) FROM ran").fetchone()[0] <= 1000
    assert table.near([b"1999"]) and not table.near([b"a"])
    for name in os.listdir(tmp_path):
        (tmp_path / name).write_bytes(b"no table" * 1000)
    assert table.near([b"a"]) == {}
    table.note([Ran(b"a", "one", 2.0)])
    table.note([Ran(b"a", "one", 2.0)])
    assert table.near([b"a"]) == {b"a": Near("one", 2.0)}


def test_manager(manager):
    """What a notebook of redis-htcondor's users touches."""
    assert "3 workers on 3 nodes" in repr(manager)
    squares = manager.remote_map(lambda x: x**2, range(10), return_metadata=False, progress_bar=False)
    assert sorted(squares) == [x**2 for x in range(10)]
    results = manager.remote_map(lambda x: 1 // x, [0, 1], progress_bar=False)
    assert set(results[0]) >= {
        "task_id", "job_num", "worker_name", "args", "tstart", "tstop", "read_bytes", "write_bytes", "result",
    }
    by = {r["args"]: r["result"] for r in results}
    assert by[1] == 1 and by[0].startswith("Traceback") and "ZeroDivisionError" in by[0]
    assert manager.remote_results == results and results[0]["job_num"] == 1
    assert manager.local_map(lambda x: (x, get_worker().cache is not None), [1, 2], progress_bar=False) == [
        (1, True), (2, True)
    ]
    gen = manager.remote_map(abs, [-1, -2, -3], blocking=False, return_metadata=False, progress_bar=False)
    assert iter(gen) is gen and sorted(gen) == [1, 2, 3]
    assert len(manager.remote_results) == 3
    gen = manager.remote_map(abs, [-1, -2, -3], blocking=False, progress_bar=False)
    next(gen)
    manager.clear_queues()
    assert list(gen) == []
    assert manager.get_broker_info()["name"] == "local-0"
    assert sorted(manager.remote_map(lambda x: get_worker().node and x, "ab", False, progress_bar=False)) == ["a", "b"]


def test_manager_frame(manager):
    frame = manager.get_worker_info()
    assert frame.index.name == "name" and len(frame) == 3
    assert list(frame.columns) == ["addr", "age", "id", "idle", "node"]
    results = manager.remote_map(lambda x: x, range(6), progress_bar=False)
    assert {r["worker_name"] for r in results} <= set(frame.index)
    frame = manager.get_worker_info(include_stats=True, min_delay=0.1)
    assert frame["worker_tasks"].sum() == 6
    told = frame[frame["node_dt"].notna()]
    assert len(told) >= 1 and (told["node_dt"] >= 0.1).all() and (told["worker_mem_used"] > 0).all()
    for column in "node_read_bytes", "node_write_bytes", "node_recv_bytes", "node_sent_bytes":
        assert (told[column] >= 0).all()
    name = frame.index[0]
    pinned = manager.remote_map(lambda x: x, range(6), worker_names=[name], progress_bar=False)
    assert collections.Counter(r["worker_name"] for r in pinned)[name] >= 5
    with pytest.raises(ValueError, match="no worker 'nobody'"):
        manager.remote_map(abs, [1], worker_names=["nobody"])


def test_reuse_and_shuffle(manager):
    chunks = [("f", i, i + 1) for i in range(12)]
    first = manager.remote_map(lambda c: c[1], chunks, progress_bar=False)
    again = manager.remote_map(lambda c: c[1], chunks[::-1], reuse_chunking=True, progress_bar=False)
    assert {r["args"]: r["task_id"] for r in again} == {c: i for i, c in enumerate(chunks[::-1])}
    same = sum(nodes_of(first)[c] == nodes_of(again)[c] for c in chunks)
    assert same >= 10
    doubled = [chunks[0], chunks[0], *chunks[2:]]
    twice = manager.remote_map(lambda c: c[1], doubled, reuse_chunking=True, progress_bar=False)
    assert sorted(r["result"] for r in twice) == [0, 0, *range(2, 12)]
    shuffled = manager.remote_map(lambda c: c[1], chunks, shuffle_chunks=True, progress_bar=False)
    assert sorted(r["result"] for r in shuffled) == list(range(12))
    assert [r["args"] for r in sorted(shuffled, key=lambda r: r["task_id"])] != chunks


def test_worker(cache):
    """A Worker is a node that joins by an invitation, and is gone when it ends."""
    with dtpnode.LocalCluster(nodes=1, slots=1, args=["--cache", cache]) as cluster, cluster.client() as client:
        invited = client.control.call("POST", "/v1/invites", {"rights": ["worker"], "ttl_seconds": 600})
        manager, worker = Manager(client), Worker(invited["token"], verbose=False)
        assert len(manager.get_worker_info()) == 1
        with worker.start():
            while len(manager.get_worker_info()) < 2:
                pass
            assert len(set(manager.get_worker_info()["id"])) == 2
        while len(manager.get_worker_info()) > 1:
            pass


def test_without_meaning(three):
    """What has no meaning here says so once, and goes on."""
    with three.client() as client:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(2):
                manager = Manager(client, qname_results="r")
                manager.stop_all_workers()
        assert [str(w.message).partition(":")[0] for w in said] == ["qname_results and qname_tasks", "stop_all_workers"]
        large = bytes(11 << 20)
        with pytest.raises(ValueError, match="skip_payload_check"):
            manager.remote_map(lambda x: len(large) + x, [1])
        assert manager.remote_map(
            lambda x: len(large) + x, [1], return_metadata=False, skip_payload_check=True, progress_bar=False
        ) == [(11 << 20) + 1]


def test_chunking(tmp_path):
    for name, n in ("a", 10), ("b", 0), ("c", 4):
        with uproot.recreate(tmp_path / f"{name}.root") as f:
            f.mktree("Events", {"x": "int32"}).extend({"x": numpy.arange(n, dtype="int32")})
    a, b, c, bad = (str(tmp_path / f"{n}.root") for n in ("a", "b", "c", "bad"))
    assert utils.get_chunking([a, b, c], 4) == ([(a, 0, 4), (a, 4, 8), (a, 8, 10), (c, 0, 4)], 14)
    assert utils.get_chunking(str(tmp_path / "*.root"), 100) == ([(a, 0, 10), (c, 0, 4)], 14)
    with open(bad, "wb") as f:
        f.write(b"no ROOT file")
    with pytest.raises(OSError, match="bad.root"):
        utils.get_chunking([a, bad], 4)
    with pytest.warns(UserWarning, match="bad.root"):
        assert utils.get_chunking([bad, c], 4, skip_bad_files=True) == ([(c, 0, 4)], 4)
    with pytest.raises(OSError, match="tree 'Other'"):
        utils.get_chunking([a], 4, treename="Other")
    with pytest.raises(FileNotFoundError):
        utils.get_chunking(str(tmp_path / "*.nothing"), 4)
    with pytest.raises(ValueError, match="chunksize"):
        utils.get_chunking([a], 0)


def test_plots():
    """Drawings show what they say, of none, of one and of many results."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = [
        {"worker_name": f"u__n__{i % 2}", "tstart": 100 + i // 2, "tstop": 100.5 + i // 2, "read_bytes": 10**9,
         "args": ("f", i * 10**6, (i + 1) * 10**6)} for i in range(20)
    ]
    ax = plotting.plot_timeflow(results)
    assert "50.0% busy" in ax.get_title() or "52.6% busy" in ax.get_title()
    assert "mean task 500.0 ms, mean time between 500.0 ms" in ax.get_title()
    assert len(ax.patches) == 20 and [t.get_text() for t in ax.get_yticklabels()] == ["u__n__0", "u__n__1"]
    _, own = pyplot.subplots()
    assert plotting.plot_cumulative_read(results, own) is own
    assert own.get_title() == "20 GB read in 9.50 s, 2.11 GB/s"
    assert own.get_legend().get_texts()[0].get_text() == "1.89 GB/s"
    assert plotting.plot_cumulative_events(results).get_title() == "20 Mevents processed in 9.50 s, 2.11 MHz"
    for plot in plotting.plot_timeflow, plotting.plot_cumulative_read, plotting.plot_cumulative_events:
        plot([])
        plot(results[:1])
    with pytest.raises(ValueError, match="file, first, last"):
        plotting.plot_cumulative_events([{**results[0], "args": 3}])
    pyplot.close("all")
