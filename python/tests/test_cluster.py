"""Daemons that are there for a process, and clients that start one."""

import gc
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import pytest

import dtpnode
from dtpnode import _session
from test_sessions import until


def test_cluster(cache):
    with dtpnode.LocalCluster(nodes=2, slots=2, args=["--cache", cache]) as cluster:
        folder, pids = cluster.states[0].parent, cluster.pids
        assert "2 nodes" in repr(cluster)
        with cluster.client(1) as client:
            assert "2 of 2 nodes up, 4 slots" in repr(client)
            with client.executor(name="<b>title") as pool:
                assert len(set(pool.map(lambda _: __import__("os").getpid(), range(1000)))) >= 2
                far_values(pool, cluster)
            not_mine(client, cluster)
            for html in client._repr_html_(), cluster._repr_html_():
                assert "2 of 2 nodes up, 4 slots" in html and "Python 3." in html
                assert "&lt;b&gt;title" in html and "1,008 of 1,008" in html
    assert "closed" in repr(cluster) and "closed" in cluster._repr_html_()
    assert not folder.exists() and not any(map(alive, pids))
    assert "no daemon listens" in repr(client) and "no daemon listens" in client._repr_html_()


def not_mine(client, cluster):
    """A job of another member whose title says that it goes on with a session of mine does not, whatever it has."""
    with client.executor() as pool:
        assert list(pool.map(abs, range(3))) == [0, 1, 2]
    with cluster.client(0) as other:
        names = [_session.part_title("executor", pool.name, n) for n in (1, 3)]
        for name in names:
            with other.executor(name=name) as claimed:
                assert claimed.submit(str, "claimed").result() == "claimed"
            until(lambda: claimed.name in [j["id"] for j in client.control.call("GET", "/v1/jobs")], "it is not seen")
    assert {j["title"] for j in client.control.call("GET", "/v1/jobs")} >= set(names)
    with client.attach(pool.name) as session:
        assert [f.result() for f in session] == [0, 1, 2]
    reduction = client.reduce(abs, range(3))
    assert reduction.result() == 3
    with cluster.client(0) as other, other.executor(name=_session.part_title("x", reduction.name, 1)) as claimed:
        claimed.submit(abs, -5).result()
    until(lambda: claimed.name in [j["id"] for j in client.control.call("GET", "/v1/jobs")], "it is not seen")
    assert client.reduction(reduction.name).result() == 3


def far_values(pool, cluster):
    """Large values of another node pass through no memory of the daemon that the client talks to, node 1."""

    def make(i, folder):
        import os
        import time

        open(os.path.join(folder, str(i)), "w").close()
        while len(os.listdir(folder)) < 4:  # The first of each slot run at once.
            time.sleep(0.01)
        return os.environ["DTPNODE_NODE_NAME"], bytes([i]) * SIZE

    folder = tempfile.mkdtemp(dir=cluster.states[0].parent)
    before, nodes = anonymous(cluster.pids[1]), []
    futures = [pool.submit(make, i, folder) for i in range(8)]
    for i, f in enumerate(futures):
        node, value = f.result()
        assert value == bytes([i]) * SIZE
        nodes.append(node)
    assert nodes.count("local-0") >= 2, nodes
    assert anonymous(cluster.pids[1]) - before < SIZE


SIZE = 40 << 20


def anonymous(pid):
    """Bytes of memory that a process has of its own."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon")) << 10


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


KILLED = """
import os, sys, dtpnode
cluster = dtpnode.LocalCluster(nodes=2, slots=1, args=["--cache", sys.argv[1]])
fork = os.fork()
if fork == 0:
    os.execvp("sleep", ["sleep", "600"])
idle = os.fork()
if idle == 0:
    sys.stdin.read()
    os._exit(0)
print(cluster.states[0].parent, fork, idle, *cluster.pids, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_cluster_of_a_killed_process(cache, signum):
    """Nothing is left of it, also where forks of the process live on."""
    command = [sys.executable, "-c", KILLED, cache]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    folder, fork, idle, *pids = process.stdout.readline().split()
    process.send_signal(signum)
    process.wait()
    until(lambda: not os.path.exists(folder), "the folder is removed")
    until(lambda: not any(map(alive, pids)), "the daemons have ended")
    assert alive(fork) and alive(idle)
    os.kill(int(fork), signal.SIGKILL)
    process.stdin.close()
    process.stdout.close()


def waits(path):
    open(path, "w").close()
    time.sleep(1_000)


def test_cluster_is_closed_in_the_midst(cache, tmp_path):
    """Daemons wait for no call when the cluster is closed: they end by themselves, and need not be killed."""
    cluster = dtpnode.LocalCluster(nodes=2, slots=1, args=["--cache", cache])
    processes = [d.process for d in cluster._processes.daemons]
    pool = cluster.client().executor()
    futures = [pool.submit(waits, tmp_path / str(n)) for n in range(2)]
    until(lambda: len(os.listdir(tmp_path)) == 2, "the calls run")
    cluster.close()
    assert [p.returncode for p in processes] == [0, 0]
    for f in futures:
        with pytest.raises(dtpnode.ClusterLost):
            f.result()


LOST = """
import sys, time, dtpnode
with dtpnode.LocalCluster(nodes=1, slots=1, args=["--cache", sys.argv[1]]) as cluster:
    pool = cluster.client().executor()
    futures = [pool.submit(time.sleep, 1_000) for _ in range(12)]
    futures[-1].cancel()
    total = cluster.client().reduce(time.sleep, [1_000])
"""


def test_what_is_lost_with_a_cluster_is_told(cache):
    """Nobody may ask for the results of calls that a program had submitted, and think that they have run."""
    done = subprocess.run([sys.executable, "-c", LOST, cache], capture_output=True, text=True, check=True)
    calls = "^11 calls of [0-9a-f]{12} were not done: the LocalCluster, .* was closed before$"
    assert re.search(calls, done.stderr, re.M), done.stderr
    assert re.search("^the reduction [0-9a-f]{12} is lost: .* was closed$", done.stderr, re.M), done.stderr
    assert done.stderr.count("\n") == 2, done.stderr


def test_cluster_that_only_an_executor_keeps(cache):
    """A cluster that nobody holds ends with the last that uses it."""
    pool = dtpnode.LocalCluster(nodes=1, slots=1, args=["--cache", cache]).client().executor()
    (folder,) = {os.path.dirname(os.path.dirname(pool._control.socket))}
    gc.collect()
    assert pool.submit(abs, -7).result() == 7
    pool.shutdown()
    del pool
    until(lambda: gc.collect() >= 0 and not os.path.exists(folder), "the folder is removed")


def test_client_starts_a_daemon(tmp_path, monkeypatch, cluster):
    monkeypatch.delenv("DTPNODE_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with dtpnode.Client() as client:
        folder = client._own.states[0].parent
        with client.executor() as pool:
            assert pool.submit(pow, 2, 10).result() == 1024
    assert not folder.exists()
    with pytest.raises(dtpnode.NoDaemon, match="no daemon listens"):
        dtpnode.Client(tmp_path / "state")
    monkeypatch.setenv("DTPNODE_STATE", str(cluster.states[0]))
    with dtpnode.Client() as client:
        assert client._own is None and "5 slots" in repr(client)


def test_client_that_nobody_holds(tmp_path, monkeypatch):
    """The daemon that it has started is there as long as what it has made is used."""
    monkeypatch.delenv("DTPNODE_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pool = dtpnode.Client().executor()
    folder = os.path.dirname(os.path.dirname(pool._control.socket))
    gc.collect()
    assert pool.submit(pow, 2, 10).result() == 1024
    assert dtpnode.Client(os.path.dirname(pool._control.socket)).reduce(abs, [-3]).result() == 3
    pool.shutdown()
    del pool
    until(lambda: gc.collect() >= 0 and not os.path.exists(folder), "the folder is removed")


def test_bad_clusters(tmp_path, monkeypatch):
    for wrong in {"nodes": 0}, {"slots": 0}:
        with pytest.raises(ValueError, match="at least 1"):
            dtpnode.LocalCluster(**wrong)
    with pytest.raises(dtpnode.Error, match="could not start /nowhere/dtpnode: No such file"):
        dtpnode.LocalCluster(binary="/nowhere/dtpnode")
    with pytest.raises(dtpnode.Error, match="has ended as soon as it was started"):
        dtpnode.LocalCluster(args=["--no-such-flag"])
    with pytest.raises(dtpnode.Error, match="cannot run Python"):
        dtpnode.LocalCluster(python="/bin/false", args=["--cache", str(tmp_path)])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(dtpnode.Error, match="there is no program dtpnode"):
        dtpnode._cluster.binary()
