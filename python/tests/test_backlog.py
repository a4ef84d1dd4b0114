"""Calls that wait in a session, and what becomes of them where its process or its daemon is killed."""

import collections
import subprocess
import sys
import threading

import pytest

import dtpnode
from dtpnode import _attach
from dtpnode._session import parts_of
from test_sessions import LIMIT, jobs_of, until, waiter

PROGRAM = """
import sys, dtpnode
from dtpnode import _session
state, folder, _session.MAX_APPENDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
n = int(sys.argv[4])
def effect(i, folder=folder):
    import os, time
    while not (os.path.exists(f"{folder}/all") or os.path.exists(f"{folder}/{i}")):
        time.sleep(0.01)
    with open(f"{folder}/effects", "a") as f:
        f.write(f"{i}\\n")
    return i * i
pool = dtpnode.Client(state).executor(eval(sys.argv[5]))
futures = [pool.submit(effect, i) for i in range(n)]
assert all(futures[i].cancel() for i in eval(sys.argv[6]))
print(pool.name, flush=True)
for line in sys.stdin:
    print(futures[int(line)].cancel(), flush=True)
"""


class Program:
    """A process that submits calls, each of which waits for a file and leaves a line in another one."""

    def __init__(self, cluster, folder, calls, appends=8000, most=None, early=()):
        self.folder, self.calls = folder, calls
        args = [str(cluster.states[0]), str(folder), str(appends), str(calls), str(most), str(early)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = self._process.stdout.readline().strip()

    def cancel(self, number):
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip() == "True"

    def ran(self):
        try:
            return len((self.folder / "effects").read_text().split())
        except FileNotFoundError:
            return 0

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def check(self, client, without=()):
        """Has all calls run, and checks that each has done so once, but for some."""
        (self.folder / "all").touch()
        numbers = [i for i in range(self.calls) if i not in without]
        with client.attach(self.name) as session:
            assert [f.result(LIMIT) for f in session] == [i * i for i in numbers]
            assert len(session) == len(numbers)
        assert collections.Counter((self.folder / "effects").read_text().split()) == {str(i): 1 for i in numbers}


def kept(client, job):
    """How many calls of a job are kept, and the number behind the last one."""
    try:
        answer = client.control.call("GET", f"/v1/jobs/{job}/backlog")
        return answer["waiting"], answer["after"]
    except dtpnode.Error:  # Its daemon has just come back.
        return -1, -1


@pytest.fixture(scope="module")
def two(cache):
    with dtpnode.LocalCluster(nodes=2, slots=1, args=["--cache", cache]) as cluster:
        yield cluster


def test_client_killed(two, tmp_path):
    """All that was submitted runs once, and nothing that was cancelled. Others see what waits, also on another node."""
    early = (160, 161, 170, 198)  # cancelled before they are kept
    program = Program(two, tmp_path, 200, early=early)
    with two.client() as client, two.client(1) as other:
        until(lambda: kept(client, program.name)[1] == 200, "all that wait are kept")
        assert program.cancel(150) and program.cancel(199) and not program.cancel(0)
        until(lambda: client.control.call("GET", f"/v1/jobs/{program.name}")["units"] > 0, "some are sent")
        with other.attach(program.name) as session:
            assert len(session) == 194
            assert not session[193].running() and not session[193].cancel()
            assert "wait to be sent" in repr(session)
        program.kill()
        program.check(other, without=(150, 199, *early))


def test_client_and_daemon_killed(two, tmp_path):
    """The daemon is killed before, while and after it sends what the process has left to it."""
    program = Program(two, tmp_path, 200)
    with two.client() as client:
        until(lambda: kept(client, program.name)[1] == 200, "all that wait are kept")
        two.restart(0)
        until(lambda: kept(client, program.name)[1] == 200, "they are kept again")
        assert program.cancel(120)
        program.kill()
        for _ in range(2):
            two.restart(0)
        until(lambda: kept(client, program.name)[0] == 0, "all are sent")
        two.restart(0)
        until(lambda: [j["units"] for j in jobs_of(client, program.name)] == [199], "it knows the job")
        program.check(client, without=(120,))
        assert not list(two.states[0].glob("jobs/*/backlog*"))


def test_goes_on_with_another_job(two, tmp_path):
    """What is kept goes along to the next job of the session, and runs there once."""
    program = Program(two, tmp_path, 20, appends=3, most=4)
    with two.client() as client:
        until(lambda: kept(client, program.name)[1] == 20, "all that wait are kept")
        done = 0
        while len(jobs_of(client, program.name)) < 3:
            (tmp_path / str(done)).touch()
            done += 1
            until(lambda: program.ran() >= done - 4, "they have run, but for those on their way")
        last = jobs_of(client, program.name)[-1]["id"]
        assert last != program.name
        until(lambda: kept(client, last)[1] == 20, "they are kept for the last job")
        program.kill()
        program.check(client)


def test_attached_on_another_node(two, tmp_path):
    """What is submitted after another node has attached is known there, and so are its results, before anything of it
    is committed."""
    wait = waiter(tmp_path / "gate")
    with two.client() as client, two.client(1) as other, client.executor() as pool:
        assert list(pool.map(abs, range(-3, 0))) == [3, 2, 1]
        with other.attach(pool.name) as session:
            assert [f.result(LIMIT) for f in session] == [3, 2, 1]
            assert repr(session).endswith("3 of the 3 calls that are known here are settled>")
            futures = [pool.submit(abs, -4), pool.submit(wait), pool.submit(wait), pool.submit(abs, -5)]
            try:
                until(lambda: len(session) == 7, "all are known")
                assert futures[0].result(LIMIT) == session[3].result(LIMIT) == 4
                assert not session[4].done() and not session[5].done() and not session[6].done()
                with other.attach(pool.name) as late:
                    assert late[3].result(LIMIT) == 4
            finally:
                (tmp_path / "gate").touch()
            assert session[6].result(LIMIT) == 5


def test_attached_in_the_midst(client, monkeypatch):
    """Calls that come into the job after it was asked how many it has, and before what waits is counted, are there."""
    with client.executor() as pool:
        assert list(pool.map(abs, range(8))) == list(range(8))
    monkeypatch.setattr(_attach, "parts_of", lambda *a: [(n, {**s, "units": s["units"] - 4}) for n, s in parts_of(*a)])
    monkeypatch.setattr(_attach.Attached, "_follow", lambda self, job: None)
    with client.attach(pool.name) as session:
        assert len(session) == 8


def test_cancels(client, tmp_path):
    """What is kept can be cancelled, also where others are settled, and runs otherwise."""
    gate = tmp_path / "gate"
    pool = client.executor(max_workers=4)
    wait = waiter(gate)
    futures = [pool.submit(wait) for _ in range(50)]
    until(lambda: kept(client, pool.name)[1] == 50, "all that wait are kept")
    assert pool._session.on_their_way() == 50
    answers = []
    futures[0].add_done_callback(lambda _: answers.append(futures[48].cancel()))
    assert futures[49].cancel() and futures[49].cancel() and futures[49].cancelled()
    assert not futures[0].cancel()
    gate.touch()
    assert all(f.result(LIMIT) == "waited" for f in futures[:48])
    until(lambda: answers, "the callback has run")
    assert answers == [futures[48].cancelled()] == [True]
    gate.unlink()
    futures = [pool.submit(wait) for _ in range(50)]
    results = pool.map(abs, range(1000), timeout=0)
    until(lambda: kept(client, pool.name) == (1046, 1100), "all that wait are kept")
    with pytest.raises(TimeoutError):
        next(results)
    until(lambda: kept(client, pool.name) == (46, 1100), "what a map does not want is not run")
    pool.shutdown(wait=False, cancel_futures=True)
    assert [f.cancelled() for f in futures] == [False] * 4 + [True] * 46
    gate.touch()
    pool.shutdown()
    job = client.control.call("GET", f"/v1/jobs/{pool.name}")
    assert (job["state"], job["units"]) == ("done", 52)


def test_cancel_fails_at_the_end(client, tmp_path, monkeypatch):
    """A call that could not be cancelled runs, though all others have run meanwhile and the executor was shut down."""
    gate, refused = tmp_path / "gate", threading.Event()
    pool = client.executor(max_workers=2)
    session = pool._session
    futures = [pool.submit(waiter(gate)) for _ in range(5)]
    until(lambda: kept(client, pool.name)[1] == 5, "all that wait are kept")

    def refuses(_calls, _patience):
        assert refused.wait(LIMIT)
        raise dtpnode.Error("it cannot be cancelled")

    monkeypatch.setattr(session, "_cancel_kept", refuses)
    answers = []
    cancels = threading.Thread(target=lambda: answers.append(futures[4].cancel()))
    cancels.start()
    until(lambda: futures[4] in session._cancelling, "it is being cancelled")
    pool.shutdown(wait=False)
    gate.touch()
    assert [f.result(LIMIT) for f in futures[:4]] == ["waited"] * 4
    until(lambda: session._cancelling[futures[4]] is not None, "it would be sent now")
    refused.set()
    cancels.join()
    assert futures[4].result(LIMIT) == "waited" and answers == [False]
    pool.shutdown()
