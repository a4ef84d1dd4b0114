"""Sessions that last: over several jobs, over deaths, and for other processes."""

import contextlib
import gc
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

import dtpnode
from dtpnode import _session

LIMIT = 900.0  # seconds after which what is waited for hangs


def until(so, what):
    """Waits until something is so."""
    end = time.monotonic() + LIMIT
    while not so():
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.01)


def jobs_of(client, session):
    mine = [j for j in client.control.call("GET", "/v1/jobs") if j["id"] == session or session in j["title"]]
    return sorted(mine, key=lambda j: j["submitted"])


@pytest.mark.parametrize("bound, small", [("MAX_APPENDS", 3), ("MAX_ITEMS", 100_000)])
def test_rolls_over(client, monkeypatch, bound, small):
    monkeypatch.setattr(_session, bound, small)
    if bound == "MAX_ITEMS":
        monkeypatch.setattr(_session, "MAX_BATCH", 10_000)
        monkeypatch.setattr(_session, "MAX_ITEM", 20_000)
    with client.executor() as pool:
        futures = []
        for i in range(20):  # each an append of its own
            futures.append(pool.submit(lambda i, _: i, i, bytes(9_000)))
            futures[-1].result()
        assert pool.job != pool.name
        futures += [pool.submit(lambda i, _: i, i, b"") for i in range(20, 400)]
        assert [f.result() for f in futures] == list(range(400))
    jobs = jobs_of(client, pool.name)
    assert len(jobs) >= 3
    assert [j["state"] for j in jobs] == ["done"] * len(jobs)
    assert sum(j["units"] for j in jobs) == 400
    with client.attach(pool.job) as session:  # also by the name of a later one
        assert session.name == pool.name
        assert [f.result(LIMIT) for f in session] == list(range(400))


def test_shutdown_in_a_callback(client, tmp_path, caplog):
    """It would wait for the thread that it is called in, and is refused, as by a ProcessPoolExecutor."""
    pool = client.executor()
    future = pool.submit(lambda path: until(lambda: os.path.exists(path), "go"), tmp_path / "go")
    after = pool.submit(abs, -1)
    future.add_done_callback(lambda f: pool.shutdown())
    called = threading.Event()
    future.add_done_callback(lambda f: called.set())
    (tmp_path / "go").touch()
    assert called.wait(LIMIT) and future.result() is None and after.result() == 1
    (told,) = [r for r in caplog.records if r.exc_info is not None]
    assert "shutdown(wait=False)" in str(told.exc_info[1])
    pool.shutdown()


@pytest.mark.parametrize("name", ["../jobs", "a/b", "GHI", "no job", "  "])
def test_names_that_none_has(client, name):
    for look in client.attach, client.job, client.reduction:
        with pytest.raises(dtpnode.Error, match="names are hexadecimal digits"):
            look(name)


def test_names_as_people_write_them(client):
    with client.executor() as pool:
        assert pool.submit(abs, -1).result() == 1
    name = f" {pool.name[:12].upper()}\n"
    with client.attach(name) as session:
        assert session.name == pool.name == client.job(name).name and len(session) == 1
    for look in client.attach, client.job, client.reduction:
        with pytest.raises(dtpnode.Error, match="too short for the name of a job: 4 digits"):
            look(pool.name[:3])
        with pytest.raises(TypeError, match="must be a str, and not int: 5"):
            look(5)


def test_finish_of_a_session_that_goes_on(client, tmp_path):
    """Its executor breaks, and what was submitted before runs all the same."""
    pool = client.executor()
    before = pool.submit(waiter(tmp_path / "gate"))
    until(before.running, "it is on its way")
    with client.attach(pool.name) as session:
        until(lambda: len(session) == 1, "it is in the job")
        session.finish()
        with pytest.raises(dtpnode.JobFailed, match="before its program was done"):
            pool.submit(abs, -2).result(LIMIT)
        (tmp_path / "gate").touch()
        assert session[0].result(LIMIT) == "waited"
    pool.shutdown()


@pytest.mark.parametrize("given, words", [
    ({"name": 5}, "name must be a str, which is the job's title, and not int: 5"),
    ({"output": "x"}, "output must be a callable that takes a node and text, or None, and not str: 'x'"),
])
def test_arguments_that_cannot_be_meant(client, given, words):
    with pytest.raises(TypeError, match=words):
        client.executor(**given)
    with pytest.raises(TypeError, match=words):
        client.reduce(abs, [1], **given)
    with pytest.raises(dtpnode.Error, match="env is empty"):
        client.executor(env="")


def test_jobs_of_calls_have_no_file(client, tmp_path):
    """They say what has their results, before they are waited for."""
    with client.executor() as pool:
        assert pool.submit(abs, -1).result() == 1
        total = client.reduce(abs, [-1, -2])
        assert total.result() == 3
        for name, instead in (pool.name, "client.attach"), (total.name, "client.reduction"):
            job = client.job(name)
            for ask in job.result, lambda: job.save(tmp_path / "out.root"):
                with pytest.raises(dtpnode.Error, match=f"{instead}\\('{name[:12]}'\\)"):
                    ask()
            assert instead in job._repr_html_()
    assert not list(tmp_path.iterdir()) and client.job(pool.name).wait()["state"] == "done"
    assert "client.attach" in client.job(pool.name)._repr_html_()


def test_daemon_bounds():
    """What one job takes is within what the daemon takes: tasks/append.go."""
    text = open(os.path.join(os.path.dirname(__file__), "..", "..", "tasks", "append.go")).read()
    assert "MaxAppends   = 1 << 16 " in text and "MaxAppended  = 16 << 20 " in text
    assert "MaxItems     = 32 << 20 " in text and "MaxAllItems  = 1 << 30 " in text
    assert _session.MAX_APPENDS < 1 << 16 and _session.MAX_APPENDS * 1400 < 16 << 20
    assert _session.MAX_ITEM < 32 << 20 and _session.MAX_ITEMS < 1 << 30


def test_collected(client):
    """An executor that nobody refers to ends, when its calls have run."""
    pool = client.executor()
    future, session, gone = pool.submit(pow, 2, 3), pool._session, weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert future.result() == 8
    session.join()
    assert client.control.call("GET", f"/v1/jobs/{session.name}")["state"] == "done"


def test_shutdown_waits_for_another_job(client):
    """The sender may have to go on with another job for calls that wait, just while their executor is shut down."""
    gate, opens = threading.Event(), threading.Event()
    with client.executor(output=None) as pool:
        assert pool.submit(abs, -1).result() == 1
        session, first = pool._session, pool.job
        really = session._open

        def late(*given):
            opens.set()
            assert gate.wait(LIMIT)
            return really(*given)

        session._open, session._stale = late, True
        future = pool.submit(time.sleep, 0.5)
        assert opens.wait(LIMIT)
        threading.Timer(0.2, gate.set).start()
    assert future.done() and future.exception() is None and pool.job != first


def test_shutdown_of_what_an_earlier_job_has_broken(client, tmp_path):
    """The current job of a session that an earlier one breaks is closed too, and not waited for for ever."""
    pool = client.executor()
    pool.submit(abs, -1).result()
    future = pool.submit(waiter(tmp_path / "gate"))
    until(future.running, "it is on its way")
    pool._session._fail(dtpnode.Error("an earlier job has failed"))
    ended = threading.Thread(target=pool.shutdown, daemon=True)
    ended.start()
    (tmp_path / "gate").touch()
    ended.join(LIMIT)
    assert not ended.is_alive() and isinstance(future.exception(), dtpnode.JobFailed)


@pytest.mark.parametrize("what", ["executor", "results"])
def test_collected_by_who_holds_the_lock(client, what):
    """The garbage collector may run in a thread of the session, between any two of its steps."""
    pool = client.executor()
    session = pool._session
    if what == "executor":
        things, locks = [pool], [session._lock]
    else:
        things = [pool.map(abs, itertools.count())]
        assert next(things[0]) == 0
        feed = things[0].gi_frame.f_locals["feed"]
        locks = [feed._line.lock, feed.source.lock]
    del pool

    def collect():
        with contextlib.ExitStack() as held:
            for lock in locks:
                held.enter_context(lock)
            things.clear()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()
    until(lambda: session.closed, "it was ended")


def test_fork_of_the_client(client):
    with client.executor() as pool:
        assert pool.submit(pow, 2, 3).result() == 8
        pid = os.fork()
        if pid == 0:  # It may use the client, but not the executor, and leaves both alone when it ends.
            status = 1
            try:
                client.control.call("GET", "/v1/status")
                pool.shutdown()
                try:
                    pool.submit(pow, 2, 3)
                except RuntimeError as e:
                    status = 0 if "forked" in str(e) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert pool.submit(pow, 2, 4).result() == 16


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_interrupted(client, tmp_path):
    """Ctrl-C while a result is waited for: the executor goes on, and one that is left by it ends at once."""
    gate = tmp_path / "gate"
    wait = waiter(gate)
    with client.executor() as pool:
        future = pool.submit(wait)
        threading.Timer(0.2, interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            future.result()
        gate.touch()
        assert future.result(LIMIT) == "waited"
    gate.unlink()
    with pytest.raises(KeyboardInterrupt):
        with client.executor() as pool:
            futures = [pool.submit(wait) for _ in range(100)]
            until(futures[0].running, "it is on its way")
            interrupt()
            futures[0].result()
    until(lambda: all(f.done() for f in futures), "all are settled")
    assert client.control.call("GET", f"/v1/jobs/{pool.name}")["state"] == "cancelled"


def waiter(gate):
    """A call that waits until a file is there."""
    path = str(gate)

    def wait():
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        return "waited"

    return wait


def test_submit_is_interrupted(client, monkeypatch):
    """A Ctrl-C at any moment of many submits loses no call that was submitted."""
    # One that comes in a finalizer is no exception of the test; pytest's hook for these would be interrupted itself.
    monkeypatch.setattr(sys, "unraisablehook", lambda what: None)
    with client.executor() as pool:
        futures = []
        stop = threading.Event()

        def interrupts():
            while not stop.wait(0.02):
                interrupt()

        thread = threading.Thread(target=interrupts)
        thread.start()
        hits = 0
        while hits < 20:
            try:
                for _ in range(100):
                    futures.append(pool.submit(pow, 2, 3))
                pool.submit(pow, 2, 3).result()
            except KeyboardInterrupt:
                hits += 1
        while not stop.is_set():
            try:
                stop.set()
                thread.join()
            except KeyboardInterrupt:
                pass
        assert all(f.result(LIMIT) == 8 for f in futures)


def test_daemon_killed(cache):
    """The daemon is killed in mid-map, and comes back: each result is there once."""
    with dtpnode.LocalCluster(slots=2, args=["--cache", cache]) as cluster, cluster.client() as client:
        with client.executor() as pool:
            results = pool.map(lambda i: __import__("time").sleep(0.001) or i, range(3000))
            got = [next(results) for _ in range(100)]
            cluster.restart(0)
            got += results
            assert got == list(range(3000))
            assert pool.submit(pow, 2, 3).result() == 8


ENDS = """
import os, signal, sys, threading, time
from concurrent.futures import BrokenExecutor
import dtpnode
how = sys.argv[1]
if how == "client":
    cluster, client = None, dtpnode.Client()
else:
    cluster = dtpnode.LocalCluster(slots=2, args=["--cache", sys.argv[2]])
    client = cluster.client()
pool, idle = client.executor(), client.executor()
assert pool.submit(abs, -1).result() == 1 and idle.submit(abs, -1).result() == 1
if how == "killed":
    process = cluster._processes.daemons[0].process
    process.kill()
    process.wait()
else:
    def waits(path):
        import os, time
        while os.path.exists(path):
            time.sleep(0.01)
    pending = [pool.submit(waits, sys.argv[3]) for _ in range(10)]
    closing = threading.Thread(target=(cluster or client).close)
    closing.start()
    for future in pending:
        assert isinstance(future.exception(100), dtpnode.ClusterLost), future
        assert "was closed" in str(future.exception()), future
    for executor in pool, idle:
        try:
            executor.submit(abs, -1)
        except BrokenExecutor as e:
            assert isinstance(e, dtpnode.ClusterLost) and "was closed" in str(e), e
        else:
            raise AssertionError("a call was taken that nothing can run")
    os.remove(sys.argv[3])
    closing.join()
print("end")
"""


@pytest.mark.parametrize("how", ["cluster", "client", "killed"])
def test_daemon_is_gone_at_exit(cache, tmp_path, how):
    """A program ends whose executors were not shut down before their daemon: nothing waits for one that was closed with
    its cluster or its client, and at exit nothing that no call needs waits for one that was killed. What was closed
    over calls that were not done is told once."""
    environment = {**os.environ, "DTPNODE_STATE": str(tmp_path / "none")}
    gate = tmp_path / "gate"
    gate.touch()
    command = [sys.executable, "-c", ENDS, how, cache, str(gate)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    lost = r"10 calls of [0-9a-f]{12} were not done: the LocalCluster, .* was closed before\n"
    waited = r"(dtpnode: starting Python\n)?"  # told of calls that wait long, as on a busy host
    assert re.fullmatch(waited + ("" if how == "killed" else lost), done.stderr), done.stderr


def test_callback_that_exits(client, tmp_path, caplog):
    """A done callback that calls sys.exit is logged, as one that raises an Exception is, and the session goes on."""
    gate, told = tmp_path / "gate", []
    with client.executor() as pool:
        future = pool.submit(waiter(gate))
        future.add_done_callback(lambda _: sys.exit("enough"))
        future.add_done_callback(told.append)
        gate.touch()
        assert pool.submit(abs, -1).result(LIMIT) == 1 and future.result(LIMIT) == "waited"
        assert pool.submit(abs, -2).result(LIMIT) == 2
    assert told == [future]
    assert [(r.name, r.exc_info[0]) for r in caplog.records] == [("concurrent.futures", SystemExit)]


def test_disk_is_bounded(cache):
    """Results that their user has been given go when there are more than are to be kept, the oldest first."""
    size = 1 << 20
    with dtpnode.LocalCluster(slots=1, args=["--cache", cache, "--keep-bytes", "8MB"]) as cluster:
        jobs = cluster.states[0] / "jobs"
        with cluster.client() as client:
            names = []
            while len(names) < 4 or (jobs / names[0] / "result.out").exists():
                with client.executor() as pool:
                    assert len(pool.submit(os.urandom, size).result()) == size
                names.append(pool.name)
                assert len(names) < 40
            assert (jobs / names[-1]).exists()
            with client.attach(names[-1]) as session:
                assert len(session[0].result(LIMIT)) == size


CLIENT = """
import sys, dtpnode
dtpnode._opening.ABANDONED = 10.0  # as below
client = dtpnode.Client(sys.argv[1])
pool = client.executor()
futures = [pool.submit(lambda i: i * i, i) for i in range(1000)]
futures[-1].result()
print(pool.name, flush=True)
futures.append(pool.submit(lambda path: open(path).read(), sys.argv[2]))
sys.stdin.read()
"""


def begun(gate, process):
    """Opens a pipe to the call that reads it, which a process has submitted, once it runs: it never does if the process
    has failed."""
    opened = []

    def opens():
        assert process.poll() is None, f"the client has ended with {process.returncode}"
        with contextlib.suppress(OSError):  # It has no reader yet.
            opened.append(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        return opened

    until(opens, "the call runs")
    return open(opened[0], "w")


def test_client_killed(cache, tmp_path):
    """What a process has submitted that was killed is there for others, also on another node."""
    gate = tmp_path / "fifo"
    os.mkfifo(gate)
    with dtpnode.LocalCluster(nodes=2, slots=1, args=["--cache", cache]) as cluster:
        command = [sys.executable, "-c", CLIENT, str(cluster.states[0]), str(gate)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        name = process.stdout.readline().strip()
        with begun(gate, process) as fifo:
            process.kill()
            process.wait()
            fifo.write("last")
        process.stdin.close()
        process.stdout.close()
        for node in 1, 0:
            with cluster.client(node) as client, client.attach(name) as session:
                futures = list(session)
                assert len(session) == 1001 and session[1000] is futures[1000]
                assert [f.result(LIMIT) for f in futures] == [i * i for i in range(1000)] + ["last"]
        with cluster.client() as client:
            until(lambda: client.control.call("GET", f"/v1/jobs/{name}")["state"] == "done", "the job ends by itself")
            with client.attach(name[:8]) as session:
                assert session[10].result(LIMIT) == 100


GIVES_UP = """
import sys, threading, dtpnode
dtpnode._opening.ABANDONED = 10.0  # more than ON_DISK: a busy host may take that long before it is connected
client = dtpnode.Client(sys.argv[1])
pool = client.executor()
pool.submit(pow, 2, 3).result()
def items():
    yield from range(1000)
    read.set()
    sys.stdin.read()
read = threading.Event()
total = client.reduce(int, items())
read.wait()
print(pool.name, total.name, sep="\\n", flush=True)
total.result()
"""


def test_client_and_daemon_killed(cache):
    """A job whose process is killed, and the daemon with it, ends when the daemon is back: nobody can append any more.
    A reduction tells that it lacks items."""
    with dtpnode.LocalCluster(slots=1, args=["--cache", cache]) as cluster:
        command = [sys.executable, "-c", GIVES_UP, str(cluster.states[0])]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        names = [process.stdout.readline().strip() for _ in range(2)]
        with cluster.client() as client:
            def stand():
                try:
                    return [client.control.call("GET", f"/v1/jobs/{name}") for name in names]
                except dtpnode.Error:  # It has just come back.
                    return []

            until(lambda: sum(s["done"] for s in stand()) > 900, lambda: f"most have run: {stand()}")
            assert [s["state"] for s in stand()] == ["running"] * 2
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
            cluster.restart(0)
            until(lambda: len(stand()) == 2, "the daemon is back")
            session = next(s["id"] for s in stand() if "(reduce)" not in s["title"])
            assert len(client.attach(session)) == 1  # at once, though it may not know yet that the call is committed
            until(lambda: [s["state"] for s in stand()] == ["done"] * 2, "both end")
            total = client.reduction(next(s["id"] for s in stand() if "(reduce)" in s["title"]))
            with pytest.raises(dtpnode.Incomplete, match="before the last one"):
                total.result(LIMIT)
            assert sum(range(900)) < total.total <= sum(range(1000))


def test_attach_to_nothing(client):
    with pytest.raises(dtpnode.Error, match="nosuchjob"):
        client.attach("nosuchjob")


def test_rate_of_results():
    """Results that come at once are no rate: of calls that take a second no more are sent ahead than run, whatever the
    moments at which they end; of short ones many are, soon, and no more when they become long."""
    rate = _session.Rate(0.0)
    for second in range(1, 20):
        for close in 0.0, 0.0001, 0.006, 0.012:  # four slots, of which two pairs end close together
            rate.add(1, 4, second + close)
            assert rate.per_second <= 8, (second, close, rate.per_second)
    assert rate.per_second >= 2
    for n in range(20):
        rate.add(50, 4, 20 + 0.006 * n)
    assert rate.per_second > 5_000
    for second in range(21, 40):
        rate.add(4, 4, second)
    assert rate.per_second <= 8
