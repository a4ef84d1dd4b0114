"""dask's graphs on the pool give what they give in one process, whatever dies meanwhile."""

import operator
import os
import random
import re
import signal
import sys
import threading
import time
from pathlib import Path

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Task, TaskRef

import dtpnode
import dtpnode.dask
from dtpnode import _cluster, _receiver

from test_graph import some_graph


@pytest.fixture
def here(client):
    """The pool as dask's scheduler."""
    with dtpnode.dask.get(client):
        yield client


def frame(n=20_000):
    rng = np.random.default_rng(1)
    names = [f"n{i % 97}" for i in range(n)]
    return pd.DataFrame({"key": rng.integers(0, 50, n), "x": rng.normal(size=n), "name": names})


def test_delayed(here):
    inc, add = dask.delayed(lambda x: x + 1), dask.delayed(operator.add)
    leaves = [inc(i) for i in range(40)]
    while len(leaves) > 1:
        leaves = [add(a, b) for a, b in zip(leaves[::2], leaves[1::2])] + leaves[len(leaves) & ~1 :]
    total, = leaves
    assert total.compute() == sum(range(1, 41))
    assert dask.compute(total, {"twice": [inc(total)]}, 3) == (820, {"twice": [821]}, 3)


def test_bag(here):
    bag = db.from_sequence(range(1000), npartitions=7)
    assert bag.map(lambda x: x * x).filter(lambda x: x % 3 == 0).sum().compute() == sum(
        x * x for x in range(1000) if x * x % 3 == 0
    )
    assert dict(bag.map(lambda x: x % 5).frequencies().compute()) == dict.fromkeys(range(5), 200)
    groups = bag.groupby(lambda x: x % 3).map(lambda group: (group[0], len(group[1])))
    assert sorted(groups.compute()) == [(0, 334), (1, 333), (2, 333)]


def test_dataframe(here):
    df = frame()
    parts = dd.from_pandas(df, npartitions=6)
    got = parts.groupby("key").x.agg(["mean", "sum"]).compute().sort_index()
    pd.testing.assert_frame_equal(got, df.groupby("key").x.agg(["mean", "sum"]))
    other = pd.DataFrame({"key": range(50), "weight": np.arange(50) * 2.0})
    merged = parts.merge(dd.from_pandas(other, npartitions=3), on="key").weight.sum().compute()
    assert merged == pytest.approx(df.merge(other, on="key").weight.sum())
    shuffled = parts.shuffle("name").map_partitions(lambda part: part.groupby("name").x.count()).compute().sort_index()
    pd.testing.assert_series_equal(shuffled, df.groupby("name").x.count(), check_index_type=False)


def test_array(here):
    a = np.arange(10_000.0).reshape(100, 100)
    x = da.from_array(a, chunks=(30, 50))
    got, total = dask.compute((x @ x.T).mean(axis=0), x[::7].sum())
    np.testing.assert_allclose(got, (a @ a.T).mean(axis=0))
    assert total == a[::7].sum()


def test_parquet(here, tmp_path):
    frame().to_parquet(tmp_path / "a.parquet")
    frame().to_parquet(tmp_path / "b.parquet")
    read = dd.read_parquet(tmp_path)
    assert len(read) == 40_000
    assert read.x.sum().compute() == pytest.approx(2 * frame().x.sum())


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs(client, seed):
    rng = random.Random(seed)
    dsk = some_graph(rng, 120)
    keys = rng.sample(sorted(dsk), 4)
    assert client.get(dsk, keys) == dask.get(dict(dsk), keys)


def test_small_graphs(client):
    get = client.get
    assert get({"x": 1}, "x") == 1
    assert get({"x": (abs, -1)}, "x") == 1
    assert get({"x": (abs, -1), "y": "x"}, ["x", ["y", "x"], []]) == (1, (1, 1), ())
    assert get({"x": (print,)}, ["x"]) == (None,)
    assert get({}, []) == ()
    assert dask.compute(1, [2], scheduler=get) == (1, [2])
    assert dask.delayed(7).compute(scheduler=get) == 7
    with pytest.raises(dtpnode.Error, match="lacks 'z'"):
        get({"x": (abs, -1)}, ["z"])


def test_scheduler_of_the_configuration(client):
    with dask.config.set(scheduler=client.get):
        assert dask.delayed(abs)(-3).compute() == 3
    scheduler = dtpnode.dask.get(client)
    with scheduler, scheduler:
        assert dask.config.get("scheduler") is scheduler
    assert dask.config.get("scheduler", None) is None


def test_persisted(here):
    df = frame()
    kept = dd.from_pandas(df, npartitions=3).assign(y=lambda d: d.x * 2).persist()
    assert kept.y.sum().compute() == pytest.approx(2 * df.x.sum())


def test_exception(here):
    def fails(x):
        return {}[x]

    values = dask.delayed(operator.add)(dask.delayed(fails, name="broken")("k", dask_key_name="the-broken-one"), 1)
    with pytest.raises(KeyError, match="k") as caught:
        dask.compute(values, dask.delayed(abs)(-1))
    assert "in the task 'the-broken-one'" in caught.value.__notes__
    assert "return {}[x]" in str(caught.value.__cause__)
    assert "_graphrun" not in str(caught.value.__cause__)


def test_job_of_a_graph_that_has_failed_ends(here):
    with pytest.raises(ZeroDivisionError):
        dask.compute([dask.delayed(operator.truediv)(1, i % 7) for i in range(100)])
    job = last_job(here)
    deadline = time.monotonic() + 60
    while here.control.call("GET", f"/v1/jobs/{job['id']}")["state"] not in ("done", "cancelled", "failed", "partial"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def last_job(client):
    jobs = [job for job in client.control.call("GET", "/v1/jobs") if job["title"].startswith("dask graph")]
    return max(jobs, key=lambda job: job.get("submitted") or job.get("created") or "")


def test_crash(here):
    crashed = dask.delayed(os.abort)(dask_key_name="the-one-that-aborts")
    with pytest.raises(dtpnode.ItemLost) as caught:
        crashed.compute()
    assert "the-one-that-aborts" in caught.value.__notes__[0]


def test_what_cannot_travel(here):
    def numbers():
        yield 1

    made = dask.delayed(numbers)(dask_key_name="the-generator")
    with pytest.raises(Exception, match="the-generator.* a generator"):
        made.compute()
    with pytest.raises(Exception, match="the-generator.* a generator"):
        dask.compute([dask.delayed(list)(made), dask.delayed(tuple)(made)])
    assert dask.delayed(list)(made).compute() == [1], "a task hands it to the next one of its chain"
    with pytest.raises(dtpnode.Unpicklable, match="the-lock"):
        dask.delayed(str)(threading.Lock(), dask_key_name="the-lock").compute()
    with pytest.raises(dtpnode.TooLarge, match="the-large-one"):
        dask.delayed(len)(os.urandom(40 << 20), dask_key_name="the-large-one").compute()


def test_large_constants_travel_in_parts(here):
    data = np.random.default_rng(2).integers(0, 255, 40 << 20, dtype=np.uint8)
    x = dask.delayed(data)
    assert dask.compute(x.sum(), dask.delayed(len)(x)) == (data.sum(), len(data))


def test_only_what_was_asked_for_comes(here, monkeypatch):
    """Of a tree over 40 MB some bytes come to this process."""
    came = []
    values, settled = _receiver.Receiver._values, _receiver.settle_later

    def small(self, job, first, some):
        came.extend(map(len, some))
        values(self, job, first, some)

    def large(future, value, taken):
        came.append(value.size)
        settled(future, value, taken)

    monkeypatch.setattr(_receiver.Receiver, "_values", small)
    monkeypatch.setattr(_receiver, "settle_later", large)
    level = [dask.delayed(np.full)(1 << 17, i) for i in range(40)]
    while len(level) > 1:
        level = [dask.delayed(sum)(level[i : i + 3]) for i in range(0, len(level), 3)]
    assert level[0].sum().compute() == sum(range(40)) << 17
    assert len(came) > 40 and sum(came) < 10_000


def test_interrupt(here, tmp_path):
    """Ctrl-C cancels the graph, whose tasks are stopped."""
    begun, main = tmp_path / "begun", threading.main_thread().ident

    def forever():
        begun.touch()
        threading.Event().wait()

    def interrupt():
        while not begun.exists():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        dask.delayed(forever)().compute()
    thread.join()
    job = last_job(here)
    deadline = time.monotonic() + 60
    while here.control.call("GET", f"/v1/jobs/{job['id']}")["state"] != "cancelled":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def layers(width, depth, wait):
    """A graph in which each task takes the values of three of the layer before."""

    def mixed(layer, i, *arrays):
        if wait is not None:
            wait(layer, i)
        return sum(arrays, np.full(20_000, layer * 1000 + i)) % 10007

    dsk = {}
    for layer in range(depth):
        for i in range(width):
            before = [TaskRef((layer - 1, (i + j) % width)) for j in range(3)] if layer else []
            dsk[layer, i] = Task((layer, i), mixed, layer, i, *before)
    last = [TaskRef((depth - 1, i)) for i in range(width)]
    dsk["sum"] = Task("sum", lambda *arrays: int(sum(a.sum() for a in arrays)), *last)
    return dsk


def test_process_that_is_killed(client, tmp_path):
    """What it has handed over is not lost with it, and what it has not is run again."""
    want = dask.get(layers(6, 6, None), "sum")

    def wait(layer, i):
        if (layer, i) == (3, 2):
            try:
                os.close(os.open(tmp_path / "killed", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    assert client.get(layers(6, 6, wait), "sum") == want
    assert (tmp_path / "killed").exists()


@pytest.mark.parametrize("victim", [2, 0], ids=["another", "that of the client"])
def test_daemon_that_is_killed(victim, cache, tmp_path):
    """Values that are lost with a node are made again, as far as they are needed. The client waits for its daemon."""
    want = dask.get(layers(9, 8, None), "sum")
    reached, goes_on = tmp_path / "reached", tmp_path / "goes-on"

    def wait(layer, i):
        if layer == 5 and i % 4 == 0:
            reached.touch()
            while not goes_on.exists():
                time.sleep(0.01)

    args = ["--cache", cache, "--python", f"here={sys.executable}"]
    with dtpnode.LocalCluster(nodes=3, slots=2, args=args) as cluster, cluster.client() as client:
        def kill():
            while not reached.exists():
                time.sleep(0.01)
            if victim == 0:
                cluster.restart(0)
            else:
                daemon = cluster._processes.daemons[victim]
                daemon.process.send_signal(signal.SIGKILL)
                daemon.process.wait()
                _cluster._shut(daemon.process)
            goes_on.touch()

        thread = threading.Thread(target=kill)
        thread.start()
        assert client.get(layers(9, 8, wait), "sum") == want
        thread.join()


def test_docs(cluster, tmp_path, monkeypatch):
    """The code of docs/from-dask.md, block by block."""
    text = (Path(__file__).parents[2] / "docs" / "from-dask.md").read_text()
    monkeypatch.setenv("DTPNODE_STATE", str(cluster.states[0]))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall("```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    names = {"__name__": "__main__"}
    try:
        for block in blocks:
            exec(block, names)
    finally:
        dask.config.config.pop("scheduler", None)
    names["client"].close()


@pytest.mark.parametrize("lock", [True, False])
def test_store_into_memory_is_refused(client, lock):
    target = np.zeros((4, 4))
    for x in (da.ones((4, 4), chunks=2), da.from_array(np.ones((4, 4)), chunks=2) + 1):
        with pytest.raises(dtpnode.Error, match="stores into an array of this process") as e:
            x.store(target, scheduler=client.get, lock=lock)
        assert "to_zarr" in e.value.hint
    assert not target.any()


def test_shuffles_are_by_tasks(client):
    left = pd.DataFrame({"k": np.arange(200) % 10, "x": np.arange(200)})
    right = dd.from_pandas(left, npartitions=5)
    assert len(right.merge(right, on="k").compute(scheduler=client.get)) == 200 * 20
    groups = db.from_sequence(range(50), npartitions=5).groupby(lambda x: x % 7)
    assert sorted((k, sorted(v)) for k, v in groups.compute(scheduler=client.get)) == [
        (k, list(range(k, 50, 7))) for k in range(7)
    ]
    with dask.config.set({"dataframe.shuffle.method": "disk"}):
        by_files = db.from_sequence(range(50), npartitions=5).groupby(lambda x: x % 7)
        for shuffled in (by_files, right.shuffle("k")):
            with pytest.raises(dtpnode.Error, match="shuffles by files of one host") as e:
                shuffled.compute(scheduler=client.get)
            assert '"dataframe.shuffle.method": "tasks"' in e.value.hint
