"""Clients on one pool at once: a selector, a run of coffea, a graph of dask, an RDataFrame and a session of plain
calls, each round after round, while daemons are killed. All are listed together, and each round of each is exact. And
four of them with more work than is waited for: each has its share of the slots.

Daemons run ROOT and two Pythons: that of the tests, and the one of ROOT, which DTPNODE_ROOT_PYTHON names.
DTPNODE_CHAOS_TIME is how long that goes on, and DTPNODE_CHAOS_SEED what is drawn from, as in test_chaos.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import dask
import numpy
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import NanoAODSchema

import dtpnode
import dtpnode.coffea
import dtpnode.dask
import sdist
from dtpnode._cluster import binary
from test_chaos import LIMIT, PERIOD, SEED, Storm, Work, check, paced, seconds
from test_selectors import SELECTOR

TIME = seconds(os.environ.get("DTPNODE_CHAOS_TIME", "8s"))
NODES = 4  # So that a ledger has its three replicas, of which one at a time is away.
FILES = 6
KINDS = ("Count.C", "coffea", "dask graph", "RDataFrame", "plain")  # as the jobs are called
MEASURED = 200  # seconds of slots over which it is measured what share of them each job has


# A process that has ROOT, and an RDataFrame that takes longer than it is waited for.
SLOW_FRAME = """
import sys
import dtpnode
frame = dtpnode.RDataFrame("T", sys.argv[2:], executor=dtpnode.Client(sys.argv[1]))
frame.Define("k", "gSystem->Sleep(50), x").Sum("k").GetValue()
"""

SLOW_SELECTOR = SELECTOR.replace("h->Fill(x, 2);", "gSystem->Sleep(50); h->Fill(x, 2);").replace("Count", "Slow")


class Gentle(Storm):
    """A storm in which one daemon is away at a time."""

    def _strike(self):
        if not self._due:
            super()._strike()


# A process that has ROOT: a round for each line that it is sent, of which it says what came out.
FRAMES = """
import json, sys
import dtpnode
frame = dtpnode.RDataFrame("T", sys.argv[2:], executor=dtpnode.Client(sys.argv[1]))
for line in sys.stdin:
    cut = frame.Define("k", "int(1000 * x)").Filter(f"k > {line}")
    results = cut.Count(), cut.Sum("k"), cut.Histo1D(("h", "", 10, 0.0, 1000.0), "k")
    count, total, h = (r.GetValue() for r in results)
    print(json.dumps([count, total, [h.GetBinContent(i) for i in range(12)]]), flush=True)
"""


def moved(events):
    import awkward as ak
    import hist

    h = hist.Hist.new.Reg(20, 0, 200, name="pt").Double()
    h.fill(pt=ak.flatten(events.Muon.pt))
    return {"n": len(events), "pt": h}


def slowly(events):
    time.sleep(3)
    return {"n": len(events)}


@dask.delayed
def numbers(i):
    time.sleep(0.02)
    return numpy.full(1 << 15, i)


@dask.delayed
def slow(*parts):
    time.sleep(1)
    return sum(parts)


def in_a_tree(level, add):
    """What adds values, eight at a time."""
    while len(level) > 1:
        level = [add(level[i : i + 8]) for i in range(0, len(level), 8)]
    return level[0]


def patient(begin):
    """What a step returns, which is tried again while the daemon that it asks is away."""
    until = time.monotonic() + LIMIT
    while True:
        try:
            return begin()
        except (dtpnode.Error, OSError) as e:
            away = isinstance(e, (dtpnode.NoDaemon, OSError)) or "daemon" in str(e)
            if not away or time.monotonic() > until:
                raise
        except Exception as e:
            if type(e).__module__.partition(".")[0] != "httpx" or time.monotonic() > until:
                raise
        time.sleep(0.1)


@pytest.fixture
def data(tmp_path):
    """Files of the selector and of the RDataFrame, and the numbers in them."""
    (tmp_path / "Count.C").write_text(SELECTOR)
    random = numpy.random.default_rng(1)
    parts = [random.random(2_000) for _ in range(FILES)]
    for i, x in enumerate(parts):
        with uproot.recreate(tmp_path / f"f{i}.root") as f:
            tree = f.mktree("T", {"x": "f8"})
            for cluster in numpy.split(x, 20):
                tree.extend({"x": cluster})
        (tmp_path / f"nano{i}.root").symlink_to(sdist.coffea() / "tests" / "samples" / "nano_dy.root")
    return tmp_path, numpy.concatenate(parts)


def listed(state):
    """What `dtpnode ps` says of the jobs that run."""
    command = [binary(), "ps", "--output", "json", "--state", str(state)]
    done = subprocess.run(command, capture_output=True, text=True)
    jobs = json.loads(done.stdout) if done.returncode == 0 else []
    return [j for j in jobs if j["state"] in ("preparing", "running", "merging")]


@pytest.mark.long
def test_together(data):
    print(f"DTPNODE_CHAOS_SEED={SEED}")
    folder, x = data
    python = os.environ["DTPNODE_ROOT_PYTHON"]
    args = ["--python", python, "--python", f"here={sys.executable}"]
    with dtpnode.LocalCluster(nodes=NODES, slots=1, args=args) as cluster:
        clients = [cluster.client(i) for i in range(NODES)]
        calls = clients[3].executor(name="plain", output=None)
        script = [python, "-c", FRAMES, str(cluster.states[2]), *(str(folder / f"f{i}.root") for i in range(FILES))]
        frames = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        want = numpy.histogram(x, 10, (0, 1))[0]
        alone = processor.Runner(processor.IterativeExecutor(status=False), schema=NanoAODSchema)
        muons = alone({"A": [str(folder / "nano0.root")]}, moved, treename="Events")
        tokens, rounds = set(), iter(range(10**9))

        def selector():
            what = folder / "Count.C+"
            job = patient(lambda: clients[0].run(what, tree="T", files=[f"{folder}/f*.root"]))
            found = patient(lambda: job.result())
            assert found["h"].values().tolist() == (2 * want).tolist()
            assert found["p"].counts().sum() == len(x)
            return 1

        def coffea():
            executor = dtpnode.coffea.DtpnodeExecutor(clients[1], status=False, output=None)
            run = processor.Runner(executor, schema=NanoAODSchema, metadata_cache={}, chunksize=10)
            files = [str(folder / f"nano{i}.root") for i in range(FILES)]
            out = run({"A": files}, moved, treename="Events")
            assert out["n"] == FILES * muons["n"] and not executor.failed and not executor.skipped
            assert numpy.array_equal(out["pt"].view(flow=True), FILES * muons["pt"].view(flow=True))
            return 1

        def frame():
            cut = next(rounds) % 900
            frames.stdin.write(f"{cut}\n")
            answer = frames.stdout.readline()
            assert answer, "the process with ROOT has ended"
            count, total, cells = json.loads(answer)
            k = (1000 * x).astype(int)
            k = k[k > cut]
            assert [count, total] == [len(k), k.sum()]
            assert cells[1:-1] == numpy.histogram(k, 10, (0, 1000))[0].tolist()
            return 1

        total = in_a_tree([numbers(i) for i in range(100)], dask.delayed(sum)).sum()

        def graph():
            assert patient(lambda: total.compute(scheduler=clients[3].get)) == sum(range(100)) << 15
            return 1

        def plain():
            return check(list(calls.map(paced, range(100), timeout=LIMIT)), range(100), tokens)

        storm = Gentle(cluster, lambda: [calls.name])
        work = [Work(f.__name__, storm.over, f) for f in (selector, coffea, graph, frame, plain)]
        seen = set()
        try:
            for thread in work:
                thread.start()
            until = time.monotonic() + LIMIT
            while len(seen) < len(KINDS) and time.monotonic() < until:  # All run, and one list has them.
                assert not any(w.error for w in work), work
                names = [j["title"] for j in listed(cluster.states[0])]
                seen = {kind for kind in KINDS if any(kind in name for name in names)}
            assert seen == set(KINDS)
            storm.start()
            until = time.monotonic() + TIME
            while time.monotonic() < until and not any(w.error for w in work) and storm.error is None:
                time.sleep(0.1)
        finally:
            storm.over.set()
            for thread in (storm, *work) if storm.ident else work:
                thread.join(2 * LIMIT)
            frames.stdin.close()
            frames.wait(LIMIT)
            patient(lambda: calls.shutdown(wait=False, cancel_futures=True))
        print(f"killed: {dict(storm.killed)}, rounds: {({w.name: w.rounds for w in work})}")
        for thread in (storm, *work):
            if thread.error is not None:
                raise AssertionError(f"{thread.name} failed") from thread.error
        assert sum(storm.killed.values()) >= TIME / PERIOD / 3 and all(w.rounds for w in work)


@pytest.mark.long
def test_fairly(data):
    """Four clients have more work than is waited for, in units of 50 ms to many seconds. Over some time each has about
    as much of the slots as any other, as the daemons count it."""
    folder, _ = data
    (folder / "Slow.C").write_text("#include <TSystem.h>\n" + SLOW_SELECTOR)
    python, files = os.environ["DTPNODE_ROOT_PYTHON"], [str(folder / f"f{i}.root") for i in range(FILES)]
    args = ["--python", python, "--python", f"here={sys.executable}"]
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(dtpnode.LocalCluster(nodes=2, slots=2, args=args))
        clients = [cluster.client(i % 2) for i in range(3)]
        frame = subprocess.Popen([python, "-c", SLOW_FRAME, str(cluster.states[1]), *files])
        stack.callback(frame.wait)
        stack.callback(frame.kill)

        def selector():
            clients[0].run(folder / "Slow.C+", tree="T", files=files).result()

        def coffea():
            executor = dtpnode.coffea.DtpnodeExecutor(clients[1], status=False, output=None)
            run = processor.Runner(executor, schema=NanoAODSchema, metadata_cache={}, chunksize=1)
            run({"A": [str(folder / f"nano{i}.root") for i in range(FILES)]}, slowly, treename="Events")

        def graph():
            in_a_tree([slow(i) for i in range(800)], lambda parts: slow(*parts)).compute(scheduler=clients[2].get)

        kinds, ends = ("Slow.C", "coffea", "dask graph", "RDataFrame"), {}

        def run(work):
            try:
                work()
                ends[work.__name__] = "it is done"
            except BaseException as e:
                ends[work.__name__] = e

        work = [threading.Thread(target=run, args=(f,)) for f in (selector, coffea, graph)]

        def have():
            """What each job has had of the slots, by its kind and id."""
            assert not ends and frame.poll() is None, (ends, frame.poll())
            jobs = [j for j in listed(cluster.states[0]) if j["slot_seconds"] > 0 and j["done"] < j["units"]]
            found = {(k, j["id"]): j["slot_seconds"] for j in jobs for k in kinds if k in j["title"]}
            return found if len(found) == len(kinds) else {}

        for thread in work:
            thread.start()
        try:
            first, until = {}, time.monotonic() + LIMIT
            while True:
                assert time.monotonic() < until, listed(cluster.states[0])
                now = have()
                if first.keys() != now.keys():
                    first = now
                had = {job: now[job] - first[job] for job in now}
                if sum(had.values()) > MEASURED:
                    break
                time.sleep(0.1)
        finally:
            for job in listed(cluster.states[0]):
                clients[0].control.call("POST", f"/v1/jobs/{job['id']}/cancel", {})
            for thread in work:
                thread.join(LIMIT)
        shares = {kind: n / sum(had.values()) for (kind, _), n in had.items()}
        print(f"shares of {sum(had.values()):.0f} s in slots: {({k: round(share, 3) for k, share in shares.items()})}")
        fair = 1 / len(kinds)
        assert all(fair / 2 < share < 2 * fair for share in shares.values()), shares
