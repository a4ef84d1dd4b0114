"""What a distributed RDataFrame refuses when an operation is booked, or when it is made, and how its values merge."""

import functools
import gc
import hashlib
import os
import pickle
import threading
import types
from array import array
from concurrent.futures import Future

import cloudpickle
import numpy
import pytest
import ROOT
from ROOT._distrdf.Backends.Base import TaskResult, distrdf_reducer

import dtpnode


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("booked")
    for i in range(2):
        frame = ROOT.RDataFrame(100).Define("x", f"double(rdfentry_ + {100 * i})").Define("v", "ROOT::RVecF{1.f, 2.f}")
        frame.Snapshot("t", f"{folder}/b{i}.root", ["x", "v"])
    return [f"{folder}/b{i}.root" for i in range(2)]


EDGES = array("d", [0.0, 1.0, 2.0])


@pytest.mark.parametrize(("name", "model", "axis", "columns"), [
    ("Histo1D", ("h", "", 10, 0, 0), "x (from 0 to 0)", ("x", "w")),
    ("Histo2D", ("h", "", 2, EDGES, 10, 3.0, 2.0), "y (from 3 to 2)", ("x", "x")),
    ("Histo3D", ("h", "", 2, 0, 1, 2, 0, 1, 3, 0, 0), "z (from 0 to 0)", ("x", "x", "x")),
    ("HistoND", ("h", "", 2, [4, 8], [0.0, 0.0], [3.0, 0.0]), "1 (from 0 to 0)", (("x", "x"),)),
    ("HistoNSparseD", ("h", "", 2, [4, 8], [0.0, 0.0], [0.0, 1.0]), "0 (from 0 to 0)", (("x", "x"),)),
    ("Profile1D", ("h", "", 8, 0.0, 0.0), "x (from 0 to 0)", ("x", "x")),
    ("Profile2D", ("h", "", 8, 0.0, 1.0, 8, 0.0, 0.0), "y (from 0 to 0)", ("x", "x", "x")),
])
def test_limits_that_root_would_choose(client, name, model, axis, columns):
    """Each range would have others, and ROOT would leave out what it cannot merge."""
    frame = ROOT.RDataFrame(10, executor=client).Define("x", "1.").Define("w", "1.")
    with pytest.raises(ValueError) as caught:
        getattr(frame, name)(model, *columns)
    assert f"{name} 'h' of x, " in str(caught.value) and f"no limits on its axis {axis}" in str(caught.value)
    assert "low < high" in str(caught.value) and "Min('x') and Max('x')" in str(caught.value)


def test_limits_that_are_given(client):
    frame = ROOT.RDataFrame(10, executor=client).Define("x", "1.")
    with pytest.raises(ValueError, match="has no limits"):
        frame.Histo1D(ROOT.RDF.TH1DModel("h", "", 10, 1, 1), "x")
    histogram = frame.Histo1D(("h", "", 2, EDGES), "x")
    profile = frame.Profile1D(("p", "", 2, 0.0, 2.0, 0.0, 0.0), "x", "x")  # It has no limits on what it averages.
    assert histogram.GetEntries() == profile.GetEntries() == 10
    with pytest.raises(ValueError, match="has no limits"):  # also after a run
        frame.Histo1D(model=("h", "", 10, 0, 0))


def test_what_cannot_be_merged_is_an_error(capfd):
    """ROOT itself leaves it out, with a line on standard error."""
    from dtpnode import _rdfbackend

    def made(high):
        histogram = ROOT.RDataFrame(10).Define("x", "0.5").Histo1D(("mass", "", 10, 0, high), "x")
        return TaskResult([ROOT.Detail.RDF.GetMergeableValue(histogram)], None)

    reduce = _rdfbackend.task.exact(distrdf_reducer)
    assert reduce(made(1), made(1)).mergeables[0].GetValue().GetEntries() == 20
    with pytest.raises(RuntimeError, match="could not merge what ranges give for TH1D 'mass': .*limits are inconsist"):
        reduce(made(1), made(0.77))
    assert "limits" not in capfd.readouterr().err
    ROOT.Error("here", "errors are shown as before")
    assert "errors are shown as before" in capfd.readouterr().err


class Thread:
    """Becomes the name of the thread that unpickles it."""

    def __reduce__(self):
        return _name, ()


def _name():
    return threading.current_thread().name


def test_results_are_unpickled_by_the_thread_that_asks():
    """Those that receive them would use ROOT while another thread does."""
    from dtpnode import _rdfbackend

    def received(value):
        pickled, out = cloudpickle.dumps(value, 5), []
        thread = threading.Thread(target=lambda: out.append(pickle.loads(pickled)))
        thread.start()
        thread.join()
        return out[0]

    numbers = numpy.arange(10.0)
    task, here = _rdfbackend.task, threading.current_thread().name
    done = received(task.Done(TaskResult([Thread(), numbers], None), [], "6.40"))
    assert done.result.mergeables[0] == here and done.version == "6.40"
    assert list(done.result.mergeables[1]) == list(numbers) and done.result.mergeables[1].flags.writeable
    total = task.Total(TaskResult([Thread()], None), 3)
    for _ in range(2):  # also when it was handed on as it had come
        total = received(total)
    assert total.opened().result.mergeables == [here] and total.opened().apart == {3: []}


@pytest.mark.parametrize(("weights", "beyond"), [(True, False), (False, True), (False, False)])
def test_settings_of_all_histograms(client, files, weights, beyond):
    """They are those of the program."""
    ROOT.TH1.SetDefaultSumw2(weights)
    ROOT.TH1.StatOverflows(beyond)
    try:
        ours, theirs = (
            ROOT.RDataFrame("t", files, **options).Histo1D(("h", "", 10, 0.0, 50.0), "x").GetValue()
            for options in ({"executor": client, "npartitions": 2}, {})
        )
    finally:
        ROOT.TH1.SetDefaultSumw2(False)
        ROOT.TH1.StatOverflows(False)
    assert ours.GetMean() == theirs.GetMean() == (99.5 if beyond else 24.5)
    assert ours.GetSumw2N() == theirs.GetSumw2N() == 12 * weights


def test_trees_in_a_folder_of_their_file(client, tmp_path):
    """Names of theirs that begin with a slash lead to no sample on the nodes."""
    name = f"{tmp_path}/folders.root"
    ROOT.RDataFrame(10).Define("x", "double(rdfentry_)").Snapshot("inner/t", name, ["x"])
    file = ROOT.TFile.Open(name)
    for source in (file.Get("inner/t"),), ("t", file.Get("inner")), ("/inner/t", name):
        frame = ROOT.RDataFrame(*source, executor=client, npartitions=1)
        assert frame.DefinePerSample("of", "rdfsampleinfo_.Contains(\"folders\")").Filter("of").Sum("x").GetValue() == 45


def test_files_in_a_tuple(client, files):
    assert ROOT.RDataFrame("t", tuple(files), ("x",), executor=client, npartitions=1).Count().GetValue() == 200


def test_entry_lists(client, files):
    """Ranges would know nothing of them."""
    chain = ROOT.TChain("t")
    for name in files:
        chain.Add(name)
    chosen = ROOT.TEntryList("chosen", "", chain)
    chosen.Enter(3, chain)
    chain.SetEntryList(chosen)
    with pytest.raises(ValueError, match="TChain 't' has an entry list"):
        ROOT.RDataFrame(chain, executor=client)
    chain.SetEntryList(ROOT.nullptr)
    assert ROOT.RDataFrame(chain, executor=client).GetColumnType("x") == "Double_t"


@pytest.mark.parametrize("bounds", [(0, 50), (5, 50), (50,)])
def test_global_ranges(client, files, bounds):
    spec = ROOT.RDF.Experimental.RDatasetSpec()
    spec.AddSample(("all", "t", files)).WithGlobalRange(bounds)
    with pytest.raises(ValueError, match="the RDatasetSpec has a global range, from entry [05] to 50"):
        ROOT.RDataFrame(spec, executor=client)


def test_vectors_as_arrays(client, files):
    """ROOT cannot clone what takes them."""
    frame = ROOT.RDataFrame("t", files, executor=client, npartitions=4).Filter("x > 120")
    assert [list(v) for v in frame.AsNumpy(["v"])["v"]] == [[1.0, 2.0]] * 79


PLAIN = "std::vector<TLorentzVector>{{1, 2, 3, double(rdfentry_)}}"


@pytest.mark.parametrize("column", [
    "ROOT::RVec<ROOT::RVecF>{{1.f}, {2.f, 3.f}}",
    "ROOT::RVec<ROOT::Math::PtEtaPhiMVector>{{1., 2., 3., 4.}}",
    "std::map<int, float>{{1, 2.f}}",
    "std::optional<int>(1)",
    "booked::Map{{{1, 2.f}}}",
    "std::vector<booked::Map>(1)",
])
def test_arrays_of_what_cannot_be_sent(client, column):
    """They came as empty maps and as any numbers, or ended one process or another."""
    ROOT.gInterpreter.Declare("""
        #include <map>
        #include <optional>
        #ifndef BOOKED
        #define BOOKED
        namespace booked { struct Map { std::map<int, float> of; }; }
        #endif
    """)
    frame = ROOT.RDataFrame(4, executor=client, npartitions=2).Define("q", column).Define("p", PLAIN)
    for book in (lambda: frame.AsNumpy(["p", "q"]), lambda: frame.AsNumpy(exclude=["p"], lazy=True)):
        with pytest.raises(ValueError, match=r"AsNumpy of 'q', of the type .*exclude=\['q'\] leaves it out"):
            book()


def test_arrays_of_what_can_be_sent(client):
    frame = ROOT.RDataFrame(4, executor=client, npartitions=2).Define("p", PLAIN)
    frame = frame.Define("s", 'std::vector<std::string>{"a", "b"}').Define("r", "ROOT::RVec<signed char>{1, 2}")
    frame = frame.Define("v", "std::vector<ROOT::RVecF>{{1.f}, {2.f, 3.f}}")
    found = frame.AsNumpy(["p", "s", "r", "v"])
    assert [[p.E() for p in some] for some in found["p"]] == [[0.0], [1.0], [2.0], [3.0]]
    assert [[str(s) for s in some] for some in found["s"]] == [["a", "b"]] * 4
    assert [list(some) for some in found["r"]] == [[1, 2]] * 4
    assert [[list(v) for v in some] for some in found["v"]] == [[[1.0], [2.0, 3.0]]] * 4


class Exits:
    def __reduce__(self):
        return os._exit, (129,)


@pytest.mark.long
def test_a_graph_that_ends_the_process_which_compiles_it(client, files, monkeypatch, tmp_path, capfd):
    """It is compiled where ranges are run, and nowhere else again."""
    from dtpnode import _rdfbackend

    monkeypatch.setattr(_rdfbackend.Backend, "_first", lambda *_: pickle.dumps(Exits()))
    frame = ROOT.RDataFrame(10, executor=client, modules=["textwrap"], npartitions=1)  # a session of its own
    assert frame.Count().GetValue() == 10
    task, graph = _rdfbackend.task, b"no pickle"
    monkeypatch.setattr(task, "_folder", str(tmp_path / "graphs"))
    task._try(str(tmp_path), graph)
    assert "could not compile a graph" in capfd.readouterr().err and not os.listdir(tmp_path)
    (tmp_path / f"compiling-{hashlib.sha256(graph).hexdigest()}").touch()  # as left by a process that has ended
    task._try(str(tmp_path), graph)
    assert not capfd.readouterr().err


def options(**values):
    made = ROOT.RDF.RSnapshotOptions()
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.long
def test_arguments_of_snapshots(client, tmp_path, monkeypatch):
    """They are as in one process: by name, too, and with the values of ~ and $NAME."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", str(tmp_path))
    frame = ROOT.RDataFrame(10, executor=client, npartitions=1).Define("x", "1.").Define("y", "2.")
    lazy = frame.Snapshot(treename="t", filename="$WHERE/named.root", options=options(fLazy=True))
    assert list(frame.Snapshot("t", "~/home.root", columnList=["x"]).GetColumnNames()) == ["x"]
    assert list(lazy.GetValue().GetColumnNames()) == ["x", "y"]
    assert sorted(os.listdir(tmp_path)) == ["home_0.root", "named_0.root"]
    for arguments, words in (
        ({"treename": "t"}, "Snapshot lacks filename"),
        ({"treename": "t", "filename": "f.root", "option": 1}, "no argument option"),
    ):
        with pytest.raises(TypeError, match=words):
            frame.Snapshot(**arguments)


def test_snapshots_into_one_file(client, tmp_path):
    frame = ROOT.RDataFrame(10, executor=client, npartitions=1).Define("x", "1.")
    held = [frame.Snapshot(name, f"{tmp_path}/{path}.root", ["x"], options(fLazy=True))
            for name, path in (("t", "one"), ("u", "../" + tmp_path.name + "/one"))]
    with pytest.raises(dtpnode.Error, match="could not run two Snapshots into one file: .*/one.root and .*/one.root"):
        held[0].GetValue()
    assert os.listdir(tmp_path) == []
    held.pop()
    assert held[0].GetValue().Count().GetValue() == 10


@pytest.mark.long
def test_snapshot_of_variations(client, tmp_path):
    """ROOT cannot clone what writes them."""
    frame = ROOT.RDataFrame(10, executor=client, npartitions=6).Define("x", "1.")
    varied = frame.Vary("x", "ROOT::RVecD{x * 0.9, x * 1.1}", ["down", "up"])
    written = varied.Snapshot("t", f"{tmp_path}/v.root", ["x"], options(fIncludeVariations=True))
    assert {"x", "x__x_down", "x__x_up"} <= set(map(str, written.GetColumnNames()))


def test_a_snapshot_that_has_failed_is_not_run_again(client, tmp_path):
    """Nobody has it, and ROOT would run it with whatever comes next."""
    frame = ROOT.RDataFrame(10, executor=client, npartitions=1).Define("x", "1.")
    with pytest.raises(dtpnode.Error, match="could not write the Snapshot"):
        frame.Snapshot("t", f"{tmp_path}/no/such/folder.root", ["x"])
    assert frame.Count().GetValue() == 10


@pytest.mark.long
def test_variations_of_what_was_computed(client):
    frame = ROOT.RDataFrame(10, executor=client, npartitions=1).Define("x", "1.")
    mean = frame.Vary("x", "ROOT::RVecD{x * 0.9, x * 1.1}", ["down", "up"]).Mean("x")
    assert mean.GetValue() == 1 and frame.Count().GetValue() == 10
    with pytest.raises(ValueError, match="VariationsFor of a result of Mean that was computed in an earlier run"):
        ROOT.RDF.Experimental.VariationsFor(mean)


def test_words_for_what_goes_wrong_on_nodes():
    from dtpnode import _rdfbackend

    said = _rdfbackend.with_signal("process: left with exit status 129\ntried 3 times")
    assert said == "process: left with exit status 129, as ROOT does after a segmentation violation\ntried 3 times"
    assert _rdfbackend.with_signal("process: left with exit status 12") == "process: left with exit status 12"
    unknown = RuntimeError("RDataFrame: An error occurred during just-in-time compilation.")
    assert "(in range 1)\nNodes do not know what was declared" in str(_rdfbackend.named(unknown, "range 1"))
    assert str(_rdfbackend.named(RuntimeError("odd"), "range 1")) == "odd\n(in range 1)"


def test_arguments_are_held_as_they_were(client, files, tmp_path):
    """They may be changed, and be used for something else, before the graph runs."""
    frame = ROOT.RDataFrame("t", files, executor=client, npartitions=1)
    columns, edges, how = ["x"], numpy.array([0.0, 50.0, 200.0]), options(fLazy=True)
    model = ROOT.RDF.TH1DModel("h", "", 4, 0.0, 200.0)
    histograms = frame.Histo1D(model, "x"), frame.Histo1D(("e", "", 2, edges), "x")
    written, arrays = frame.Snapshot("t", f"{tmp_path}/held.root", columns, how), frame.AsNumpy(columns, lazy=True)
    columns.append("v")
    edges[1], model.fName, model.fNbinsX = 100.0, "other", 40
    how.fLazy, how.fOutputFormat = False, ROOT.RDF.ESnapshotOutputFormat.kRNTuple
    assert list(arrays.GetValue()) == ["x"]
    assert (histograms[0].GetName(), histograms[0].GetNbinsX(), histograms[1].GetBinContent(1)) == ("h", 4, 50)
    assert list(written.GetValue().GetColumnNames()) == ["x"]
    with ROOT.TFile.Open(f"{tmp_path}/held_0.root") as file:
        assert isinstance(file.Get("t"), ROOT.TTree)


@pytest.mark.long
def test_what_is_refused_is_no_more_in_the_graph(client, tmp_path):
    """In one process a dataframe is as it was before, when ROOT does not compile what a user has mistyped."""
    frame = ROOT.RDataFrame(10, executor=client, npartitions=1).Define("x", "1.")
    with pytest.raises(ROOT.std.runtime_error):
        frame.Define("y", "xx * 2")
    with pytest.raises(ValueError, match="late.root has fMode UPDATE"):
        frame.Snapshot("t", f"{tmp_path}/late.root", ["x"], options(fMode="UPDATE"))
    assert frame.Count().GetValue() == 10 and os.listdir(tmp_path) == []


@pytest.mark.long
@pytest.mark.parametrize("one_file", [True, False])
def test_snapshots_that_replace_nothing(client, tmp_path, one_file):
    frame = ROOT.RDataFrame(10, executor=client, npartitions=1, one_file=one_file).Define("x", "1.")
    arguments = "t", f"{tmp_path}/new.root", ["x"], options(fMode="CREATE")
    assert frame.Snapshot(*arguments).Count().GetValue() == 10
    (name,) = os.listdir(tmp_path)
    content = (tmp_path / name).read_bytes()
    with pytest.raises(dtpnode.Error, match=f"its fMode is CREATE, and .*{name} exists"):
        frame.Redefine("x", "2.").Snapshot(*arguments)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == content


def test_names_of_folders_are_no_names_of_files(tmp_path):
    from dtpnode import _rdfsnapshot

    folder = tmp_path / "v6.root.d"
    folder.mkdir()
    (folder / "a_3.root").touch()
    _rdfsnapshot._check_targets([f"{folder}/a.root", f"{folder}/b.root"])
    assert _rdfsnapshot._numbered(f"{folder}/a.root") == ["a_3.root"]


def test_a_range_that_is_lost_where_a_disk_is_full(tmp_path, monkeypatch):
    """ROOT ends the process then, and does not say why."""
    from dtpnode import _rdfbackend, _rdfsnapshot

    left = 12 << 20
    monkeypatch.setattr(os, "statvfs", lambda _: types.SimpleNamespace(f_bavail=left >> 12, f_frsize=1 << 12))
    snapshots = _rdfsnapshot.Snapshots.__new__(_rdfsnapshot.Snapshots)
    snapshots.folders = {"name": str(tmp_path / ".name")}
    execution = _rdfbackend.Execution.__new__(_rdfbackend.Execution)
    execution._backend, execution._words = types.SimpleNamespace(_snapshots=snapshots), ["range 0 of 1"]
    lost = Future()
    lost.set_exception(dtpnode.ItemLost("process: left with exit status 133"))
    with pytest.raises(dtpnode.ItemLost) as caught:
        execution._done(0, lost)
    said = "range 0 of 1: process: left with exit status 133, as ROOT does after an abort\n"
    assert caught.value.message == f"{said}{tmp_path}, where a Snapshot writes, has {left:,} bytes left"
    left = _rdfsnapshot.ROOM
    assert snapshots.room() == ""


def test_a_tree_of_two_samples(client, files):
    """Ranges would have the metadata of one of them each time."""
    def spec(*samples):
        made = ROOT.RDF.Experimental.RDatasetSpec()
        for number, names in enumerate(samples):
            metadata = ROOT.RDF.Experimental.RMetaData()
            metadata.Add("scale", float(number))
            made.AddSample(ROOT.RDF.Experimental.RSample(f"s{number}", "t", names, metadata))
        return made

    with pytest.raises(ValueError, match="b0.root/t in sample 's1' and in another one"):
        ROOT.RDataFrame(spec(files[:1], files), executor=client)
    for samples in (files[:1], files[1:]), (files[:1] * 2, files[1:]):
        ROOT.RDataFrame(spec(*samples), executor=client)


@pytest.mark.parametrize(("names", "parts"), [(1, 49), (3, 187), (3, 4)])
def test_the_last_range_ends_with_the_last_file(names, parts):
    """1 / 49 * 49 is less than 1, and 3 / 187 * 187 is more than 3."""
    from ROOT._distrdf import Ranges

    from dtpnode import _rdfbackend

    for friends in None, object():
        ranges = Ranges.get_percentage_ranges(["t"] * names, [*"abc"[:names]], parts, friends, None, None)
        _rdfbackend.complete(ranges)
        last = ranges[-1]
        read = last.filenames[last.first_file_idx : last.last_file_idx]
        assert read == ["abc"[names - 1]] and last.last_tree_end_perc == 1 > last.first_tree_start_perc
    empty = Ranges.get_balanced_ranges(10, 2, None)
    _rdfbackend.complete(empty)
    assert [r.end for r in empty] == [5, 10]


def drawn(graph, sizes):
    sizes.append(graph.GetN())


@pytest.mark.long
def test_order_of_what_is_drawn_meanwhile(client, files, monkeypatch, tmp_path):
    """Ranges that end in another order give the rows of columns, graphs and files in that of the ranges."""
    from dtpnode import _rdfbackend

    run = _rdfbackend.Backend._run
    monkeypatch.setattr(
        _rdfbackend.Backend, "_run",
        lambda self, *args: reversed([[one] for some in run(self, *args) for one in sorted(some)]),
    )
    frame = ROOT.RDataFrame("t", files, executor=client, npartitions=2, one_file=True)
    histogram, arrays = frame.Histo1D(("h", "", 10, 0.0, 200.0), "x"), frame.AsNumpy(["x"], lazy=True)
    graphs = [frame.Graph("x", "x") for _ in range(2)]
    written = frame.Snapshot("t", f"{tmp_path}/drawn.root", ["x"], options(fLazy=True))
    sizes = []
    ROOT.RDF.Distributed.LiveVisualize({histogram: None, graphs[0]: functools.partial(drawn, sizes=sizes)})
    assert histogram.GetEntries() == 200 and sizes == [100, 200]
    assert list(arrays.GetValue()["x"]) == list(range(200))
    for graph in graphs:
        assert [graph.GetPointX(i) for i in range(graph.GetN())] == list(range(200))
    assert list(written.GetValue().AsNumpy(["x"])["x"]) == list(range(200))


def test_samples_of_one_name(client, files):
    """Ranges would have the files of one of them alone."""
    spec = ROOT.RDF.Experimental.RDatasetSpec()
    for file in files:
        spec.AddSample(("s", "t", [file]))
    with pytest.raises(ValueError, match="several samples of the name 's', one of them with .*b1.root/t"):
        ROOT.RDataFrame(spec, executor=client)


@pytest.mark.long
def test_a_specification_that_is_gone(client, files):
    """What FromSpec makes of a file is gone when the dataframe is there."""
    def made():
        spec = ROOT.RDF.Experimental.RDatasetSpec()
        spec.AddSample(("s", "t", files))
        spec.WithGlobalFriends("t", files, "other")
        return ROOT.RDataFrame(spec, executor=client)

    frames = [made() for _ in range(3)]
    gc.collect()
    for frame in frames:
        (names,) = frame._headnode.friendinfo.fFriendFileNames
        assert list(map(str, names)) == files


def test_sources_are_held_as_they_were(client, files, tmp_path):
    """Or it is said that they are not: a chain that is changed before the graph runs counts in one process."""
    rntuple = options(fOutputFormat=ROOT.RDF.ESnapshotOutputFormat.kRNTuple)
    ROOT.RDataFrame(1).Define("x", "1.").Snapshot("n", f"{tmp_path}/n.root", ["x"], rntuple)
    names = [f"{tmp_path}/n.root"]
    frame = ROOT.RDataFrame("n", names, executor=client)
    names.append(names[0])
    assert frame._headnode.inputfiles == names[:1]

    chain, friend = ROOT.TChain("t"), ROOT.TChain("t")
    chain.Add(files[0])
    friend.Add(files[0])
    frame = ROOT.RDataFrame(chain, executor=client)
    chain.AddFriend(friend, "other")
    with pytest.raises(ValueError, match="other files or friends than when"):
        frame.Count().GetValue()
    frame = ROOT.RDataFrame(chain, executor=client)
    chain.Add(files[1])
    with pytest.raises(ValueError, match="the chain 't' has other files or friends than when"):
        frame.Count().GetValue()
    frame = ROOT.RDataFrame(chain, executor=client)
    few = ROOT.TEntryList("few", "")
    chain.SetEntryList(few)
    with pytest.raises(ValueError, match="TChain 't' has an entry list"):
        frame.Count().GetValue()
    # Exceptions may have cycles with all of these, and ROOT does not know in which order a collector deletes them.
    chain.SetEntryList(ROOT.nullptr)
    chain.RemoveFriend(friend)


def test_one_module_goes_along(client):
    """As with an executor."""
    for module in "json", types:
        frame = dtpnode.RDataFrame(1, executor=client, modules=module)
        assert frame._headnode.backend.options.modules == (module,)


@pytest.mark.parametrize("one_file", [True, pytest.param(False, marks=pytest.mark.long)])
def test_rntuples_without_entries(client, tmp_path, one_file):
    """ROOT aborts as it merges one, or divides one into clusters."""
    rntuple = options(fOutputFormat=ROOT.RDF.ESnapshotOutputFormat.kRNTuple)
    frame = ROOT.RDataFrame(90, executor=client, npartitions=3, one_file=one_file).Define("x", "double(rdfentry_)")
    written = frame.Filter("x < 15 || x > 80").Snapshot("n", f"{tmp_path}/some.root", ["x"], rntuple)
    assert list(written.AsNumpy(["x"])["x"]) == [*range(15), *range(81, 90)]
    assert len(os.listdir(tmp_path)) == (1 if one_file else 3)
    if one_file:
        none = frame.Filter("x < 0").Snapshot("n", f"{tmp_path}/none.root", ["x"], rntuple)
        assert ROOT.RNTupleReader.Open("n", f"{tmp_path}/none.root").GetNEntries() == 0
        with pytest.raises(RuntimeError, match="all files in your dataset contain empty trees"):
            none.Count().GetValue()


def test_columns_that_there_are_not(client, files):
    """In one process ROOT refuses them when a result is booked."""
    chain, friend = ROOT.TChain("t"), ROOT.TChain("t")
    for file in files:
        chain.Add(file)
        friend.Add(file)
    chain.AddFriend(friend, "other")
    frame = ROOT.RDataFrame(chain, executor=client, npartitions=1).Define("y", "2 * x").Alias("z", "y")
    for book in (
        lambda: frame.Histo1D(("h", "", 10, 0.0, 200.0), "typo"),
        lambda: frame.Histo1D(("h", "", 10, 0.0, 200.0), "x", wName="typo"),
        lambda: frame.Sum("typo"),
        lambda: frame.Graph("x", "typo"),
    ):
        with pytest.raises(ValueError, match="of 'typo': the dataframe has no such column"):
            book()
    results = [frame.Sum(name) for name in ("x", "y", "z", "other.x")]
    assert [result.GetValue() for result in results] == [19900, 39800, 39800, 19900]
    chain.RemoveFriend(friend)  # before a collector deletes one of the two, in any order


def test_a_result_that_has_failed_and_that_nobody_has(client):
    """It is no more in the graph, though the exception that told of it has it in a cycle."""
    frame = ROOT.RDataFrame(10, executor=client, npartitions=1)
    bad = 'if (rdfentry_ == 7) throw std::runtime_error("seven"); return 1.;'
    gc.disable()
    try:
        with pytest.raises(RuntimeError, match="seven") as caught:
            frame.Define("bad", bad).Sum("bad").GetValue()
        del caught
        assert frame.Count().GetValue() == 10
    finally:
        gc.enable()


@pytest.mark.long
def test_rntuples_without_entries_among_others(client, tmp_path, capfd):
    """They do not end the process either that compiles the graph for others, which would begin anew each time."""
    rntuple = options(fOutputFormat=ROOT.RDF.ESnapshotOutputFormat.kRNTuple)
    for name, cut in ("some", "x >= 0"), ("none", "x < 0"):
        frame = ROOT.RDataFrame(10).Define("x", "double(rdfentry_)").Filter(cut)
        frame.Snapshot("n", f"{tmp_path}/{name}.root", ["x"], rntuple)
    names = [f"{tmp_path}/{name}.root" for name in ("none", "some")]
    for parts in 1, 2, 1:
        frame = ROOT.RDataFrame("n", names, executor=client, npartitions=parts)
        assert frame.Sum("x").GetValue() == 45
    assert "a process has failed" not in capfd.readouterr().err
