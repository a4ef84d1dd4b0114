"""Sessions of dask_treeplayer and of PROOF in a process with PyROOT, on real daemons, beside ROOT by itself."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import ROOT
from sshd import Sshd

import dtpnode
from dtpnode import _pyselector
from dtpnode import treeplayer as dask_treeplayer

TOTAL = 9000
LIMIT = 900.0  # seconds after which what should have happened never does


def until(so, what):
    end = time.monotonic() + LIMIT
    while not so():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def module(client, tmp_path, monkeypatch):
    """The globals as users set them."""
    monkeypatch.setattr(dask_treeplayer, "daskdir", str(tmp_path / "logs"))
    monkeypatch.setattr(dask_treeplayer, "client", client)


def alone(chain, selector, *args):
    """The output of ROOT by itself."""
    made = ROOT.TSelector.GetSelector(selector)
    given = ROOT.TList()
    made.SetInputList(given)
    chain.Process(made, *args)
    return made.GetOutputList()


def same(a, b):
    """Whether two outputs are equal, bin by bin, but for the order of points."""
    assert [o.GetName() for o in a] == [o.GetName() for o in b]
    for x in a:
        y = b.FindObject(x.GetName())
        assert x.ClassName() == y.ClassName()
        if isinstance(x, ROOT.TH1):
            assert x.GetEntries() == y.GetEntries()
            for i in range(x.GetNcells()):
                assert x.GetBinContent(i) == pytest.approx(y.GetBinContent(i), rel=1e-9)
                assert x.GetBinError(i) == pytest.approx(y.GetBinError(i), rel=1e-9)
        elif isinstance(x, ROOT.TGraph):
            assert points(x) == points(y)
        elif isinstance(x, ROOT.TList):
            same(x, y)
        elif hasattr(x, "GetVal"):
            assert x.GetVal() == y.GetVal()
        else:
            assert x.GetTitle() == y.GetTitle()


def points(graph):
    return sorted((graph.GetPointX(i), graph.GetPointY(i)) for i in range(graph.GetN()))


def test_session_of_the_readme(chains, capfd):
    with dask_treeplayer.session(chains()).spawn({"localhost": 2}, port=8769) as session:
        assert session.workers == {"localhost": 2} and session.port and session.spawned.pid
        assert "2 slots" in repr(session.client)
        returned = session.Process("DiMuon.C+g", "samesign", chunksize=1000000)
        for result in session.GetOutputList():
            assert result.GetName()
    said = capfd.readouterr().out
    assert "Processing Events: nentries=9000" in said and "Monitor progress at" in said
    assert "pairs in 9000 events" in said  # by Terminate
    assert returned == 0 == session.results[0]
    assert ROOT.usersel.ClassName() == "DiMuon"
    assert os.listdir(dask_treeplayer.daskdir) == ["dtpnode-here.log"]
    same(session.GetOutputList(), alone(chains(), "DiMuon.C+g", "samesign"))  # which outlives the session


def test_ranges_are_exact(chains):
    with dask_treeplayer.session(chains()).spawn() as session:
        for count, first in ((4001, 2999), (5, TOTAL - 3), (0, 0)):
            assert session.Process("Ana.C+", "", count, first, chunksize=7) == 0
            n = session.GetOutputList().FindObject("n").GetVal()
            assert n == min(count if count >= 0 else TOTAL, TOTAL - first)
            if n:
                same(session.GetOutputList(), alone(chains(), "Ana.C+", "", n, first))
            else:
                assert session.GetOutputList().FindObject("h").GetEntries() == 0


def test_first_entries_past_the_end(chains, client):
    """As in ROOT: nothing is called, 0 is returned, and no histogram is made; of an object all but Process is called.
    Behind the end of an entry list there is nothing to process, and all else is called."""
    with dask_treeplayer.session(chains()).spawn() as session:
        assert session.Process("Ana.C+", nentries=20) == 0 and session.GetOutputList().GetSize() > 0
        for first in (TOTAL, TOTAL + 1000, -1):
            assert session.Process("Ana.C+", "", 10, first) == 0 and session.GetOutputList().GetSize() == 0
        for made in Mine(0), ROOT.Ana():
            for first in TOTAL, TOTAL + 9, -5:
                here = type(made)(0) if isinstance(made, Mine) else ROOT.Ana()
                assert session.Process(made, "", 10, first) == 0 == chains().Process(here, "", 10, first)
                same(made.GetOutputList(), here.GetOutputList())
    chain = chains()
    chain.Draw(">>few", "Entry$ < 10", "entrylist")
    chain.SetEntryList(ROOT.gDirectory.Get("few"))
    with dtpnode.proof(chain, client=client) as session:
        for first, n in ((4, 6), (10, 0), (50, 0)):
            assert chain.Process("Ana.C+", "", 20, first) == 0
            assert session.GetOutputList().FindObject("n").GetVal() == n
            assert chain.Draw("MET_pt>>drawn", "", "goff", 20, first) == n
        chain.SetEntryList(ROOT.nullptr)
        assert chain.Draw("MET_pt>>none", "", "goff", 20, TOTAL + 5) == 0 and not ROOT.gDirectory.Get("none")


def test_friends_aliases_and_entry_lists(chains, folder):
    def made():
        chain = chains()
        friend = ROOT.TChain("weights")
        friend.Add(f"{folder}/f0.root")
        friend.Add(f"{folder}/f1.root")
        chain.AddFriend(friend)
        chain.SetAlias("twice", "2*MET_pt")
        return chain, friend

    chain, _friend = made()
    with dtpnode.proof(chain, client=dask_treeplayer.client):
        chain.Draw(">>few", "twice > 60 && w < 5", "entrylist")
        few = ROOT.gDirectory.Get("few")
    assert 100 < few.GetN() < TOTAL
    chain.SetEntryList(few)
    with dask_treeplayer.session(chain).spawn() as session:
        session.Process("Ana.C+", "friend")
    other, _other_friend = made()
    other.SetEntryList(few)
    assert session.GetOutputList().FindObject("n").GetVal() == few.GetN()
    same(session.GetOutputList(), alone(other, "Ana.C+", "friend"))


def used(chain, how):
    """A chain that has been used before the first session of its process, of which ROOT knows no other player yet."""
    ROOT.TVirtualTreePlayer.SetPlayer("TTreePlayer")
    if how == "draw":
        assert chain.Draw("MET_pt:nMuon", "nMuon > 1", "goff") > 0
    elif how == "count":
        assert chain.GetEntries("nMuon > 1") > 0
    elif how == "scan":
        chain.Scan("MET_pt", "Entry$ < 1")
    else:
        assert chain.Draw(">>some", "Entry$ % 9 == 0", "entrylist") == TOTAL / 9
        chain.SetEntryList(ROOT.gDirectory.Get("some"))
    return chain


@pytest.mark.parametrize("how", ["draw", "count", "scan", "list"])
def test_chains_that_were_used_before(chains, client, how):
    """ROOT keeps what has drawn, counted or scanned a chain, and has it do all that follows. The chain's queries go to
    the pool all the same, and what was drawn here before can still be asked for."""
    chain = used(chains(), how)
    rows, first = chain.GetSelectedRows(), chain.GetV1()[0] if how == "draw" else None
    n = TOTAL // 9 if how == "list" else TOTAL
    with dtpnode.proof(chain, client=client) as session:
        assert chain.GetSelectedRows() == rows and (first is None or chain.GetV1()[0] == first)
        assert chain.Process("Ana.C+") == 0
        assert session.GetQueryResult().GetEntries() == n == session.GetOutputList().FindObject("n").GetVal()
        assert chain.GetEntries("nMuon > 1") == chain.Draw("MET_pt", "nMuon > 1", "goff")
        assert session.GetNumberOfQueries() == 1 and session.GetQueryResult().GetResultFile()
    assert chain.Draw("MET_pt", "", "goff") == n and chain.GetV1()[n - 1] > 0  # by ROOT again


def test_chain_with_a_player_of_its_own(chains, client):
    ROOT.gInterpreter.Declare("""
        struct Player : TTreePlayer {};
        struct AnyTree : TTree { static void play(TTree &t) { t.*&AnyTree::fPlayer = new Player; } };
    """)
    chain = chains()
    ROOT.AnyTree.play(chain)
    with pytest.raises(dtpnode.Error, match="Events has a player that is not ROOT's own"):
        with dtpnode.proof(chain, client=client):
            pass


def test_an_exception_reaches_the_caller(chains, capfd):
    with dask_treeplayer.session(chains()).spawn() as session:
        said = "1 of 9,000 entries are missing.*e1.root.*999.*no event for me"
        with pytest.raises(dtpnode.MissingEntries, match=said) as e:
            session.Process("Ana.C+", "throw")
        (missing,) = e.value.missing
        assert (missing["first"], missing["last"]) == (999, 1000) and missing["file"].endswith("e1.root")
        assert session.GetOutputList().FindObject("n").GetVal() == TOTAL - 1  # the rest is there
        dask_treeplayer.missing = "warn"
        try:
            with dask_treeplayer.session(chains()).spawn() as other:
                assert other.Process("Ana.C+", "throw") == 0
        finally:
            dask_treeplayer.missing = "raise"
        assert "1 of 9,000 entries are missing" in capfd.readouterr().err
        with pytest.raises(dtpnode.Error, match="could not find the selector None.C"):
            session.Process("None.C+")
        assert session.Process("Ana.C+") == 0  # the session goes on


def test_no_entries(folder, chains):
    """Files without entries are no error: all but Process is called. A chain without files is one, before Begin."""
    path = str(folder / "none.root")
    file = ROOT.TFile(path, "RECREATE")
    tree = chains(1).CloneTree(0)
    tree.SetDirectory(file)
    tree.Write()
    file.Close()
    none = ROOT.TChain("Events")
    none.Add(path)
    began = []

    class Begins(Mine):
        def Begin(self, tree):
            began.append(True)

    with dask_treeplayer.session(none).spawn() as session:
        assert session.Process("Ana.C+") == 0 == session.GetOutputList().FindObject("h").GetEntries()
        assert session.Process(Begins(0)) == 0 == session.GetOutputList().FindObject("h").GetEntries()
        assert began.pop() and not began
        session.chain = ROOT.TChain("Events")
        for selector in "Ana.C+", Begins(0):
            with pytest.raises(dtpnode.Error, match="no files to run over: the chain Events has none"):
                session.Process(selector)
    assert not began


def test_trees_without_chains(chains, folder):
    """They are refused, where they cannot run."""
    file = ROOT.TFile(str(folder / "e0.root"))
    with pytest.raises(dtpnode.Error, match="is not a TChain"):
        dask_treeplayer.session(file.Get("Events"))
    with dask_treeplayer.session(chains()).spawn() as session:
        session.chain = file.Get("Events")
        with pytest.raises(dtpnode.Error, match="is not a TChain"):
            session.Process("Ana.C+")
        with pytest.raises(dtpnode.Error, match="the tree Events is not a TChain"):
            session._session.query(lambda: session.proof.ProcessChain(session.chain, "Ana.C+", ROOT.nullptr, "", -1, 0))


def test_input(chains):
    """What is made in the call itself, too, which Python has no other name for."""
    with dask_treeplayer.session(chains()).spawn() as session:
        session.Process("Ana.C+", "begin", 10)
        assert session.GetOutputList().FindObject("seen").GetTitle() == "42"
        for add in session.proof.AddInput, session.proof.AddInputData, ROOT.gProof.AddInput, ROOT.TDSet().AddInput:
            session.proof.ClearInput()
            add(ROOT.TNamed("by_begin", "43"))
            gc.collect()
            others = [ROOT.TNamed("other", "44") for _ in range(1000)]  # where it was, if it is gone
            session.Process("Ana.C+", "", 10)
            assert session.GetOutputList().FindObject("seen").GetTitle() == "43" and len(others) == 1000
        session.proof.ClearInput()


def test_input_of_a_job(at, client):
    """An object is in fInput by its name in the mapping, and has its own here."""
    named, graph = ROOT.TNamed("mine", "42"), ROOT.TGraph()
    how = {"tree": "Events", "files": ["e0.root"], "entries": 10}
    job = client.run("Ana.C+", input={"by_begin": named, "graph": graph}, **how)
    assert named.GetName() == "mine" and graph.GetName() == ""
    file = ROOT.TFile.Open(str(job.save("input.root")))
    assert file.Get("seen").GetTitle() == "42"


def test_misuse(chains, monkeypatch):
    session = dask_treeplayer.session(chains())
    with pytest.raises(RuntimeError, match="not spawned"):
        session.__enter__()
    with pytest.raises(RuntimeError, match="not begun"):
        session.spawn().Process("Ana.C+")
    with pytest.raises(RuntimeError, match="spawned already, on port 8768"):
        session.spawn({"other": 1})
    assert session.GetOutputList().GetSize() == 0
    with pytest.raises(TypeError, match="chunksize must be an int, and not str: 'a'"):
        session.Process("Ana.C+", chunksize="a")
    with pytest.raises(ValueError, match="0 slots"):
        with dask_treeplayer.session(chains()).spawn({"localhost": 0}):
            pass
    monkeypatch.setattr(dask_treeplayer, "python3", "/usr/bin/python3.6")
    with pytest.warns(UserWarning, match="treeplayer.python3 has no meaning here") as told:
        for _ in range(2):
            with dask_treeplayer.session(chains()).spawn():
                pass
    assert len([w for w in told if "no meaning" in str(w.message)]) == 1


def test_proof(chains, client):
    chain = chains()
    with dtpnode.proof(chain, client=client) as session:
        assert ROOT.gProof == session
        assert chain.Process("Ana.C+", "draw") == 0
        assert ROOT.gROOT.GetListOfCanvases().FindObject("canvas_of_ana")  # which Terminate has made, here
        kept = ROOT.TList()
        kept.AddAll(session.GetOutputList())
        drawn = chain.Draw("MET_pt:nMuon>>both(5, 0, 5, 20, 0, 100)", "nMuon > 1", "goff")
        assert chain.GetEntries("nMuon > 1") == drawn and chain.GetEntries() == TOTAL
        both = ROOT.gDirectory.Get("both").Clone("on_the_pool")
        with pytest.raises(dtpnode.Error, match="there is no branch nosuch"):
            chain.Draw("nosuch")
        with pytest.raises(dtpnode.Error, match="could not compile or make the selector"):
            (Path("Bad.C")).write_text("int x = ;")
            chain.Process("Bad.C+")
    assert not ROOT.gProof
    same(kept, alone(chains(), "Ana.C+", "draw"))
    assert chain.Draw("MET_pt:nMuon>>both(5, 0, 5, 20, 0, 100)", "nMuon > 1", "goff") == drawn  # by ROOT again
    here = ROOT.gDirectory.Get("both")
    assert [both.GetBinContent(i) for i in range(154)] == [here.GetBinContent(i) for i in range(154)]
    with pytest.raises(dtpnode.Error, match="is not a TChain"):
        with dtpnode.proof(ROOT.TTree(), client=client):
            pass


def test_selector_objects(chains, client):
    chain = chains()
    ROOT.gROOT.LoadMacro("Ana.C+")
    made = ROOT.Ana()
    with dtpnode.proof(chain, client=client):
        assert chain.Process(made) == 0
    same(made.GetOutputList(), alone(chains(), "Ana.C+"))
    with dask_treeplayer.session(chains()).spawn() as session:
        assert session.Process("Ana") == 0  # a class that is loaded
    same(session.GetOutputList(), made.GetOutputList())


def test_selector_objects_that_run_twice(chains, client, folder):
    """Each query has the output of its own, though the output list refuses namesakes of what it has."""
    ROOT.gROOT.LoadMacro("Ana.C+")
    first, other = chains(1), ROOT.TChain("Events")
    other.Add(f"{folder}/e[12].root")
    made, fresh = ROOT.Ana(), ROOT.Ana()
    with dtpnode.proof(first, other, client=client):
        first.Process(made)
        assert made.GetOutputList().FindObject("n").GetVal() == 3000
        other.Process(made)
    other.Process(fresh)
    assert made.GetOutputList().FindObject("n").GetVal() == 6000
    same(made.GetOutputList(), fresh.GetOutputList())


class Books(ROOT.TSelector):
    """A selector in Python that has a base of its own, and attributes."""

    def Version(self):
        return 2

    def SlaveBegin(self, tree):
        for o in (ROOT.TH1D("h", "", 50, 0, 100), ROOT.TParameter["Long64_t"]("n", 0, "+")):
            ROOT.SetOwnership(o, False)
            self.GetOutputList().Add(o)
        self.h, self.n = self.GetOutputList()


class Mine(Books):
    def __init__(self, cut):
        super().__init__()
        self.cut = cut

    def Begin(self, tree):
        self.began = os.getpid()

    def SlaveBegin(self, tree):
        super().SlaveBegin(tree)

    def Init(self, tree):
        self.tree = tree

    def Process(self, entry):
        self.tree.GetTree().GetEntry(entry)
        if self.GetOption() == "throw" and self.tree.event == 1003:
            raise ValueError("no event for me")
        if self.GetOption() == "exit" and self.tree.event == 1003:
            os._exit(4)
        self.n.SetVal(self.n.GetVal() + 1)
        if self.tree.MET_pt > self.cut:
            self.h.Fill(self.tree.MET_pt)
        return True

    def Terminate(self):
        self.ended = os.getpid()


def test_selector_in_python(chains, client, folder):
    mine, chain = Mine(20), chains(2)
    with dtpnode.proof(chain, client=client) as session:
        assert chain.Process(mine, "", 3000, 1500) == 0
        assert session.GetOutputList().FindObject("n").GetVal() == 3000
        with pytest.raises(ValueError, match="no event for me") as e:
            chain.Process(Mine(0), "throw", 10, 1000)
        assert not session.GetOutputList()  # and not that of the query before
    assert e.value.__notes__ == [f"at entry 1,002 of {folder}/e0.root"]
    assert (mine.began, mine.ended) == (os.getpid(), os.getpid())
    here = Mine(20)
    chains(2).Process(here, "", 3000, 1500)
    assert mine.GetOutputList().FindObject("n").GetVal() == 3000
    same(mine.GetOutputList(), here.GetOutputList())
    with dask_treeplayer.session(chains(1)).spawn() as session:
        assert session.Process(Mine(20), nentries=50) == 0
    assert session.GetOutputList().FindObject("n").GetVal() == 50


class ByName(Mine):
    """A selector whose methods refer to its class by its name."""

    step = 2

    def SlaveBegin(self, tree):
        super(ByName, self).SlaveBegin(tree)

    def Process(self, entry):
        self.n.SetVal(self.n.GetVal() + twice(ByName.step))
        return isinstance(self, ByName)


def twice(n):
    return n * ByName.step


def test_selector_in_python_that_names_its_class(chains, client):
    chain, mine = chains(1), ByName(0)
    with dtpnode.proof(chain, client=client) as session:
        chain.Process(mine, "", 10)
        assert session.GetOutputList().FindObject("n").GetVal() == 40
        mine.lock = threading.Lock()
        with pytest.raises(dtpnode.Unpicklable, match="could not send the selector: selector.lock, a _thread.lock"):
            chain.Process(mine, "", 10)


def leave(selector):
    selector.Abort("enough", 2)  # kAbortFile, which nobody sees here


class Leaves(Mine):
    """Leaves each file behind the entry that has some number in it."""

    def Process(self, entry):
        super().Process(entry)
        if entry == 300:
            self.Abort("enough", ROOT.TSelector.kAbortFile)
        return True


class Hides(Mine):
    def Process(self, entry):
        leave(self)
        return True


def test_selector_in_python_that_leaves_files(chains, client):
    """Abort(kAbortFile) leaves out all that is behind the entry in the file, and nothing else."""
    chain, leaves = chains(), Leaves(0)
    with dtpnode.proof(chain, client=client):
        assert chain.Process(leaves, "", 3000, 200) == 0  # 101 entries of a file, and those up to 200 of the next one
        assert leaves.GetOutputList().FindObject("n").GetVal() == 101 + 200
        with pytest.raises(RuntimeError, match="none of its methods names kAbortFile"):
            chain.Process(Hides(0), "", 20)
    chain.Draw(">>some", "Entry$ % 2 == 0", "entrylist")
    chain.SetEntryList(ROOT.gDirectory.Get("some"))
    with dtpnode.proof(chain, client=client):
        assert chain.Process(leaves) == 0
    assert leaves.GetOutputList().FindObject("n").GetVal() == 3 * 151  # and nothing of the query before


def test_selector_in_python_that_ends_its_process(chains, client, folder):
    """The range of entries in which it does is missing, and the rest is there, as with a selector in C++."""
    mine, chain = Mine(20), chains(1)
    with dask_treeplayer.session(chain).spawn() as session:
        said = "10 of 80 entries are missing in the output: .*e0.root entries 1,000 to 1,009: .*exit status 4$"
        with pytest.raises(dtpnode.MissingEntries, match=f"(?m){said}") as e:
            session.Process(mine, "exit", 80, 970)
        assert e.value.missing == [{
            "file": f"{folder}/e0.root", "first": 1000, "last": 1010, "kind": "process",
            "reason": "process: left with exit status 4",
        }]
        assert "dtpnode logs" in e.value.hint
        assert mine.ended == os.getpid() and mine.GetOutputList().FindObject("n").GetVal() == 70
        assert session.results[0] == 0 and session.GetOutputList().FindObject("n").GetVal() == 70


def test_selector_in_python_without_a_file(at, chains, client):
    """A file that a node does not have is an error, where ROOT goes on without it."""
    (at / "gone.root").write_bytes((at / "e1.root").read_bytes())
    chain = chains(1)
    chain.Add(str(at / "gone.root"))
    chain.Add(str(at / "e2.root"))
    assert chain.GetEntries() == TOTAL
    with dtpnode.proof(chain, client=client):
        with pytest.raises(OSError, match="could not read .*gone.root on .*, which has 3,000 entries elsewhere"):
            chain.Process(Gone(0), str(at / "gone.root"))


class Gone(Mine):
    def SlaveBegin(self, tree):
        super().SlaveBegin(tree)
        if os.path.exists(self.GetOption()):
            os.remove(self.GetOption())


def test_ranges_that_are_lost(chains, client, folder, monkeypatch, capsys):
    """They are named by files, also across their boundaries, and by the entries of them that an entry list has."""
    gone = {2, 3}

    def outcomes(pool, shipped, items):
        for i, item in enumerate(items):
            yield item, dtpnode.ItemLost(f"item {i}, Mine({item}): it crashed\ntried 3 times") if i in gone else []

    monkeypatch.setattr(_pyselector, "_outcomes", outcomes)
    chain = chains()
    with dtpnode.proof(chain, client=client, missing="warn"):
        assert chain.Process(Mine(0)) == 0
        said = f"{folder}/e0.root entries 2,250 to 2,999: it crashed; {folder}/e1.root entries 0 to 1,499: it crashed"
        assert f"2,250 of 9,000 entries are missing in the output: {said}\n" in capsys.readouterr().err
        chain.Draw(">>few", "Entry$ > 10 && Entry$ <= 26", "entrylist")
        chain.SetEntryList(ROOT.gDirectory.Get("few"))
        assert chain.Process(Mine(0)) == 0
        assert "4 of 16 entries are missing in the output: " in (told := capsys.readouterr().err)
        assert f"{folder}/e0.root entries 15 to 18: it crashed\n" in told
        gone.update(range(100))
        with pytest.raises(dtpnode.Error, match="all 16 entries are missing: it crashed") as e:
            chain.Process(mine := Mine(0))
        assert type(e.value) is dtpnode.Error and not hasattr(mine, "ended")


class Apart(ROOT.TSelector):
    """A selector in Python with outputs that cannot be merged."""

    def Version(self):
        return 2

    def SlaveBegin(self, tree):
        self.n = 0
        self.h = ROOT.TH1D("h", "", 1, 0, 1)
        for o in self.h, ROOT.TNamed("text", "for all"):
            ROOT.SetOwnership(o, False)
            self.GetOutputList().Add(o)

    def Init(self, tree):
        pass

    def Process(self, entry):
        self.n += 1
        self.h.Fill(0.5)
        return True

    def SlaveTerminate(self):
        graph, vector = ROOT.TGraph2D(self.n), ROOT.TVectorD(1)
        graph.SetName("graph")
        graph.SetDirectory(ROOT.nullptr)
        vector[0] = self.n
        for o in graph, vector:
            ROOT.SetOwnership(o, False)
            self.GetOutputList().Add(o)


def test_outputs_without_merge(chains, client):
    """What cannot be merged is in the output list for each range of entries, and a warning names it, so that nothing of
    what a range has counted is lost."""
    apart, chain = Apart(), chains(2)
    with dtpnode.proof(chain, client=client):
        with pytest.warns(RuntimeWarning, match=r"could not be merged.*: graph \(TGraph2D\), TVectorT<double>") as w:
            assert chain.Process(apart) == 0
    assert len(w) == 1
    found = {}
    for o in apart.GetOutputList():
        found.setdefault(str(o.GetName()), []).append(o)
    assert list(map(len, found.values())) == [1, 1, len(found["graph"]), len(found["graph"])]
    assert len(found["graph"]) > 1 and [o.GetTitle() for o in found["text"]] == ["for all"]
    assert sum(o.GetN() for o in found["graph"]) == sum(o[0] for o in found["TVectorT<double>"]) == 6000
    assert [o.GetEntries() for o in found["h"]] == [6000]
    assert apart.GetOutputList().FindObject("graph") == found["graph"][0]


class Waits(ROOT.TSelector):
    def Version(self):
        return 2

    def Process(self, entry):
        open(self.GetOption(), "w").close()
        time.sleep(1_000)
        return True


def press_when(marker):
    """Presses Ctrl-C once a selector runs, which the marker tells, in a thread that it returns."""

    def press():
        until(marker.exists, "the selector does not run")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def test_interrupt_in_python(chains, tmp_path, capfd):
    """A selector in Python is told of, and interrupted, as one in C++ is."""
    marker = tmp_path / "runs"
    with dask_treeplayer.session(chains(1)).spawn() as session:
        thread = press_when(marker)
        assert session.Process(Waits(), str(marker), 20, 3) == 15
        thread.join()
        said = capfd.readouterr().out
        assert "Processing Events: nentries=20, firstentry=3\nMonitor progress at dtpnode attach " in said
        assert "interrupted" in said
        assert session.Process(Mine(20), nentries=50) == 0


def test_interrupt(chains, tmp_path, capfd):
    marker = tmp_path / "runs"
    with dask_treeplayer.session(chains(1)).spawn() as session:
        before = {j["id"] for j in session.client.control.call("GET", "/v1/jobs")}  # of other tests
        thread = press_when(marker)
        assert session.Process("Ana.C+", f"wait {marker}") == 15
        thread.join()
        assert "interrupted" in capfd.readouterr().out
        (job,) = [j for j in session.client.control.call("GET", "/v1/jobs") if j["id"] not in before]
        assert job["state"] == "cancelled"
        assert session.Process("Ana.C+", "", 100) == 0


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    server = Sshd(tmp_path_factory.mktemp("sshd"), ["one", "two"])
    yield server
    server.close()


def spawned(name):
    """The processes of the daemon that a host of that name has."""
    found = subprocess.run(["pgrep", "-f", f"up --ephemeral --join .*--name {name} "], capture_output=True, text=True)
    return found.stdout.split()


def test_hosts_by_ssh(chains, sshd, monkeypatch, capfd):
    monkeypatch.setattr(dask_treeplayer, "ssh", sshd.ssh)
    with dask_treeplayer.session(chains()).spawn({"one": 2, "two": 1}) as session:
        assert sorted(session.procs) == ["one", "two"]
        assert session.Process("DiMuon.C+") == 0
        members = {m["name"]: m["slots"] for m in session.client.control.call("GET", "/v1/members") if m["up"]}
        assert members == {"local-0": 1, "one": 2, "two": 1}
        assert spawned("one") and spawned("two")
    assert "connecting to workers... done" in capfd.readouterr().out
    same(session.GetOutputList(), alone(chains(), "DiMuon.C+"))
    assert not spawned("one") and not spawned("two")
    logs = Path(dask_treeplayer.daskdir)
    assert "joined as one" in (logs / "dtpnode-one.log").read_text()
    assert sorted(p.name for p in logs.iterdir()) == ["dtpnode-here.log", "dtpnode-one.log", "dtpnode-two.log"]


KILLED = """
import os, sys, ROOT
from dtpnode import treeplayer
treeplayer.ssh, treeplayer.daskdir = sys.argv[1:3]
with treeplayer.session(ROOT.TChain("Events")).spawn({"one": 1}) as session:
    session._connected()
    os.kill(os.getpid(), 9)
"""


def test_killed_client_leaves_nothing(sshd, tmp_path):
    folder = str(tmp_path / "logs")
    ended = subprocess.run([sys.executable, "-c", KILLED, sshd.ssh, folder], capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr
    until(lambda: not spawned("one"), "the daemon of the host goes on")


def test_bad_hosts(chains, sshd, monkeypatch):
    with pytest.raises(dtpnode.Error, match="could not find the host nowhere.invalid"):
        with dask_treeplayer.session(chains()).spawn({"nowhere.invalid": 1}):
            pass
    monkeypatch.setattr(dask_treeplayer, "ssh", sshd.ssh + " -o IdentityFile=none -o PubkeyAuthentication=no")
    with dask_treeplayer.session(chains()).spawn({"one": 1}) as session:
        with pytest.raises(dtpnode.Error, match="(?s)one does not take part.*Permission denied.*must not ask") as e:
            session.Process("Ana.C+")
    assert "dtpnode-one.log" in e.value.hint
