"""coffea's Runner over the pool: the same numbers as in one process, what is missing, and coffea's own tests.

DTPNODE_COFFEA=all runs all of coffea's tests that take an executor, which takes a quarter of an hour; otherwise it is a
few of each kind.
"""

import copy
import functools
import itertools
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import defaultdict
from pathlib import Path
from unittest import mock

import cloudpickle
import hist
import numpy as np
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import NanoAODSchema, PHYSLITESchema

import dtpnode
import dtpnode.coffea
import sdist
from dtpnode import ItemLost, _chunks
from dtpnode.coffea import DtpnodeExecutor

LIMIT = 1500.0  # seconds after which what is waited for hangs
HERE = processor.IterativeExecutor(status=False)

# A module of the working folder, which no node can import, with what analyses have: a class with tables of corrections
# (more than travel with code), histograms with categories that come with the datasets, cutflows and columns.
MODULE = '''
import awkward as ak
import hist
import numpy as np
from coffea import processor


class Counts(dict):
    """Of a class that nodes do not have."""

    def __add__(self, other):
        return Counts({k: self.get(k, 0) + other.get(k, 0) for k in {*self, *other}})


def corrected(pt, tables):
    return pt * (1 + tables[0] % 2)


class Analysis(processor.ProcessorABC):
    def __init__(self, size, collection, unit):
        self.tables = np.random.default_rng(1).integers(1 << 62, size=size)
        self.collection, self.unit = collection, unit
        self.chunks = 0

    def process(self, events):
        self.chunks += 1
        assert self.chunks == 1, "each chunk has a processor of its own"
        dataset = events.metadata["dataset"]
        assert events.metadata["filename"].startswith("samples/"), "as it was given"
        pt = corrected(ak.flatten(events[self.collection].pt) / self.unit, self.tables)
        h = hist.Hist.new.StrCat([], growth=True, name="dataset").Reg(50, 0, 200, name="pt").Weight()
        h.fill(dataset=dataset, pt=pt, weight=2.0)
        return {
            "pt": h, "n": {dataset: len(events)}, "seen": {dataset}, "counts": Counts({dataset: len(pt)}),
            "column": processor.column_accumulator(ak.to_numpy(pt)), "most": processor.defaultdict_accumulator(float),
        }

    def postprocess(self, accumulator):
        return {**accumulator, "after": sum(accumulator["n"].values())}
'''


@pytest.fixture(scope="session")
def sources():
    return sdist.coffea()


@pytest.fixture(scope="session")
def samples(sources):
    return sources / "tests" / "samples"


@pytest.fixture
def executor(client):
    return DtpnodeExecutor(client, status=False)


def same(a, b):
    """Equal, bin by bin: categories may come in another order, and columns hold the same values in any."""
    assert sorted(a["pt"].axes[0]) == sorted(b["pt"].axes[0])
    for name in a["pt"].axes[0]:
        assert np.array_equal(a["pt"][name, :].view(flow=True), b["pt"][name, :].view(flow=True)), name
    assert np.array_equal(np.sort(a["column"].value), np.sort(b["column"].value))
    for name in "n", "seen", "counts", "after", "most":
        assert a[name] == b[name] and type(a[name]) is type(b[name]), name
    return True


@pytest.mark.parametrize("schema, tree, collection, files", [
    (NanoAODSchema, "Events", "Muon", {"ZJets": ["nano_dy.root", "nano_dy_empty.root"], "Data": ["nano_dimuon.root"]}),
    pytest.param(
        PHYSLITESchema, "CollectionTree", "Electrons", {"ttbar": ["PHYSLITE_example.root"]}, marks=pytest.mark.long
    ),
], ids=["NanoAOD", "PHYSLITE"])
def test_equal(executor, samples, tmp_path, monkeypatch, schema, tree, collection, files):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_analysis", raising=False)
    (tmp_path / "samples").symlink_to(samples)
    (tmp_path / "own_analysis.py").write_text(MODULE)
    import own_analysis

    size = dtpnode.coffea.LARGE // 8 + 1_000 if schema is NanoAODSchema else 10
    analysis = own_analysis.Analysis(size, collection, 1 if schema is NanoAODSchema else 1000)
    fileset = {d: {"files": [f"samples/{n}" for n in names], "treename": tree} for d, names in files.items()}
    run = {"schema": schema, "chunksize": 30, "savemetrics": True}
    ours, measured = processor.Runner(executor, metadata_cache={}, **run)(fileset, analysis)
    theirs, wanted = processor.Runner(HERE, metadata_cache={}, **run)(fileset, analysis)
    assert same(ours, theirs) and ours["column"].value.size > 0
    assert set(measured) == set(wanted) and sorted(measured["columns"]) == sorted(wanted["columns"])
    assert measured["entries"] == wanted["entries"] and measured["chunks"] == wanted["chunks"]
    assert measured["bytesread"] >= wanted["bytesread"] > 0  # One process reads what describes a file once.
    assert not executor.skipped and not executor.failed


def damaged(samples, path):
    """A file of which the pages of one branch are damaged, which is found out where that is read."""
    with uproot.open({samples / "nano_dy.root": "Events"}) as tree:
        at, n = tree["Muon_pt"].member("fBasketSeek")[0], tree["Muon_pt"].member("fBasketBytes")[0]
    data = bytearray((samples / "nano_dy.root").read_bytes())
    data[at + 100 : at + n] = bytes(n - 100)
    path.write_bytes(data)
    return str(path)


def muons(events):
    import awkward as ak

    return {"n": len(events), "pt": float(ak.sum(events.Muon.pt))}


def test_skipped(executor, samples, tmp_path):
    """Files that are missing or damaged cost what is in them, and are named."""
    good, broken = str(samples / "nano_dy.root"), damaged(samples, tmp_path / "damaged.root")
    text = tmp_path / "text.root"
    text.write_text("no ROOT file\n" * 100)
    fileset = {"ZJets": [good, broken, str(text), str(tmp_path / "none.root")]}
    runner = processor.Runner(executor, schema=NanoAODSchema, metadata_cache={}, skipbadfiles=True)
    with pytest.warns(UserWarning, match="skipped") as told:
        out = runner(fileset, muons, treename="Events")
    assert out == processor.Runner(HERE, schema=NanoAODSchema)({"ZJets": [good]}, muons, treename="Events")
    assert [(place[1], place[3:]) for place, _ in executor.skipped] == [
        (str(tmp_path / "none.root"), (-1, -1)), (str(text), (-1, -1)), (broken, (0, 40))
    ]
    whys = [why for _, why in executor.skipped]
    assert "No such file" in whys[0] and "not a ROOT file" in whys[1] and "decompress" in whys[2]
    assert [len(w.message.args[0].splitlines()) for w in told if "skipped:" in str(w.message)] == [3, 2]
    assert executor.report["kind"].tolist() == ["skipped"] * 3


def test_out_of_reach(executor, samples):
    """What is not the file's fault does not skip it, and the exception ends with the file where it does not name it."""
    good = str(samples / "nano_dy.root")
    lacks = {"ZJets": [good, "root://127.0.0.1:1//store/x.root"]}  # No node has the library for such URLs.
    with pytest.raises(ImportError, match="fsspec-xrootd") as e:
        runner = processor.Runner(executor, schema=NanoAODSchema, metadata_cache={}, skipbadfiles=True)
        runner(lacks, muons, treename="Events")
    assert notes(e) == ["at root://127.0.0.1:1//store/x.root, Events"] and not executor.skipped
    away = {"ZJets": [good, "http://127.0.0.1:1/x.root"]}
    with pytest.raises(Exception, match="Cannot connect to host") as e:
        processor.Runner(executor, schema=NanoAODSchema, metadata_cache={})(away, muons, treename="Events")
    assert notes(e) == ["at http://127.0.0.1:1/x.root, Events"]


def notes(e):
    """What an exception ends with, where Python has such notes."""
    return e.value.__notes__ if sys.version_info >= (3, 11) else mock.ANY


def ill(events):
    import os

    first = events.metadata["entrystart"]
    if first == 10:
        raise KeyError("no such thing")
    if first == 20:
        os._exit(3)  # as a crash in a library
    return {"n": len(events)}


def test_recoverable(client, samples):
    """What raises, and what ends its process, is named by its chunk, and costs nothing else."""
    file = str(samples / "nano_dy.root")
    chunks = list(processor.Runner(HERE, chunksize=10).preprocess({"ZJets": [file]}, treename="Events"))
    executor = DtpnodeExecutor(client, status=False, recoverable=True, retries=0, output=None)
    with pytest.warns(UserWarning, match=r"2 chunks failed:\n.*nano_dy.root, Events entries 10 to 19: .*KeyError"):
        with pytest.raises(Exception, match="no such thing") as e:
            processor.Runner(executor)(chunks, ill)
    assert e.value.partial_output == {"n": 20} and "Failed processing file" in str(e.value)
    assert 'raise KeyError("no such thing")' in str(e.value.__cause__)
    assert [place[3:] for place, _ in executor.failed] == [(10, 20), (20, 30)]
    assert executor.report["kind"].tolist() == ["failed"] * 2 and "exit status 3" in executor.failed[1][1]
    with pytest.raises(ItemLost, match=r"nano_dy.root, Events entries 20 to 29: .*exit status 3"):
        processor.Runner(DtpnodeExecutor(client, status=False, output=None))(chunks[2:3], ill)
    with pytest.raises(Exception, match="no such thing"):
        processor.Runner(DtpnodeExecutor(client, status=False, retries=0))(chunks[1:2], ill)


class Once:
    """An accumulator that cannot be added."""

    def __add__(self, other):
        raise ValueError("axes not mergable: Hist(\n  Regular(10, 0, 1),\n)")


def once(events):
    return {"h": Once()}


def noted_ill(events):
    e = FileNotFoundError("no corrections")
    if hasattr(e, "add_note"):
        e.add_note("of run 7")
    raise e


def test_what_is_told_of_what_raises(client, samples, capfd):
    """What Runner raises is not told as if a process had failed, and a sum that fails is told by file and entries."""
    file = str(samples / "nano_dy.root")
    chunks = list(processor.Runner(HERE, chunksize=10).preprocess({"ZJets": [file]}, treename="Events"))
    runner = processor.Runner(DtpnodeExecutor(client, status=False, retries=0))
    with pytest.raises(Exception, match="no corrections") as e:
        runner(chunks, noted_ill)
    assert re.search(rf"\nat the item \d, {file}, Events entries \d+ to \d+\n", str(e.value.__cause__))
    with pytest.raises(ValueError, match="axes not mergable: Hist") as e:
        runner(chunks, once)
    assert "\nin the sum of accumulators when " in str(e.value.__cause__)
    chunk = rf"{file}, Events entries \d+ to \d+"
    where = f"when what {chunk} gave was added to that of {chunk}"
    if sys.version_info >= (3, 11):
        assert re.fullmatch(where, e.value.__notes__[-1])
    else:
        where = f".*when .* added.*"
    err = "".join(line for line in capfd.readouterr().err.splitlines(True) if line.startswith("dtpnode: "))
    words = r"the sum of accumulators has raised ValueError: axes not mergable: Hist\( Regular\(10, 0, 1\), \),? "
    assert re.fullmatch(rf"(dtpnode: session \w+: on local-0: {words}{where}\n)?", err)


def twice(n):
    """What one chunk gives, in which one object has two names."""
    mass = hist.Hist.new.Reg(2, 0, 2, name="mass").Double()
    mass.fill(mass=[0.5])
    listed, array, counts = [n], np.array([1]), {"n": 1}
    return {"mass": mass, "also": mass, "list": listed, "lists": {"again": listed, "array": array},
            "array": array, "counts": counts, "in": {"counts": counts}}


def of_other_classes(n):
    counts = defaultdict(int) if n % 2 else {}
    counts["n"] = 1
    return {"counts": counts, "weights": np.array([1] if n % 2 else [1.5])}


def within(n):
    """What has one object under several keys of a mapping, and that by datasets, of which each chunk has one."""
    names, inner = ["x"], {"pt": np.array([n])}
    values = {"names": names, "more": names, "pt": inner["pt"], "inner": inner, "again": inner}
    return {f"dataset {n % 2}": values, "all": inner["pt"]}


def apart(value):
    """The same with an object for each key."""
    if not isinstance(value, dict):
        return copy.deepcopy(value)
    out = copy.copy(value)
    out.update((key, apart(inner)) for key, inner in value.items())
    return out


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 3, 0, 2), (3, 2, 1, 0)])
@pytest.mark.parametrize("level", [None, 1])
@pytest.mark.parametrize("work", [twice, of_other_classes, within])
def test_sums_by_any_way(work, level, order):
    """Sums are those of coffea, whether chunks are added as they are or have travelled before, and in each order."""
    def travelled(s):
        return pickle.loads(cloudpickle.dumps(s)) if isinstance(s, _chunks.Sum) else s

    def shown(total):
        return {k: shown(v) if isinstance(v, dict) else sorted(v) if isinstance(v, list) else
                v.values().tolist() if isinstance(v, hist.Hist) else np.asarray(v).tolist()
                for k, v in total.items()}

    def total(first, second, last):
        """Of two sums of two chunks."""
        a, b, c, d = (first(chunk(n)) for n in order)
        return last(add(second(add(a, b)), second(add(c, d)))).parts[0]

    chunk, add = _chunks.chunks(work, level, "chunk", None), functools.partial(_chunks.add, level)
    want = shown(processor.accumulate(apart(work(n)) for n in range(4)))
    for ways in itertools.product((travelled, lambda s: s), repeat=2):
        assert shown(total(*ways, lambda s: s)) == want
    one = functools.reduce(add, (travelled(chunk(n)) for n in order))
    assert shown(one.parts[0]) == want


class Stateful:
    """A processor that changes itself."""

    def __init__(self, size):
        self.seen, self.tables = 0, bytes(size)

    def process(self, n):
        self.seen += 1
        return {"seen": self.seen, "chunks": 1}


def processed(n, processor_instance):
    """As Runner has a chunk processed."""
    import lz4.frame

    if isinstance(processor_instance, bytes):
        processor_instance = cloudpickle.loads(lz4.frame.decompress(processor_instance))
    return processor_instance.process(n)


@pytest.mark.parametrize("size", [0, 40 << 20], ids=["small", "large"])
def test_processor_that_coffea_does_not_pack(executor, size):
    """With processor_compression=None coffea hands the processor on as it is, whose state is that of one chunk here."""
    own = Stateful(size)
    out, problem = executor(range(8), functools.partial(processed, processor_instance=own), None)
    assert out == {"seen": 8, "chunks": 8} and problem == 0 and own.seen == 0


def inverse(n):
    return {"sum": 1 / n}


def test_words_for_items(client):
    """Who calls an executor by itself has items, and not chunks."""
    executor = DtpnodeExecutor(client, status=False, recoverable=True)
    with pytest.warns(UserWarning, match=r"^1 item failed:\n  0: ZeroDivisionError: "):
        out, problem = executor([0, 1, 2], inverse, None)
    assert out == {"sum": 1.5} and isinstance(problem, ZeroDivisionError)


@pytest.mark.parametrize(("first", "last", "words"), [
    (-1, -1, "a.root, Events"), (0, 0, "a.root, Events without entries"), (5, 2000, "a.root, Events entries 5 to 1,999"),
])
def test_words_for_chunks(first, last, words):
    assert _chunks.shown(("A", "a.root", "Events", first, last)) == words


def interrupt(when):
    """Has this thread be interrupted when something is so."""
    def look():
        end = time.monotonic() + LIMIT
        while not when() and time.monotonic() < end:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=look, daemon=True).start()


def patient(path):
    """A function of chunks that says which it has begun, and waits at the third for a file."""
    def work(n):
        import os
        import time

        open(f"{path}/begun-{n}", "w").close()
        while n >= 2 and not os.path.exists(f"{path}/go"):
            time.sleep(0.01)
        return {"n": 1}

    return work


def begun(path, n):
    return lambda: len(list(path.glob("begun-*"))) >= n


def test_interrupted(client, tmp_path):
    """Ctrl-C ends a run with what is done, and what runs is waited for; a second one does not wait."""
    soft, hard, looks = tmp_path / "soft", tmp_path / "hard", tmp_path / "looks"
    for folder in soft, hard, looks:
        folder.mkdir()
    executor = DtpnodeExecutor(client, unit="chunk")
    interrupt(begun(soft, 5))
    threading.Thread(target=lambda: (await_stop(client), (soft / "go").touch()), daemon=True).start()
    with pytest.warns(UserWarning, match=r"interrupted: what is returned is that of \d+ of 1,000 chunks") as told:
        out, problem = executor(range(1_000), patient(soft), None)
    assert problem == 0 and 2 <= out["n"] < 1_000 and out["n"] >= len(list(soft.glob("begun-*"))) - 5
    words = [str(w.message) for w in told if w.category is UserWarning]
    assert f"of {out['n']:,} of" in words[0] and not executor.failed and not executor.skipped
    report = executor.report
    assert set(report.kind) == {"stopped"} and set(report.reason) == {"stopped by the user"}
    assert len(set(report.file)) == len(report) == 1_000 - out["n"], "each chunk that is not in the result"
    interrupt(begun(hard, 5))
    threading.Thread(target=lambda: (await_stop(client), interrupt(lambda: True)), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        executor(range(1_000), patient(hard), None)
    interrupt(begun(looks, 2))
    with pytest.raises(KeyboardInterrupt):
        executor.copy(function_name="get_metadata", unit="file")(range(1_000), patient(looks), None)
    for folder in hard, looks:
        (folder / "go").touch()


def raising(path):
    """A function of chunks that says which it has begun, waits for a file, and raises."""
    def work(n):
        import os
        import time

        open(f"{path}/begun-{n}", "w").close()
        while not os.path.exists(f"{path}/go"):
            time.sleep(0.01)
        raise ValueError(f"no muons in {n}")

    return work


def test_interrupted_and_raised(client, tmp_path):
    """What is waited for at Ctrl-C, and raises, is not hidden behind the interrupt."""
    executor = DtpnodeExecutor(client, status=False)
    interrupt(begun(tmp_path, 1))
    threading.Thread(target=lambda: (await_stop(client), (tmp_path / "go").touch()), daemon=True).start()
    with pytest.raises(ValueError, match="no muons in "):
        executor(range(10), raising(tmp_path), None)


def test_interrupted_before_anything(client):
    """There is no total then: that no item has come to a node is nothing that a user has done wrong."""
    future = mock.Mock()
    type(future).total = mock.PropertyMock(side_effect=TypeError("reduce() of no items with no initial value"))
    future.exception.return_value = dtpnode.Incomplete("the total is that of 0 items: it was stopped")
    with pytest.raises(KeyboardInterrupt, match="interrupted before any of 3 items was done"):
        DtpnodeExecutor(client)._stop(future, [1, 2, 3])


def slow(folder):
    """A processor that says what it has begun, and waits for a file."""
    def work(events):
        import os
        import time

        open(f"{folder}/begun-{events.metadata['entrystart']}", "w").close()
        while not os.path.exists(f"{folder}/go"):
            time.sleep(0.01)
        return {"n": len(events)}

    return work


@pytest.mark.parametrize("as_result", [False, True])
def test_interrupted_run(client, samples, tmp_path, as_result):
    """What was not processed is in the report, and is not among the chunks of the metrics; Ok is what coffea's own
    executor gives that can be stopped."""
    chunks = list(processor.Runner(HERE, chunksize=2).preprocess(
        {"ZJets": [str(samples / "nano_dy.root")]}, treename="Events"
    )) * 4
    executor = DtpnodeExecutor(client, status=False)
    skips = {"use_result_type": True, "skipbadfiles": True} if as_result else {}
    run = processor.Runner(executor, savemetrics=True, **skips)
    interrupt(begun(tmp_path, 1))
    threading.Thread(target=lambda: (await_stop(client), (tmp_path / "go").touch()), daemon=True).start()
    with pytest.warns(UserWarning, match="interrupted"):
        out = run(chunks, slow(tmp_path))
    assert not as_result or out.is_ok()
    values, metrics = out.unwrap() if as_result else out
    added = values["n"] // 2
    assert metrics["chunks"] == added < len(chunks) == added + len(executor.stopped)
    assert type(pickle.loads(pickle.dumps(metrics))) is dict
    assert executor.report.kind.tolist() == ["stopped"] * len(executor.stopped)
    whole = processor.Runner(executor, savemetrics=True)(chunks[:2], slow(tmp_path))
    assert whole[1]["chunks"] == 2 and not executor.stopped


@pytest.mark.parametrize("arguments, error, words", [
    ({"client": "tcp://host:8786"}, TypeError, "client must be a dtpnode.Client.* not 'tcp://host:8786'"),
    ({"retries": -1}, ValueError, "retries must be 0 or more, not -1"),
    ({"retries": "3"}, TypeError, "'str' object cannot be interpreted as an integer"),
])
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        DtpnodeExecutor(**arguments)


stopping = []


def await_stop(client, known=stopping):
    """Waits until a reduction is asked to stop that was not before."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if len(STOPS) > len(known):
            known.append(True)
            return
        time.sleep(0.01)


STOPS = []


@pytest.fixture(autouse=True)
def stops(monkeypatch):
    was = dtpnode.Reduction.stop

    def stop(self):
        was(self)
        STOPS.append(self.name)

    monkeypatch.setattr(dtpnode.Reduction, "stop", stop)


def test_limit_of_time(client, monkeypatch):
    """A chunk may take an hour, or what its user says."""

    class Asked(Exception):
        pass

    def reduce(*_, stall, **__):
        raise Asked(stall)

    monkeypatch.setattr(client, "reduce", reduce)
    for options, limit in ({}, 3600.0), ({"stall": 5}, 5.0), ({"stall": None}, None):
        with pytest.raises(Asked, match=f"^{limit}$"):
            DtpnodeExecutor(client, status=False, **options)([1], lambda _: 1, 0)
    with pytest.raises(ValueError, match="stall is -5"):
        DtpnodeExecutor(client, stall=-5)


def test_bar(client, capfd):
    """A plain line in a log, and none without status."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert DtpnodeExecutor(client, desc="Some")([1, 2], len_of, {"n": 1}) == ({"n": 3}, 0)
        line = capfd.readouterr().out.strip()
        assert re.match(r"Some 100% .* 2/2 ", line) and "\n" not in line
        assert DtpnodeExecutor(client, status=False)([], len_of, None) == (None, 0)
    assert capfd.readouterr().out == ""


def len_of(item):
    return {"n": 1}


def test_docs(cluster, samples, tmp_path, monkeypatch):
    """The code of docs/from-coffea-executors.md, block by block."""
    text = (Path(__file__).parents[2] / "docs" / "from-coffea-executors.md").read_text()
    monkeypatch.setenv("DTPNODE_STATE", str(cluster.states[0]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano_dy.root").symlink_to(samples / "nano_dy.root")
    blocks = re.findall("```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(block, names)
    names["client"].close()


# Cases of each format, of both kinds of processors, and with all values of each other parameter.
SOME = [
    "test_nanoevents_analysis[ProcessorABC-virtual-DtpnodeExecutor-None-None-skipbadfiles2-ttree]",
    "test_nanoevents_analysis[Callable-eager-DtpnodeExecutor-0-1000-True-rntuple]",
    "test_nanoevents_analysis[Callable-virtual-DtpnodeExecutor-0-None-False-parquet]",
    "test_use_result_type_err[DtpnodeExecutor]",
]
SOME = [f"test_local_executors.py::{name}" for name in SOME]
FILES = ["test_local_executors.py", "test_checkpointing.py", "test_preloading.py"]


def test_coffeas_own(cluster, sources, tmp_path):
    """coffea's tests of local executors, with the executor replaced; tests/child/dtpnode_in_coffea.py says how."""
    tests = tmp_path / "tests"
    tests.mkdir()
    for path in (sources / "tests").iterdir():
        if path.suffix == ".py":
            shutil.copy(path, tests)  # They write beside themselves.
        else:
            (tests / path.name).symlink_to(path)
    some = FILES if os.environ.get("DTPNODE_COFFEA") == "all" else SOME
    command = [sys.executable, "-m", "pytest", "-p", "dtpnode_in_coffea", "-p", "no:cacheprovider", "-q"]
    env = {**os.environ, "DTPNODE_STATE": str(cluster.states[0])}
    done = subprocess.run(
        [*command, *(f"tests/{name}" for name in some)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-10_000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert int(passed[1]) >= (len(SOME) if some is SOME else 176), done.stdout[-1_000:]
    print(done.stdout.splitlines()[-1])
