"""Distributed RDataFrames on real daemons, beside RDataFrames of this process."""

import functools
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import ROOT

import dtpnode

FILES, ENTRIES, CLUSTER = 3, 1000, 100  # of each file


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Trees t in t*.root, the same as RNTuples in n*.root, and friends in f*.root, whose files have other bounds."""
    folder = tmp_path_factory.mktemp("rdf")
    options = ROOT.RDF.RSnapshotOptions()
    options.fAutoFlush = CLUSTER
    for i in range(FILES):
        first = i * ENTRIES
        frame = ROOT.RDataFrame(ENTRIES).Define("x", f"double(rdfentry_ + {first})").Define("n", f"int(x) % 7")
        frame = frame.Define("v", "ROOT::RVecD{x, -x, 2.5}")
        frame.Snapshot("t", f"{folder}/t{i}.root", ["x", "n", "v"], options)
        ntuple = ROOT.RDF.RSnapshotOptions()
        ntuple.fOutputFormat = ROOT.RDF.ESnapshotOutputFormat.kRNTuple
        frame.Snapshot("t", f"{folder}/n{i}.root", ["x", "n", "v"], ntuple)
    for i, (first, last) in enumerate(((0, 1700), (1700, FILES * ENTRIES))):
        frame = ROOT.RDataFrame(last - first).Define("w", f"double(rdfentry_ + {first}) * 3")
        frame.Snapshot("f", f"{folder}/f{i}.root", ["w"], options)
    return folder


@pytest.fixture
def trees(data, monkeypatch):
    """Names of the files, as seen from the working folder."""
    monkeypatch.chdir(data)
    return [f"t{i}.root" for i in range(FILES)]


def value(result):
    """What a result comes to, in a form that can be compared."""
    if hasattr(result, "GetValue"):
        result = result.GetValue()
    if isinstance(result, ROOT.TH1):
        cells = [(result.GetBinContent(i), result.GetBinError(i)) for i in range(result.GetNcells())]
        return result.GetName(), result.GetEntries(), cells
    if isinstance(result, ROOT.THnBase):
        return [value(result.Projection(axis))[2] for axis in range(result.GetNdimensions())]
    if isinstance(result, ROOT.TGraph):
        return [(result.GetPointX(i), result.GetPointY(i)) for i in range(result.GetN())]
    if isinstance(result, ROOT.TStatistic):
        return result.GetN(), result.GetMean(), result.GetRMS(), result.GetMin(), result.GetMax()
    if isinstance(result, dict):
        return {name: [list(v) if hasattr(v, "__len__") else v for v in values] for name, values in result.items()}
    if isinstance(result, ROOT.RDF.RCutFlowReport):
        return str(result.AsString())
    return result


def same(a, b):
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        same(list(a.values()), [b[k] for k in a])
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-12, abs=1e-12)
    else:
        assert a == b


def book(frame):
    """Results of all kinds, by name."""
    even = frame.Filter("n % 2 == 0", "even").Define("y", "x * 0.5 + n").Redefine("n", "n + 1").Alias("z", "y")
    return {
        "count": even.Count(),
        "sum": even.Sum("y"),
        "mean": even.Mean("y"),
        "deviation": even.StdDev("z"),
        "max": even.Max("y"),
        "min": even.Min("z"),
        "histogram": even.Histo1D(("h", "h", 20, 0.0, 3000.0), "y", "x"),
        "two": even.Histo2D(("h2", "h2", 10, 0.0, 3000.0, 8, 0.0, 8.0), "y", "n"),
        "profile": even.Profile1D(("p", "p", 8, 0.0, 8.0), "n", "y"),
        "graph": even.Graph("x", "y"),
    }


def book_others(frame):
    """Results that ROOT does not clone."""
    few = frame.Filter("n > 2", "few")
    return {
        "statistics": few.Stats("x"),
        "three": few.Histo3D(("h3", "", 4, 0.0, 3000.0, 8, 0.0, 8.0, 3, 0.0, 3000.0), "x", "n", "x"),
        "many": few.HistoND(("h4", "", 2, [4, 8], [0.0, 0.0], [3000.0, 8.0]), ("x", "n")),
        "report": few.Report(),
        "vectors": frame.Histo1D(("v", "v", 30, -3000.0, 3000.0), "v"),
    }


def compare(book, distributed, local):
    ours, theirs = book(distributed), book(local)
    for name in ours:
        same(value(ours[name]), value(theirs[name]))


@pytest.mark.long
def test_operations_over_trees(client, trees):
    compare(book, ROOT.RDataFrame("t", trees, executor=client), ROOT.RDataFrame("t", trees))


def over_rntuples(client):
    names = [f"n{i}.root" for i in range(FILES)]
    return dtpnode.RDataFrame("t", names, executor=client), ROOT.RDataFrame("t", names)


@pytest.mark.long
def test_operations_over_rntuples(client, trees):
    compare(book_others, *over_rntuples(client))


def test_rntuples(client, trees):
    ours, local = over_rntuples(client)
    few, same_few = (frame.Filter("n > 2", "few").Sum("x") for frame in (ours, local))
    same(value(few), value(same_few))
    same(value(ours.AsNumpy(["v"])), value(local.AsNumpy(["v"])))


def test_empty_source(client):
    for entries in (1, 10, 1000):
        make = "rdfentry_ * 1.5"
        ours = ROOT.RDF.Distributed.Dtpnode.RDataFrame(entries, executor=client).Define("x", make)
        local = ROOT.RDataFrame(entries).Define("x", make)
        same(value(ours.Sum("x")), value(local.Sum("x")))
        same(value(ours.AsNumpy(["x"])), value(local.AsNumpy(["x"])))


def test_columns_are_put_together_once(client, trees, monkeypatch):
    """ROOT's own results copy all that there is for each pair of ranges."""
    from ROOT._pythonization._rdataframe import AsNumpyResult

    monkeypatch.setattr(AsNumpyResult, "Merge", None)
    columns = ROOT.RDataFrame("t", trees, executor=client).AsNumpy(["x", "n"])
    assert list(columns["x"]) == list(range(FILES * ENTRIES)) and columns["n"].dtype == "int32"


def test_ranges(client, trees):
    """A number that the user gives is kept; otherwise it is bounded by what there is."""
    given = ROOT.RDataFrame("t", trees, executor=client, npartitions=5)
    assert given.Count().GetValue() == 3000 and given._headnode.npartitions == 5
    own = ROOT.RDataFrame("t", trees[0], executor=client)
    assert own.Count().GetValue() == 1000 and own._headnode.npartitions == ENTRIES // CLUSTER
    three = ROOT.RDataFrame(3, executor=client)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert three.Count().GetValue() == 3 and three._headnode.npartitions == 2
    with pytest.raises(ValueError, match="npartitions is 0"):
        ROOT.RDataFrame(3, executor=client, npartitions=0)
    for number in (2.5, 2.0, "2"):
        with pytest.raises(TypeError, match=f"npartitions is '?{number}'?, and must be a whole number"):
            ROOT.RDataFrame(10, executor=client, npartitions=number)
    with pytest.raises(TypeError, match="one_file is 'x.root', and must be True or False"):
        ROOT.RDataFrame(10, executor=client, one_file="x.root")
    with pytest.raises(TypeError, match="no argument partitions"):
        ROOT.RDataFrame(3, executor=client, partitions=2)


def test_limit_of_time(client, monkeypatch):
    """A range may take an hour, or what its user says, also where nodes add what ranges give."""
    from dtpnode import _rdfbackend

    class Asked(Exception):
        pass

    def asked(*_, stall, **__):
        raise Asked(stall)

    with pytest.raises(ValueError, match="stall is -1"):
        ROOT.RDataFrame(3, executor=client, stall=-1)
    monkeypatch.setattr(client, "executor", asked)
    monkeypatch.setattr(client, "reduce", asked)
    for large in _rdfbackend.LARGE, -1:
        monkeypatch.setattr(_rdfbackend, "LARGE", large)
        for options, limit in ({}, 3600.0), ({"stall": 5}, 5), ({"stall": None}, None):
            with pytest.raises(Asked, match=f"^{limit}$"):
                ROOT.RDataFrame(3, executor=client, progress=False, **options).Count().GetValue()


@pytest.mark.long
def test_variations(client, trees):
    def book(frame):
        nominal = frame.Vary("x", "ROOT::RVecD{x * 0.9, x * 1.1}", ["down", "up"]).Filter("x > 100")
        return nominal.Histo1D(("h", "h", 10, 0.0, 3500.0), "x")

    ours = ROOT.RDF.Experimental.VariationsFor(book(ROOT.RDataFrame("t", trees, executor=client)))
    theirs = ROOT.RDF.Experimental.VariationsFor(book(ROOT.RDataFrame("t", trees)))
    for key in ("nominal", "x:down", "x:up"):
        same(value(ours[key]), value(theirs[key]))
    assert sorted(ours.GetKeys()) == sorted(map(str, theirs.GetKeys()))


@pytest.mark.long
def test_samples(client, trees):
    """DefinePerSample, with the metadata of a specification in JSON."""
    spec = {"samples": {
        f"s{i}": {"trees": ["t"], "files": [name], "metadata": {"scale": 0.5 + i}} for i, name in enumerate(trees)
    }}
    Path("spec.json").write_text(json.dumps(spec))

    def total(frame):
        return frame.DefinePerSample("s", 'rdfsampleinfo_.GetD("scale")').Define("y", "x * s").Sum("y").GetValue()

    same(total(ROOT.RDF.Experimental.FromSpec("spec.json", executor=client)),
         total(ROOT.RDF.Experimental.FromSpec("spec.json")))


@pytest.mark.long
def test_friends(client, trees):
    def chains():
        main, friend = ROOT.TChain("t"), ROOT.TChain("f")
        for name in trees:
            main.Add(name)
        for i in range(2):
            friend.Add(f"f{i}.root")
        main.AddFriend(friend, "also")
        return main, friend

    ours, theirs = chains(), chains()
    a = ROOT.RDataFrame(ours[0], executor=client).Filter("n == 3").AsNumpy(["x", "also.w"])
    b = ROOT.RDataFrame(theirs[0]).Filter("n == 3").AsNumpy(["x", "also.w"])
    same(value(a), value(b))


def test_graphs_at_once(client, trees):
    frames = [ROOT.RDataFrame("t", name, executor=client) for name in trees]
    sums = [frame.Sum("x") for frame in frames]
    assert ROOT.RDF.RunGraphs(sums) == FILES
    assert [s.GetValue() for s in sums] == [sum(range(i * ENTRIES, (i + 1) * ENTRIES)) for i in range(FILES)]


@pytest.mark.long
def test_the_same_bits_each_time(client, trees):
    def total():
        return ROOT.RDataFrame("t", trees, executor=client).Define("y", "std::sin(x) / 3").Sum("y").GetValue()

    assert len({total() for _ in range(3)}) == 1


@pytest.mark.long
def test_snapshot_of_each_range(client, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = ROOT.RDataFrame("t", f"{data}/t*.root", executor=client, npartitions=4).Filter("n != 3")
    written = frame.Snapshot("out", "some.root", ["x", "n"])
    assert sorted(os.listdir()) == [f"some_{i}.root" for i in range(4)]
    local = ROOT.RDataFrame("t", f"{data}/t*.root").Filter("n != 3")
    for again in (written, ROOT.RDataFrame("out", [f"some_{i}.root" for i in range(4)])):
        same(value(again.AsNumpy(["x", "n"])), value(local.AsNumpy(["x", "n"])))
    with pytest.warns(UserWarning, match="some_2.root and 1 more are of an earlier Snapshot"):
        ROOT.RDataFrame(10, executor=client, npartitions=2).Define("x", "1.").Snapshot("out", "some.root", ["x"])


@pytest.mark.parametrize("form", ["kTTree", pytest.param("kRNTuple", marks=pytest.mark.long)])
def test_snapshot_into_one_file(client, data, tmp_path, form):
    options = ROOT.RDF.RSnapshotOptions()
    options.fLazy = True
    options.fOutputFormat = getattr(ROOT.RDF.ESnapshotOutputFormat, form)
    frame = ROOT.RDataFrame("t", f"{data}/t*.root", executor=client, one_file=True).Filter("n != 3")
    count = frame.Count()
    written = frame.Snapshot("out", f"{tmp_path}/one.root", ["x", "n"], options)
    assert count.GetValue() == written.GetValue().Count().GetValue()
    assert os.listdir(tmp_path) == ["one.root"]
    local = ROOT.RDataFrame("t", f"{data}/t*.root").Filter("n != 3")
    same(value(ROOT.RDataFrame("out", f"{tmp_path}/one.root").AsNumpy(["x", "n"])), value(local.AsNumpy(["x", "n"])))


@pytest.mark.long
def test_snapshot_where_no_file_system_is_shared(client, data, tmp_path, monkeypatch):
    """Nodes do not see the hidden folder: the files come as parts of results."""
    from dtpnode import _rdfsnapshot

    folders = _rdfsnapshot.Snapshots._add

    def elsewhere(self, operation):
        folders(self, operation)
        real = dict(self.folders)
        self.folders.update({name: path + "-not-there" for name, path in real.items()})
        take = self.take

        def taken(done):
            assert all(part.path is None for part in done.parts)
            self.folders.update(real)
            take(done)

        self.take = taken

    monkeypatch.setattr(_rdfsnapshot.Snapshots, "_add", elsewhere)
    frame = ROOT.RDataFrame("t", f"{data}/t*.root", executor=client)
    written = frame.Snapshot("out", f"{tmp_path}/far.root", ["x"])
    assert written.Sum("x").GetValue() == sum(range(3000))
    assert all(name.startswith("far_") for name in os.listdir(tmp_path))


@pytest.mark.long
def test_nothing_is_left_of_a_snapshot_that_fails(client, data, tmp_path):
    ROOT.RDF.Distributed.DistributeCppCode(
        'double thrice(double x) { if (x == 2345) throw std::runtime_error("odd"); return 3 * x; }'
    )
    frame = ROOT.RDataFrame("t", f"{data}/t*.root", executor=client).Define("y", "thrice(x)")
    with pytest.raises(RuntimeError, match="odd"):
        frame.Snapshot("out", f"{tmp_path}/no.root", ["y"])
    assert os.listdir(tmp_path) == []
    with pytest.raises(dtpnode.Error, match="could not write the Snapshot"):
        frame.Snapshot("out", f"{tmp_path}/no/folder/no.root", ["y"])


@pytest.mark.long
def test_headers_libraries_and_files(client, tmp_path, monkeypatch):
    (tmp_path / "twice.hxx").write_text("inline double twice(double x) { return 2 * x; }\n")
    (tmp_path / "lib.cxx").write_text('extern "C" double seven() { return 7; }\n')
    (tmp_path / "number.txt").write_text("35\n")
    subprocess.run(["c++", "-shared", "-fPIC", "-o", "libseven.so", "lib.cxx"], cwd=tmp_path, check=True)
    distributed = ROOT.RDF.Distributed
    from ROOT._distrdf.Backends.Base import BaseBackend

    for kind in ("headers", "files", "pcms", "shared_libraries"):
        monkeypatch.setattr(BaseBackend, kind, set())
    monkeypatch.setattr(BaseBackend, "strings_to_declare", {})
    monkeypatch.setattr(BaseBackend, "initialization", staticmethod(lambda: None))
    distributed.DistributeHeaders(str(tmp_path / "twice.hxx"))
    distributed.DistributeSharedLibs(str(tmp_path / "libseven.so"))
    distributed.DistributeFiles(str(tmp_path / "number.txt"))
    distributed.DistributeCppCode(
        'extern "C" double seven(); double number() { double x; std::ifstream("number.txt") >> x; return x; }'
    )
    distributed.initialize(lambda: ROOT.gInterpreter.Declare(
        "#ifndef IT\n#define IT\nint it() { return 1; }\n#endif"))
    monkeypatch.chdir(tmp_path)
    frame = ROOT.RDataFrame(100, executor=client).Define("y", "twice(rdfentry_) + seven() + number() + it()")
    for _ in range(2):
        assert frame.Sum("y").GetValue() == 9900 + 43 * 100


@pytest.mark.long
def test_modules_that_are_edited(client, tmp_path, monkeypatch):
    """A graph that is run again has the modules as they are then, and not those of the session before."""
    from ROOT._distrdf.Backends.Base import BaseBackend

    def declare():
        import cuts_of_today

        cut = cuts_of_today.CUT
        ROOT.gInterpreter.Declare(f"#ifndef CUT\n#define CUT\nint todays_cut() {{ return {cut}; }}\n#endif")

    monkeypatch.setattr(BaseBackend, "initialization", staticmethod(declare))
    ROOT.gInterpreter.Declare("int todays_cut() { return 0; }")  # for the type of the column
    module = tmp_path / "cuts_of_today.py"
    for cut in (4, 7):
        module.write_text(f"CUT = {cut}\n")
        frame = ROOT.RDataFrame(10, executor=client, modules=[module]).Define("y", "todays_cut()")
        assert frame.Sum("y").GetValue() == 10 * cut


def test_a_range_that_raises_is_named(client, trees):
    ROOT.RDF.Distributed.DistributeCppCode(
        'double once(double x) { if (x == 1234) throw std::out_of_range("too odd"); return x; }'
    )
    frame = ROOT.RDataFrame("t", trees, executor=client, npartitions=6).Define("y", "once(x)")
    where = r"\n\(in range 2 of 6: t of t1.root from 0.0% to 50.0%"
    with pytest.raises(RuntimeError, match="out_of_range: too odd" + where):
        frame.Sum("y").GetValue()


@pytest.mark.long
def test_a_range_that_ends_its_process_is_named(client, trees):
    frame = ROOT.RDataFrame("t", trees, executor=client, npartitions=3)
    frame = frame.Define("y", "if (x == 2000) raise(9); return x;")
    with pytest.raises(dtpnode.ItemLost, match="range 2 of 3: t of t2.root from 0.0% to 100.0%: "):
        frame.Sum("y").GetValue()


@pytest.mark.long
def test_live_drawing(client, trees):
    frame = ROOT.RDataFrame("t", trees, executor=client)
    histogram, count = frame.Histo1D(("live", "", 10, 0.0, 3000.0), "x"), frame.Count()
    ROOT.RDF.Distributed.LiveVisualize([histogram], _seen)
    _entries.clear()
    assert histogram.GetEntries() == count.GetValue() == 3000 == _entries[-1]
    assert _entries == sorted(_entries) and not ROOT.gPad


_entries = []


def _seen(histogram):
    _entries.append(histogram.GetEntries())


def test_a_file_that_cannot_be_read(client, trees, tmp_path):
    (tmp_path / "bad.root").write_bytes(Path(trees[0]).read_bytes()[:2000])
    frame = ROOT.RDataFrame("t", [trees[0], str(tmp_path / "bad.root")], executor=client)
    with pytest.raises(RuntimeError, match="bad.root"):
        frame.Count().GetValue()


@pytest.mark.long
def test_a_node_that_lacks_something(client, tmp_path, monkeypatch):
    """What it should have run goes to the other one, and a warning says so, once."""
    from ROOT._distrdf.Backends.Base import BaseBackend

    def here(seen=str(tmp_path / "seen"), limit=120):
        task, end = sys.modules["_dtpnode_rdf"], time.monotonic() + limit
        while not task.node()[1].endswith("1") and not os.path.exists(seen) and time.monotonic() < end:
            time.sleep(0.01)  # The other node takes a range first.
        if task.node()[1].endswith("1"):
            Path(seen).touch()
            raise task.Lacking(f"{task.node()[1]} has no file far.root", task.node()[0])

    monkeypatch.setattr(BaseBackend, "initialization", staticmethod(here))
    frame = ROOT.RDataFrame(100, executor=client, npartitions=8)
    with pytest.warns(dtpnode.NodeWarning, match="1 has no file far.root; what it should have run goes to other"):
        assert frame.Count().GetValue() == 100


def test_a_client_that_is_closed(cluster):
    client = cluster.client()
    frame = ROOT.RDataFrame(10, executor=client)
    client.close()
    with pytest.raises(dtpnode.Error, match="was closed"):
        frame.Count().GetValue()


def test_other_executors_are_for_root(client):
    with pytest.raises(TypeError, match="not a supported connection type"):
        ROOT.RDataFrame(10, executor=object())


SCRIPT = textwrap.dedent("""
    import sys
    {imports}
    with dtpnode.LocalCluster(nodes=1, slots=1, python="none") as cluster, cluster.client() as client:
        print(type(ROOT.RDataFrame(10, executor=client)).__module__)
        print(type(ROOT.RDF.Distributed.Dtpnode.RDataFrame(10, executor=client)).__module__)
        print(ROOT.RDF.Experimental.FromSpec("{spec}", executor=client)._headnode.backend.client is client)
""")


@pytest.mark.parametrize("imports", [
    "import dtpnode, ROOT", "import ROOT; ROOT.RDF.Distributed; import dtpnode",
])
@pytest.mark.long
def test_order_of_imports(trees, imports):
    Path("order.json").write_text(json.dumps({"samples": {"s": {"trees": ["t"], "files": [trees[0]]}}}))
    script = SCRIPT.format(imports=imports, spec="order.json")
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["ROOT._distrdf.DataFrame"] * 2 + ["True"]


@pytest.mark.long
def test_large_results_are_added_on_nodes(client, trees, monkeypatch):
    """What is in order stays so, and a range that fails there is run once more by itself."""
    from dtpnode import _rdfbackend

    def book(frame):
        few = frame.Filter("n < 3")
        return {
            "three": few.Histo3D(("h3", "", 4, 0.0, 3000.0, 8, 0.0, 8.0, 3, 0.0, 3000.0), "x", "n", "x"),
            "graph": few.Graph("x", "n"), "report": few.Report(), "count": few.Count(),
            "arrays": frame.Define("i", "int(x)").AsNumpy(["i"], lazy=True),
        }

    monkeypatch.setattr(_rdfbackend, "LARGE", 0)
    runs = _rdfbackend.Backend._run
    again = []
    monkeypatch.setattr(_rdfbackend.Backend, "_run", lambda *args: again.append(args[3:]) or runs(*args))
    compare(book, ROOT.RDataFrame("t", trees, executor=client), ROOT.RDataFrame("t", trees))
    assert again == []
    ROOT.RDF.Distributed.DistributeCppCode('double odd(double x) { if (x == 1234) throw 1.5; return x; }')
    frame = ROOT.RDataFrame("t", trees, executor=client, npartitions=3).Define("y", "odd(x)")
    with pytest.raises(Exception, match="in range 1 of 3: t of t1.root from 0.0% to 100.0%"):
        frame.Histo1D(("h", "", 10, 0.0, 3000.0), "y").GetValue()
    assert [list(places) for (places,) in again] == [[1]]


def test_another_version_where_results_are_added(client, monkeypatch):
    """A node with another ROOT is named, also where no range's result comes here by itself."""
    from dtpnode import _rdfbackend

    monkeypatch.setattr(_rdfbackend, "LARGE", -1)
    monkeypatch.setattr(_rdfbackend, "here", lambda: "5.34")
    with pytest.warns(dtpnode.NodeWarning, match=f"has ROOT {ROOT.gROOT.GetVersion()}, and not 5.34 as this program"):
        assert ROOT.RDataFrame(10, executor=client).Count().GetValue() == 10


def test_sizes_of_results():
    from ROOT._distrdf import Operation

    from dtpnode import _rdfbackend

    def size(*booked):
        nodes = {i: SimpleNamespace(operation=operation) for i, operation in enumerate((None, *booked))}
        return _rdfbackend.size(functools.partial(print, computation_graph_callable=functools.partial(print, nodes)))

    make = Operation.create_op
    histogram = make("Histo1D", ("h", "h", 98, 0.0, 1.0), "x")
    assert size(make("Define", "x", "1"), histogram, make("Count")) == 1600
    assert size(make("Histo1D", ROOT.RDF.TH1DModel("h", "h", 98, 0.0, 1.0), "x")) == 1600
    assert size(make("Histo3D", ("h", "h", 8, 0.0, 1.0, 8, 0.0, 1.0, 8, 0.0, 1.0), "x", "x", "x")) == 16_000
    assert size(make("HistoND", ("h", "h", 2, [8, 8], [0.0, 0.0], [1.0, 1.0]), ("x", "x"))) == 1600
    assert size(make("Profile2D", ("p", "p", 8, 0.0, 1.0, 8, 0.0, 1.0), "x", "x", "x")) == 1600
    vary = make("Vary", "x", "ROOT::RVecD{x, x}", ["down", "up"], "name")
    assert size(vary, histogram) == 1600
    assert size(vary, histogram, make("VariationsFor")) == 4800


@pytest.mark.long
def test_graphs_are_compiled_where_processes_are_forked(client, trees, monkeypatch):
    """The first one of a session before any process is forked, and others once some process has run them."""
    from dtpnode import _rdfbackend

    made = []
    runs = _rdfbackend.Backend.run_of
    monkeypatch.setattr(_rdfbackend.Backend, "run_of", lambda *args: made.append(runs(*args)) or made[-1])
    options = {"executor": client, "modules": ["textwrap"]}  # a session of its own
    assert ROOT.RDataFrame("t", trees, **options).Define("y", "x + 7").Sum("y").GetValue() > 0
    (pool,) = (p for p in _rdfbackend.pools(client)._pools.values() if p.usable())

    def compiled(name):
        task = sys.modules["_dtpnode_rdf"]
        assert task.FIRST in sys.modules and signal.getsignal(task.SIGNAL) is task._compile_all
        return name in task._compiled

    first = hashlib.sha256(made[-1].mapper).hexdigest()
    assert all(pool.executor.map(compiled, [first] * 4))
    assert ROOT.RDataFrame("t", trees, **options).Define("y", "x + 8").Sum("y").GetValue() > 0
    second, limit = hashlib.sha256(made[-1].mapper).hexdigest(), time.monotonic() + 900
    while not pool.executor.submit(compiled, second).result():
        assert time.monotonic() < limit


@pytest.mark.long
def test_page_for_users_of_dask(cluster, tmp_path, monkeypatch):
    """The code of docs/from-dask-rdataframe.md, block by block."""
    monkeypatch.setenv("DTPNODE_STATE", str(cluster.states[0]))
    monkeypatch.chdir(tmp_path)
    frame = ROOT.RDataFrame(3000).Define("nMuon", "int(rdfentry_ % 4)").Define("MET_pt", "float(rdfentry_)")
    frame = frame.Define("Muon_charge", "auto c = ROOT::RVecI(nMuon, 1); if (nMuon > 1) c[1] = -1; return c;")
    for name in ("pt", "eta", "phi", "mass"):
        frame = frame.Define(f"Muon_{name}", "ROOT::RVecF(nMuon, 1.f)")
    for name in ("e0.root", "e1.root"):
        frame.Snapshot("Events", name)
    page = (Path(__file__).parents[2] / "docs" / "from-dask-rdataframe.md").read_text()
    blocks = re.findall("```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(block, names)
    assert names["mass"].GetEntries() == 1500
    names["client"].close()


def test_ranges_in_which_nothing_passes(client, trees):
    """ROOT's means of these are no numbers once two of them are merged."""

    def book(frame):
        few = frame.Filter("x > 1234 && x < 1238")
        return {name: getattr(few, name)("x") for name in ("Mean", "StdDev", "Stats")}

    compare(book, ROOT.RDataFrame("t", trees, executor=client), ROOT.RDataFrame("t", trees))


@pytest.mark.long
def test_results_of_nothing_and_of_variations(client, trees):
    """Also where no entry of any range passes, or one alone."""

    def book(frame):
        few = frame.Filter("x > 1234 && x < 1238")
        one, none = frame.Filter("x == 2"), frame.Filter("x < 0")
        names = "Mean", "StdDev", "Stats"
        out = {f"{name} of {i}": getattr(f, name)("x") for i, f in enumerate((few, one, none)) for name in names}
        varied = frame.Vary("x", "ROOT::RVecD{x + 5000, x}", ["up", "same"]).Filter("x < 1234").Mean("x")
        out["varied"] = ROOT.RDF.Experimental.VariationsFor(varied)
        return out

    ours, theirs = book(ROOT.RDataFrame("t", trees, executor=client)), book(ROOT.RDataFrame("t", trees))
    a, b = ours.pop("varied"), theirs.pop("varied")
    for name in ours:
        same(value(ours[name]), value(theirs[name]))
    for key in ("nominal", "x:up", "x:same"):
        same(a[key], b[key])
