"""dask's graphs on the pool give what they give in one process, whatever dies meanwhile."""

import contextlib
import gc
import multiprocessing
import operator
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter, OrderedDict
from concurrent.futures import wait
from pathlib import Path

import cloudpickle
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Alias, Task, TaskRef

import dtpnode
import dtpnode.dask
from dtpnode import _cluster, _graph, _graphsend, _persisted, _receiver, _targets

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


def stored(collection):
    """What stands for values on the nodes in a collection's graph, by keys."""
    return dict(_persisted.stored_in(collection))


def state_of(client, job):
    return client.control.call("GET", f"/v1/jobs/{job}")["state"]


def until(true):
    deadline = time.monotonic() + 900
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def on_disk(cluster, n=0):
    """Bytes of the values that a node keeps for later units."""
    size = 0
    for file in (cluster.states[n] / "scratch").glob("*/values/*"):
        with contextlib.suppress(FileNotFoundError):  # One may just go.
            size += file.stat().st_size
    return size


@pytest.mark.parametrize("kind", ["delayed", "bag", "array", "dataframe"])
def test_persisted(here, monkeypatch, kind):
    """Values stay on the nodes, and what is computed from them later is right, also where dask fuses tasks, and with
    another scheduler."""
    came = []
    values = _receiver.Receiver._values

    def counted(self, job, first, some):
        came.extend(map(len, some))
        values(self, job, first, some)

    monkeypatch.setattr(_receiver.Receiver, "_values", counted)
    df = frame()
    made, then, want = {
        "delayed": (dask.delayed(np.arange)(30_000), lambda x: x.sum(), np.arange(30_000).sum()),
        "bag": (
            db.from_sequence(range(3000), npartitions=3).map(str),
            lambda x: x.map(int).filter(lambda n: n % 2).map(lambda n: n + 1).sum(), 3000 * 3000 // 4 + 1500,
        ),
        "array": (da.arange(30_000, chunks=10_000) + 1, lambda x: ((x * 2)[::2] + 1).sum(), 450_015_000),
        "dataframe": (
            dd.from_pandas(df, npartitions=3).assign(y=lambda d: d.x * 2), lambda x: x[x.key > 3].y.sum(),
            2 * df.x[df.key > 3].sum(),
        ),
    }[kind]
    kept = made.persist()
    assert len(stored(kept)) == {"delayed": 1}.get(kind, 3)
    assert then(kept).compute() == pytest.approx(want)
    assert sum(came) < 10_000, "only what was asked for has come"
    assert then(kept).compute(scheduler="threads") == pytest.approx(want)
    assert isinstance(dask.base.tokenize(kept), str)


def test_persisted_under_other_names(here):
    """What dask asks for is another name of what is persisted, where a dataframe has one partition."""
    df = frame()
    frames = dd.from_pandas(df, npartitions=3)
    sums = frames.groupby("key").x.sum().persist()
    assert sums.npartitions == 1
    pd.testing.assert_series_equal(sums.compute().sort_index(), df.groupby("key").x.sum())
    frames = frames.assign(y=lambda d: d.x * 2)
    parts = frames.persist()
    assert len(stored(parts)) == 3
    pd.testing.assert_frame_equal(parts.compute(), frames.compute(scheduler="threads"))
    one, two = parts.to_delayed()[:2]
    first, second, rows = dask.compute(one, two, dask.delayed(len)(one))
    assert (len(first), len(second)) == (rows, len(two.compute()))
    assert len(parts.partitions[0].compute()) == len(one.persist().compute()) == rows
    nodes, wanted = dtpnode.dask.needed(parts.x.sum().dask, parts.x.sum().__dask_keys__())
    nodes, found = dtpnode.dask.taken(nodes, wanted)
    for s in found.values():
        s.place = "node", 1000
    assert sum(dtpnode.dask.weighed(nodes, found, {}).values()) >= 3000, "which tasks take of the nodes"


def test_persisted_within_what_was_fused_twice(here, tmp_path):
    """It is waited for, and not made again beside what makes it."""
    goes_on = tmp_path / "goes-on"

    def made(x):
        (tmp_path / str(time.monotonic_ns())).touch()
        while not goes_on.exists():
            time.sleep(0.01)
        return x

    bag = db.from_sequence(range(4), npartitions=1).map(made).persist()
    delayed = bag.map(lambda x: x + 1).to_delayed()
    again = db.from_delayed(delayed).map(lambda x: x * 2)
    keys = again.__dask_keys__()
    nodes, wanted = dtpnode.dask.needed(again.__dask_optimize__(again.dask, keys), keys)
    _, found = dtpnode.dask.taken(nodes, wanted)
    assert [s.key for s in found.values()] == [k for k in stored(bag)]
    threading.Timer(0.5, goes_on.touch).start()
    assert again.compute() == [2, 4, 6, 8]
    assert len(list(tmp_path.iterdir())) == 4 + 1


def test_persist_as_what_was_before_goes(here, monkeypatch):
    """The last collection of a session goes while the next one is on its way into it."""
    last = [dask.delayed(abs)(-1).persist()]
    session = next(iter(stored(last[0]).values())).token.of
    ready, closing = _persisted.ready, len(here._closing)

    def slow(*args):
        if last:
            last.clear()
            gc.collect()
            until(lambda: not session._outcomes)
        ready(*args)

    monkeypatch.setattr(_persisted, "ready", slow)
    x = dask.delayed(abs)(-2).persist()
    assert next(iter(stored(x).values())).job == session.name
    assert x.compute() == 2
    del x
    gc.collect()
    until(lambda: state_of(here, session.name) == "done")
    assert dask.delayed(abs)(-3).persist().compute() == 3
    assert len(here._closing) == closing, "what has ended is not noted for the client's end"


def test_persisted_constant(here):
    """A large one is sent once, and not with each graph; a small one stays in the client."""
    large = dask.delayed(np.arange(200_000.0), traverse=False).persist()
    assert len(stored(large)) == 1 and len(pickle.dumps(large)) < 10_000
    assert dask.compute(large, large.sum()) == (pytest.approx(np.arange(200_000.0)), 199_999 * 100_000)
    small = dask.delayed(7).persist()
    assert not stored(small) and small.compute() == 7


def test_persist_several(here):
    """Several collections are persisted at once, and nested; what is persisted already, or constant, stays as it is."""
    one = dask.delayed(abs)(-1).persist()
    inc = dask.delayed(lambda x: x + 1)
    a, b, c, d = dask.persist(inc(one), {"k": [inc(2)]}, one, dask.delayed(7))
    assert stored(a).keys() == {a.key}
    assert stored(c)[c.key] is stored(one)[one.key]
    assert dask.compute(a, b, c, d) == (2, {"k": [3]}, 1, 7)
    assert inc(a).persist().compute() == 3
    e, = dask.persist(inc(5), scheduler=dtpnode.dask.get(here))
    assert stored(e)[e.key].job != stored(a)[a.key].job
    both = dask.delayed(operator.add)(a, e).persist()
    assert both.compute() == 8, "of two sessions"
    (value,) = dict(a.__dask_graph__()).values()
    assert here.get({"in": Task("in", operator.add, Task(None, value.func, *value.args), 1)}, "in") == 3


def test_persisted_goes_with_its_last_user(here, cluster, tmp_path):
    gc.collect()
    before = on_disk(cluster)
    x = da.ones((200, 1000), chunks=(100, 1000)).persist()
    y = (x + 1).persist()
    job = next(iter(stored(x).values())).job
    assert y.sum().compute() == 400_000
    assert on_disk(cluster) - before > 3_000_000
    del x
    gc.collect()
    until(lambda: on_disk(cluster) - before < 2_000_000)
    assert y.sum().compute() == 400_000
    failed = dask.delayed(lambda: 1 / 0)().persist()
    with pytest.raises(ZeroDivisionError):
        failed.compute()
    del y, failed
    gc.collect()
    until(lambda: on_disk(cluster) == before)
    until(lambda: state_of(here, job) == "done")
    running, goes_on = tmp_path / "running", tmp_path / "goes-on"

    def waits():
        running.touch()
        while not goes_on.exists():
            time.sleep(0.01)

    z = dask.delayed(waits)().persist()
    job = next(iter(stored(z).values())).job
    (future,) = dtpnode.dask.futures_of(z).values()  # which keeps nothing
    until(running.exists)
    del z
    gc.collect()
    until(lambda: state_of(here, job) == "cancelled")
    assert future.exception() is not None
    assert dask.delayed(abs)(-3).persist().compute() == 3


def test_persisted_that_is_not_needed_before_its_users_have_run(here, tmp_path):
    """What is computed from it is computed once."""
    goes_on = tmp_path / "goes-on"

    def made():
        (tmp_path / str(time.monotonic_ns())).touch()
        while not goes_on.exists():
            time.sleep(0.01)
        return np.ones(10_000)

    x = dask.delayed(made)().persist()
    x = dask.delayed(np.negative)(x).persist()
    gc.collect()
    goes_on.touch()
    assert x.sum().compute() == -10_000
    assert len(list(tmp_path.iterdir())) == 2


def test_persisted_that_fails(here):
    def fails(x):
        return {}[x]

    good = dask.delayed(abs)(-1)
    bad = dask.delayed(fails)("k", dask_key_name="the-broken-one")
    good, bad, behind = dask.persist(good, bad, dask.delayed(abs)(bad))
    for values in (bad, behind, dask.delayed(operator.add)(bad, 1), bad):
        with pytest.raises(KeyError, match="k") as caught:
            values.compute()
        assert "in the task 'the-broken-one'" in caught.value.__notes__
        assert "return {}[x]" in str(caught.value.__cause__)
    assert good.compute() == 1
    (future,) = dtpnode.dask.futures_of(bad).values()
    with pytest.raises(KeyError):
        future.result()
    crashed = dask.delayed(os.abort)(dask_key_name="the-one-that-aborts").persist()
    with pytest.raises(dtpnode.ItemLost) as lost:
        dask.delayed(abs)(crashed).compute()
    assert "the-one-that-aborts" in lost.value.__notes__[0]
    with pytest.raises(dtpnode.Unpicklable, match="the-lock"):
        dask.delayed(str)(threading.Lock(), dask_key_name="the-lock").persist()
    assert dask.delayed(abs)(-2).persist().compute() == 2


def test_persisted_that_fails_in_part(here, monkeypatch):
    """Of what runs together only that is lost whose task has raised, or has given what has no pickle, and what takes
    that; also in units and graphs behind it."""
    monkeypatch.setattr(_graph, "SPREAD", 1)  # so that units have many tasks

    def inverse(x):
        return threading.Lock() if x == 5 else 60 / (x - 20)

    x = dask.persist(*(dask.delayed(inverse)(i, dask_key_name=f"x{i}") for i in range(30)))
    y = dask.persist(*(dask.delayed(operator.add)(x[i], x[i + 1], dask_key_name=f"y{i}") for i in range(29)))
    assert max(Counter(s.unit for v in x for s in stored(v).values()).values()) > 5
    lost = {y[4]: "x5", y[5]: "x5", x[5]: "x5", y[19]: "x20", y[20]: "x20", x[20]: "x20"}
    for v, key in lost.items():
        kind = pickle.PicklingError if key == "x5" else ZeroDivisionError
        (future,) = dtpnode.dask.futures_of(v).values()
        for get in (v.compute, future.result):
            with pytest.raises(kind) as caught:
                get()
            assert caught.value.__notes__ == [f"in the task {key!r}"]
    assert "return threading.Lock() if" in str(caught.value.__cause__)
    for some, want in ((x, lambda i: inverse(i)), (y, lambda i: inverse(i) + inverse(i + 1))):
        good = {i: v for i, v in enumerate(some) if v not in lost}
        assert dask.compute(good) == ({i: want(i) for i in good},)
        futures = {i: next(iter(dtpnode.dask.futures_of(good[i]).values())) for i in (0, 3, 6, 29) if i in good}
        assert futures[0].result() == want(0) and not any(f.exception() for f in futures.values())


def test_futures_of(here):
    x = (da.arange(30, chunks=10) * 2).persist()
    futures = dtpnode.dask.futures_of(x, da.arange(3, chunks=3))
    assert futures.keys() == stored(x).keys()
    done, left = wait(futures.values())
    assert not left
    assert np.concatenate([futures[x.name, i].result() for i in range(3)]).tolist() == list(range(0, 60, 2))


OTHER = """
import pickle, sys
import dtpnode, dtpnode.dask
with open(sys.argv[1], "rb") as f:
    x, y, bad = pickle.load(f)
job = sys.argv[2]
try:
    x.sum().compute(scheduler="threads")
except dtpnode.Error as e:
    assert "no client" in str(e), e
with dtpnode.Client() as client:
    assert x.sum().compute(scheduler=client.get) == 435
    assert (x + y).sum().compute(scheduler=client.get) == 465
    assert x.sum().compute(scheduler="threads") == 435
    assert dtpnode.dask.futures_of(y, client=client)[y.name, 1].result().tolist() == [1] * 10
    for _ in range(2):
        try:
            bad.compute(scheduler=client.get)
        except ZeroDivisionError as e:
            assert "in the task 'bad'" in e.__notes__, e.__notes__
        else:
            raise AssertionError
    kept = client.attach(job)
    assert len(kept) == 7, list(kept)
    try:
        kept["bad"].result()
    except ZeroDivisionError as e:
        assert "in the task 'bad'" in e.__notes__, e.__notes__
    else:
        raise AssertionError
    assert kept[x.name, 2].result().tolist() == list(range(20, 30))
    more = (x * 2).persist(scheduler=client.get)
    assert more.sum().compute(scheduler=client.get) == 870
print("well")
"""


@pytest.mark.parametrize("pickles", [pickle, pytest.param(cloudpickle, marks=pytest.mark.long)])
def test_persisted_from_another_process(here, cluster, tmp_path, pickles):
    """A pickled collection, and attaching to the job."""
    x, y, bad = dask.persist(
        da.arange(30, chunks=10), da.ones(30, chunks=10, dtype=int),
        dask.delayed(operator.truediv)(1, 0, dask_key_name="bad"), scheduler=dtpnode.dask.get(here),
    )
    path, job = tmp_path / "collections", next(iter(stored(x).values())).job
    path.write_bytes(pickles.dumps((x, y, bad)))
    assert path.stat().st_size < 100_000
    again, _, _ = pickle.loads(path.read_bytes())
    assert pickle.loads(pickle.dumps(x)).chunks == x.chunks
    assert [s.token for s in stored(again).values()] == [s.token for s in stored(x).values()]
    env = {**os.environ, "DTPNODE_STATE": str(cluster.states[0])}
    out = subprocess.run([sys.executable, "-c", OTHER, path, job], env=env, capture_output=True, text=True, timeout=1500)
    assert out.stdout == "well\n", out.stderr
    assert x.sum().compute() == 435, "the other one's end is not its end"


def in_fork(queue, done, undone, get):
    try:
        more = (undone + done).persist(scheduler=get)
        queue.put([int(c.sum().compute(scheduler=get)) for c in (done, undone, more)])
    except Exception as e:
        queue.put(repr(e))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_persisted_in_a_fork(here):
    """It takes what the process has persisted that it was forked from, and what it persists itself is none of that's
    business."""
    get, fork = dtpnode.dask.get(here), multiprocessing.get_context("fork")
    done, undone = dask.persist(da.arange(30, chunks=10), da.ones(30, chunks=10, dtype=int), scheduler=get)
    assert done.sum().compute(scheduler=get) == 435
    queue = fork.SimpleQueue()
    child = fork.Process(target=in_fork, args=(queue, done, undone, get))
    child.start()
    child.join(100)
    child.kill()
    assert child.exitcode == 0 and queue.get() == [435, 30, 465]
    assert (done + undone).persist(scheduler=get).sum().compute(scheduler=get) == 465


def test_persisted_ends_with_its_client(cluster):
    client = cluster.client()
    x = dask.delayed(abs)(-1).persist(scheduler=client.get)
    job = next(iter(stored(x).values())).job
    assert x.compute(scheduler=client.get) == 1
    client.close()
    with cluster.client() as other:
        until(lambda: state_of(other, job) == "done")
        with pytest.raises(dtpnode.Error, match=f"what was persisted is gone: the job {job[:12]}") as caught:
            x.compute(scheduler=other.get)
        assert "persist it again" in caught.value.hint
    with pytest.raises(dtpnode.Error, match="gone|no daemon|closed"):
        dask.delayed(abs)(x).compute(scheduler="sync")


@pytest.mark.parametrize("victim", [pytest.param(1, marks=pytest.mark.long), 0], ids=["another", "that of the client"])
def test_persisted_where_a_daemon_is_killed(victim, cache, tmp_path):
    """What is lost with a node is made again, from what is persisted before it, which is no more there."""

    def plus(v):
        (tmp_path / os.environ["DTPNODE_NODE"]).touch()
        while len(list(tmp_path.iterdir())) < 2:  # so that both nodes make some
            time.sleep(0.01)
        return v + 1

    args = ["--cache", cache, "--python", f"here={sys.executable}"]
    with dtpnode.LocalCluster(nodes=2, slots=2, args=args) as cluster, cluster.client() as client:
        with dtpnode.dask.get(client):
            x = da.from_array(np.arange(40_000.0), chunks=1_000).map_blocks(plus, dtype=float).persist()
            y = (x * 2).persist()
            del x
            gc.collect()
            assert y.sum().compute() == 2 * sum(range(1, 40_001))
            assert on_disk(cluster, 0) and on_disk(cluster, 1)
            if victim == 0:
                cluster.restart(0)
            else:
                daemon = cluster._processes.daemons[victim]
                daemon.process.send_signal(signal.SIGKILL)
                daemon.process.wait()
                _cluster._shut(daemon.process)
            assert y.sum().compute() == 2 * sum(range(1, 40_001))
            assert (y + 1).persist().sum().compute() == 2 * sum(range(1, 40_001)) + 40_000


def test_exception(here):
    def fails(x):
        return {}[x]

    values = dask.delayed(operator.add)(dask.delayed(fails, name="broken")("k", dask_key_name="the-broken-one"), 1)
    with pytest.raises(KeyError, match="k") as caught:
        dask.compute(values, dask.delayed(abs)(-1))
    assert "in the task 'the-broken-one'" in caught.value.__notes__
    assert "return {}[x]" in str(caught.value.__cause__)
    assert "_graphrun" not in str(caught.value.__cause__) and "in the call" not in str(caught.value.__cause__)


class Odd(Exception):
    """It has a pickle, from which it cannot be made."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def odd():
    raise Odd("salt", "pepper")


def held():
    raise ValueError("bad pt", threading.Lock())


def ends():
    raise SystemExit("enough")


def interrupted():
    raise KeyboardInterrupt


def leaves():
    raise GeneratorExit


@pytest.mark.parametrize(
    "raises, words, hint",
    [
        (odd, "Odd: salt and pepper\nin the task 'thekey'", "define __reduce__"),
        (held, "ValueError: ('bad pt', <unlocked", "the exception.args[1], a _thread.lock"),
        (ends, "the call has raised SystemExit: enough\nin the task 'thekey'", "sys.exit"),
        (interrupted, "the call has raised KeyboardInterrupt\nin the task 'thekey'", "Ctrl-C"),
        (leaves, "the call has raised GeneratorExit\nin the task 'thekey'", "BaseException"),
    ],
    ids=["unread", "unsent", "exit", "interrupt", "generator"],
)
def test_exceptions_that_are_not_raised_as_they_are(here, raises, words, hint):
    """Class, text and task are told, also where others that take the value are told in its place."""
    bad = dask.delayed(raises)(dask_key_name="thekey")
    kept, taken = dask.persist(bad, dask.delayed(abs)(bad))
    (future,) = dtpnode.dask.futures_of(kept).values()
    for get in (bad.compute, kept.compute, taken.compute, dask.delayed(abs)(taken).compute, future.result):
        with pytest.raises(dtpnode.RemoteError) as caught:
            get()
        assert words in caught.value.message and "\nin the task 'thekey'" in caught.value.message
        assert hint in caught.value.hint


def test_job_of_a_graph_that_has_failed_ends(here):
    with pytest.raises(ZeroDivisionError):
        dask.compute([dask.delayed(operator.truediv)(1, i % 7) for i in range(100)])
    job = last_job(here)
    deadline = time.monotonic() + 900
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


class Table:
    """An object of which dask does not know how large it is."""

    def __init__(self, values):
        self.values = values


def test_large_constants_of_any_kind(here, monkeypatch):
    """Neither the class of a constant matters, nor whether dask fuses it into the tasks that take it. All limits are a
    hundredth here."""
    monkeypatch.setattr(_graphsend, "MAX_ITEM", 320 << 10)
    monkeypatch.setattr(_graph, "WEIGHT", 80 << 10)
    monkeypatch.setattr(dtpnode.dask, "PIECE", 80 << 10)
    monkeypatch.setattr(dtpnode.dask, "LARGE", 10 << 10)
    data = np.arange(50_000.0)
    array, table = da.from_array(data), dask.delayed(Table(data))
    bag = db.from_sequence([bytes(200 << 10)] * 2, npartitions=1)
    uneven = dask.delayed([b"x"] * 1000 + [bytes(400 << 10)])
    objects = dask.delayed(np.array([bytes([i]) * 1000 for i in range(256)] * 2, dtype=object))
    ordered = dask.delayed(OrderedDict(table=Table(data)), traverse=False)

    def out():
        counts = map(dask.delayed(len), (uneven, objects, ordered))
        return dask.compute((array + 1).sum(), bag.map(len).sum(), table.values.sum(), *counts)

    assert out() == (want := ((data + 1).sum(), 400 << 10, data.sum(), 1001, 512, 1))
    array, bag, table, uneven = array.persist(), bag.persist(), table.persist(), uneven.persist()
    objects, ordered = objects.persist(), ordered.persist()
    assert out() == want


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
    deadline = time.monotonic() + 900
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


@pytest.mark.parametrize("victim", [pytest.param(2, marks=pytest.mark.long), 0], ids=["another", "that of the client"])
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


def filled(h, i):
    h["n"] += i
    return h


def test_objects_with_a_state(client):
    """Objects that are equal, and are changed by the tasks that they are given to, are as many as in one process,
    whichever processes these tasks run in."""
    class Sums:
        def __init__(self):
            self.n, self.doc = 0, "x" * 1000

        def add(self, i):
            self.n += i
            return self.n

    def new():
        return {"n": 0, "doc": "x" * 1000}

    def counter():
        total = [0] * 1000
        def count(i):
            total[0] += i
            return total[0]
        return count

    def graphs():
        yield [dask.delayed(filled)(dask.delayed(new()), 1) for _ in range(12)]
        yield [dask.delayed(Sums()).add(1) for _ in range(12)]
        yield [dask.delayed(counter())(1) for _ in range(12)]
        yield [dask.delayed(np.random.Generator.normal)(dask.delayed(np.random.default_rng(42))) for _ in range(12)]
        h = [new() for _ in range(6)]
        yield [dask.delayed(lambda h: h["n"])(dask.delayed(filled)(h[i // 2], 0)) for i in range(12)]

    for graph, same in zip(graphs(), graphs()):
        assert dask.compute(*graph, scheduler=client.get) == dask.compute(*same, scheduler="sync")
    with dtpnode.dask.get(client):
        kept = dask.persist(*next(graphs()))
        assert {v["n"] for v in dask.compute(*kept)} == {1}
    raw = {f"acc{i}": new() for i in range(8)} | {f"t{i}": (filled, f"acc{i}", 1) for i in range(8)}
    assert [v["n"] for v in client.get(raw, [f"t{i}" for i in range(8)])] == [1] * 8


def test_daemon_is_away_as_a_graph_begins(cache, monkeypatch):
    """It is waited for, as in the middle of a graph, unless this process has ended it for good."""
    with dtpnode.LocalCluster(nodes=1, slots=1, args=["--cache", cache]) as cluster, cluster.client() as client:
        daemon = cluster._processes.daemons[0]
        daemon.process.kill()
        daemon.process.wait()
        _cluster._shut(daemon.process)
        tries = []

        def slots(ask=client.control.slots):
            tries.append(True)
            try:
                return ask()
            except dtpnode.NoDaemon:
                cluster._processes.restart(0, signal.SIGKILL)
                raise

        monkeypatch.setattr(client.control, "slots", slots)
        assert client.get(layers(2, 2, None), "sum") == dask.get(layers(2, 2, None), "sum")
        assert len(tries) == 2
        monkeypatch.undo()
        cluster.close()
        with pytest.raises(dtpnode.NoDaemon):
            client.get(layers(2, 2, None), "sum")


def test_docs(cluster, tmp_path, monkeypatch):
    """The code of docs/from-dask.md, block by block."""
    text = (Path(__file__).parents[2] / "docs" / "from-dask.md").read_text()
    monkeypatch.setenv("DTPNODE_STATE", str(cluster.states[0]))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall("```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 4
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


class Own:
    """A target of the user's own: it is let through if it is taken for something else."""

    shape = (1000,)

    def __init__(self):
        self.values = np.zeros(1000)

    def __setitem__(self, at, values):
        self.values[at] = values


def of_zarr(kind, package="zarr", **attributes):
    """What has the names of an array of zarr, and of its store."""
    def made(name, **attributes):
        return type(name, (), {"__module__": f"{package}.of.{name}", **attributes})()

    return type("Array", (Own,), {"__module__": "zarr.core.array"}), made(kind, **attributes)


@pytest.mark.parametrize("lock", [True, False])
def test_store_into_objects_of_the_process_is_refused(client, lock):
    """Also into what is no array of numpy, of which a copy on a node is as little the object itself."""
    in_memory, store = of_zarr("MemoryStore")
    in_memory.store = store
    series = pd.Series(np.zeros(1000))
    targets = (Own(), "test_dask.Own"), (in_memory(), "zarr.core.array.Array"), (series.iloc, "iLoc"), ({}, "dict")
    for target, name in targets:
        for x in (da.arange(1000, chunks=100), da.from_array(np.arange(1000), chunks=100) + 1):
            with pytest.raises(dtpnode.Error, match=f"stores into an object of this process, a .*{name}"):
                da.store(x, target, scheduler=client.get, lock=lock)
        with pytest.raises(dtpnode.Error, match="it would stay as it is"):
            da.store(x, dask.delayed(target), scheduler=client.get, lock=lock)
    assert not series.any()
    made = dask.delayed(Own)()
    da.store(x, made, scheduler=client.get, lock=lock)  # It is on the nodes, as those know who have made it.


def test_targets_that_are_reached():
    """Arrays of zarr by what their store is."""
    array, memory = of_zarr("MemoryStore")

    def reached(kind, package="zarr", **attributes):
        array.store = of_zarr(kind, package, **attributes)[1]
        return _targets.folder_of(array()) is not None or _targets.reached(array())

    def system(*protocols, **attributes):
        return type("System", (), {"protocol": protocols if len(protocols) > 1 else protocols[0], **attributes})

    assert reached("LocalStore", root=Path("/x")) and reached("DirectoryStore", path="x") and not reached("LocalStore")
    assert reached("FsspecStore", fs=system("file", "local")) and reached("FSStore", fs=system("s3"))
    assert reached("LoggingStore", _store=of_zarr("LocalStore", root=Path("/x"))[1]) and reached("RedisStore")
    assert not reached("ZipStore") and not reached("LoggingStore", _store=memory) and not reached("New")
    assert not reached("FsspecStore", fs=system("memory")) and not reached("FsspecStore")
    assert not reached("FsspecStore", fs=system("asyncwrapper", sync_fs=system("memory", "mem")))
    assert reached("FsspecStore", fs=system("dir", fs=system("gs"))) and not reached("FsspecStore", fs=system("zip"))
    assert reached("ObjectStore", store=of_zarr("S3Store", "obstore")[1])
    assert not reached("ObjectStore", store=of_zarr("MemoryStore", "obstore")[1])
    assert not reached("LocalStore", package="mine", root=Path("/x"))
    array.chunk_store = memory
    assert not reached("LocalStore", root=Path("/x"))


def test_store_by_relative_names_is_refused(client, tmp_path, monkeypatch):
    """Tasks would write to folders of their own, which go with them."""
    monkeypatch.chdir(tmp_path)
    array, store = of_zarr("LocalStore", root=Path("x.zarr"))
    array.store = store
    x = da.arange(1000, chunks=100)
    with dask.config.set(scheduler=client.get):
        for run in (lambda: da.store(x, array()), lambda: da.to_npy_stack("x.npy", x)):
            with pytest.raises(dtpnode.Error, match=r"stores into x\..*, which is named relative to"):
                run()
        da.to_npy_stack(tmp_path / "y.npy", x)
    assert (da.from_npy_stack(tmp_path / "y.npy") == np.arange(1000)).all().compute()


def test_aliases_in_a_cycle(client):
    for dsk, words in (
        ({"a": "b", "b": "a"}, "stand for each other: 'a' and 'b'"),
        ({"a": "b", "b": "c", "c": "d", "d": "b"}, "stand for each other: 'b', 'c' and 'd'"),
        ({i: Alias(i, (i + 1) % 9) for i in range(9)}, "stand for each other: 0, 1, 2, 3, 4 more and 8"),
    ):
        with pytest.raises(dtpnode.Error) as e:
            client.get(dsk, [next(iter(dsk))])
        assert str(e.value).endswith(words)


@pytest.mark.parametrize("run", ["compute", "persist"])
def test_interrupt_as_the_job_begins(here, monkeypatch, run):
    """The job is cancelled, though nobody knows of it yet."""
    names, main = [], threading.main_thread().ident
    real = _graphsend.open_job

    def interrupted(*args):
        names.append(real(*args))
        signal.pthread_kill(main, signal.SIGINT)
        return names[0]

    monkeypatch.setattr(_graphsend, "open_job", interrupted)
    value = dask.delayed(abs)(-1)
    with pytest.raises(KeyboardInterrupt):
        getattr(value, run)()
    monkeypatch.undo()
    until(lambda: state_of(here, names[0]) in ("cancelled", "done"))
    assert dask.delayed(abs)(-2).persist().compute() == 2


def test_client_as_scheduler(client):
    assert dask.delayed(abs)(-1).compute(scheduler=client) == 1
    kept = dask.delayed(abs)(-2).persist(scheduler=client)
    assert stored(kept) and kept.compute(scheduler=client) == 2


def test_annotations_are_told(client):
    """Each graph that has some that mean nothing here, at the line that computes it; no others."""
    with dask.annotate(retries=3, workers="here", mine=1):
        y, z = dask.delayed(abs)(-1), da.ones(4, chunks=2)
    for compute, names in (
        (lambda: y.compute(scheduler=client.get), "retries, workers"),
        (lambda: dask.compute(y, z.sum(), z.mean(), scheduler=client.get), "retries, workers"),
        (lambda: z.sum().persist(scheduler=client.get), "retries, workers"),
        (lambda: dask.delayed(abs)(-1).compute(scheduler=client.get, priority=5), "priority"),
        (lambda: dask.delayed(abs)(-1).persist(scheduler=client.get, resources={"GPU": 1}), "resources"),
    ):
        with pytest.warns(UserWarning, match=f"^{names} of dask.annotate.* no effect on the pool") as told:
            compute()
        assert [w.filename for w in told if w.category is not ResourceWarning] == [__file__]
    with warnings.catch_warnings(), dask.annotate(mine=2):
        warnings.simplefilter("error")
        assert dask.delayed(abs)(-1).compute(scheduler=client.get) == 1
        assert client.get({"x": (abs, -1)}, "x") == 1


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
