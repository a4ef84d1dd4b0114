"""A ROOT selector from Python: real ROOT, whose wheel is in the user's cache or is found elsewhere on the host."""

import errno
import gc
import os
import sys
import threading
from pathlib import Path

import hist
import numpy
import pytest
import uproot

import dtpnode
from dtpnode import _job

SELECTOR = r"""
#include <TEfficiency.h>
#include <TH1D.h>
#include <TNamed.h>
#include <TNtuple.h>
#include <TParameter.h>
#include <TProfile.h>
#include <TSelector.h>
#include <TTree.h>

#include <stdexcept>

class Count : public TSelector {
  TTree *tree = nullptr;
  double x = 0;
  TH1D *h = nullptr;
  TProfile *p = nullptr;
  TNtuple *entries = nullptr;

public:
  Int_t Version() const override { return 2; }
  void SlaveBegin(TTree *) override {
    if (auto *w = dynamic_cast<TH1 *>(fInput->FindObject("weights")))
      fOutput->Add(new TNamed("given", Form("%s %g", w->ClassName(), w->GetBinContent(2))));
    fOutput->Add(h = new TH1D("h", "x;x", 10, 0, 1));
    h->Sumw2();
    fOutput->Add(p = new TProfile("p", "", 5, 0, 1));
    if (TString(GetOption()) == "tree") fOutput->Add(entries = new TNtuple("entries", "", "x"));
    if (TString(GetOption()) == "unread") {
      fOutput->Add(new TEfficiency("eff", "", 3, 0, 1));
      fOutput->Add(new TNamed("a/b c", "slashed"));
      fOutput->Add(new TH1D("d/h", "", 2, 0, 1));
    }
    auto *k = dynamic_cast<TParameter<double> *>(fInput->FindObject("k"));
    auto *cut = (TParameter<double> *)fInput->FindObject("cut");
    fOutput->Add(new TNamed("seen", Form("%s %g %g", GetOption(), k ? k->GetVal() : -1., cut ? cut->GetVal() : -1.)));
  }
  void Init(TTree *t) override {
    tree = t;
    t->SetBranchAddress("x", &x);
  }
  Bool_t Process(Long64_t entry) override {
    tree->GetTree()->GetEntry(entry);
    if (TString(GetOption()) == "bad" && x < 0) throw std::runtime_error("negative");
    h->Fill(x, 2);
    p->Fill(x, x * x);
    if (entries) entries->Fill(static_cast<Float_t>(x));
    return kTRUE;
  }
  void Terminate() override {
    if (TString(GetOption()) == "ends badly") throw std::runtime_error("nothing to fit");
  }
  ClassDefOverride(Count, 0);
};
"""


@pytest.fixture(scope="module")
def root_client():
    with dtpnode.LocalCluster(nodes=2, slots=1) as cluster, cluster.client() as client:
        yield client


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The selector, and files with the numbers that are in them."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "Count.C").write_text(SELECTOR)
    random = numpy.random.default_rng(1)
    parts = [random.random(n) for n in (1000, 3000, 500)]
    for i, x in enumerate(parts):
        with uproot.recreate(folder / f"f{i}.root") as f:
            f.mktree("T", {"x": "f8"}).extend({"x": x})
    with uproot.recreate(folder / "negative.root") as f:
        f.mktree("T", {"x": "f8"}).extend({"x": numpy.array([0.5, -1.0, 0.5])})
    return folder, numpy.concatenate(parts)


@pytest.fixture(scope="module")
def job(root_client, data):
    folder, _ = data
    params = {"k": 0.5, "cut": 20}
    return root_client.run(folder / "Count.C+", tree="T", files=f"{folder}/f*.root", option="good", params=params)


def test_results(job, data):
    _, x = data
    found = job.result()
    assert list(found) == ["h", "p", "seen"] and len(found) == 3
    want, _ = numpy.histogram(x, 10, (0, 1))
    assert found["h"].values(flow=True).tolist() == [0, *(2 * want).tolist(), 0]
    assert found["h"].variances().tolist() == (4 * want).tolist()
    assert found["p"].counts().sum() == len(x)
    assert found["seen"].member("fTitle") == "good 0.5 20"
    with pytest.raises(KeyError, match="there are h, p, seen"):
        found["none"]


def test_trees_outlive_their_results(root_client, data):
    """A tree reads the file when it is asked for its values, such as in one line with the job that has made it."""
    folder, x = data
    job = root_client.run(folder / "Count.C+", tree="T", files=f"{folder}/f*.root", option="tree")
    for _ in range(2):  # Classes that uproot makes as it reads their first objects keep the file of these open.
        tree = root_client.job(job.name).result()["entries"]
        gc.collect()
        kept, found = Path(tree.file.file_path).parent, numpy.sort(tree["x"].array(library="np"))
        assert found.tolist() == numpy.sort(x.astype("f4")).tolist()
        assert kept.is_dir()
        del tree
    gc.collect()
    assert not kept.exists()


def test_status_and_report(job, data):
    job.result()
    assert job.status["state"] == "done" and job.done()
    report = job.report
    assert len(report) == 0 and report.attrs["nodes"]["entries"].sum() >= len(data[1])
    shown = job._repr_html_()
    assert "4,500 of 4,500 entries" in shown and "<svg" in shown


def test_save(job, tmp_path):
    path = job.save(tmp_path / "out.root")
    with uproot.open(path) as f:
        assert f["h"].member("fEntries") == 4500
    with pytest.raises(FileNotFoundError, match=f"no such folder to write to: '{tmp_path}/nowhere'$"):
        job.save(tmp_path / "nowhere" / "out.root")
    with pytest.raises(IsADirectoryError, match=f"'{tmp_path}'$"):
        job.save(tmp_path)
    long = tmp_path / ("n" * 252 + ".root")
    with pytest.raises(OSError, match=f"'{long}'$") as e:
        job.save(long)
    assert e.value.errno == errno.ENAMETOOLONG
    assert sorted(tmp_path.iterdir()) == [path]


def test_save_leaves_what_is_no_file(job, tmp_path):
    """A link stays a link, and whatever else is there, such as a device, stays what it is."""
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link.root", tmp_path / "there" / "target.root"
    link.symlink_to(target)
    for _ in range(2):  # to where there is no file yet, and to one
        assert job.save(link) == link
        assert link.is_symlink() and target.is_file() and not target.is_symlink()
    with uproot.open(link) as f:
        assert f["h"].member("fEntries") == 4500
    pipe = tmp_path / "pipe.root"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=f"no regular file, and the output is one: '{pipe}'$"):
        job.save(pipe)
    assert pipe.is_fifo() and sorted(tmp_path.iterdir()) == [link, pipe, target.parent]


def test_partial(root_client, data, capfd):
    folder, _ = data
    job = root_client.run(folder / "Count.C+", tree="T", files=folder / "negative.root", option="bad")
    assert job.wait(progress=True)["state"] == "partial"
    assert "partial, 2 of 3 entries" in capfd.readouterr().err  # the bar ends as a plain line
    (missing,) = job.report.to_dict("records")
    assert (missing["first"], missing["last"]) == (1, 2) and "negative" in missing["reason"]
    assert [m["reason"] for m in job.missing] == [missing["reason"]]
    with pytest.warns(RuntimeWarning, match="1 of 3 entries are missing"):
        result = job.result()
    assert result["h"].sum(flow=True).value == 4 and "1 of 3" in repr(result)
    assert "1 of 3 entries are missing" in job._repr_html_()


def test_terminate_fails(root_client, data):
    """A job whose end fails does not leave its user waiting."""
    folder, _ = data
    job = root_client.run(folder / "Count.C+", tree="T", files=folder / "f0.root", option="ends badly")
    with pytest.raises(dtpnode.Error, match="nothing to fit"):
        job.result()
    assert job.done() and "nothing to fit" in job._repr_html_()


def test_attach(root_client, job):
    assert root_client.job(job.name[:10]).name == job.name
    assert isinstance(root_client.attach(job.name[:10]), dtpnode.Job)
    with pytest.raises(dtpnode.Error, match='no job "0000000000" here'):
        root_client.job("0" * 10)


def test_many_files(root_client, data, tmp_path, monkeypatch):
    """More names than a command can be given, and names that cannot stand in a list of them."""
    folder, x = data
    far = tmp_path.joinpath(*["n" * 200] * 5)
    with pytest.raises(dtpnode.Error, match="no such file"):
        root_client.run(folder / "Count.C+", tree="T", files=[f"{far}/{i}.root" for i in range(3000)])
    monkeypatch.setattr(_job, "MANY", 0)
    monkeypatch.chdir(tmp_path)
    names = ["f0.root", "#1.root", "a #2.root", "b[1].root"]  # the same as these are as arguments
    for i, name in enumerate(names):
        (tmp_path / name).symlink_to(folder / f"f{i % 3}.root")
    found = root_client.run(folder / "Count.C+", tree="T", files=names[:3]).result()
    assert found["h"].sum(flow=True).value == 2 * len(x)
    status = root_client.run(folder / "Count.C+", tree="T", files=names[1::2], entries=5).wait()
    assert status["state"] == "done" and status["units"] == 5


def test_objects_as_input(root_client, data):
    folder, _ = data
    weights = hist.Hist.new.Reg(3, 0, 1).Double().fill([0.5, 0.5])
    how = {"tree": "T", "files": f"{folder}/f2.root", "entries": 10}
    found = root_client.run(folder / "Count.C+", input={"weights": weights}, **how).result()
    assert found["given"].member("fTitle") == "TH1D 2"
    with pytest.raises(dtpnode.Error, match="input 'what' cannot be written to a ROOT file"):
        root_client.run(folder / "Count.C+", input={"what": object()}, **how)
    with pytest.raises(dtpnode.Error, match="input 'what' is a str(?s:.*)params="):
        root_client.run(folder / "Count.C+", input={"what": "a text"}, **how)
    with pytest.raises(ValueError, match="the name 'a=b'"):
        root_client.run(folder / "Count.C+", params={"a=b": 1}, **how)


def test_shown_live(root_client, data, monkeypatch):
    shown = []

    class Handle:
        def update(self, shows):
            shown.append(shows.data)

    def display(shows, display_id):
        shown.append(shows.data)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    folder, _ = data
    files = f"{folder}/f2.root"
    job = root_client.run(folder / "Count.C+", tree="T", files=files, args=["--open"])  # which waits for more
    job._ipython_display_()
    root_client.control.call("POST", f"/v1/jobs/{job.name}/append", {"close": True})
    job.wait()
    (thread,) = [t for t in threading.enumerate() if t.name == f"dtpnode-shows-{job.name[:8]}"] or [None]
    if thread:
        thread.join()
    assert "<progress" in shown[0] and "<svg" not in shown[0]
    assert "done, 500 of 500 entries" in shown[-1] and "<svg" in shown[-1]


def test_objects_that_uproot_cannot_read(root_client, data):
    """They take none of the others with them, and a name with a slash is a name."""
    folder, _ = data
    job = root_client.run(folder / "Count.C+", tree="T", files=f"{folder}/f2.root", option="unread")
    found = job.result()
    assert set(found) == {"h", "p", "seen", "eff", "a/b c", "d/h"} and all(name in found for name in found)
    assert found["a/b c"].member("fTitle") == found.get("a/b c;1").member("fTitle") == "slashed"
    assert isinstance(found["d/h"], hist.Hist) and found["h"].sum(flow=True).value == 1000
    assert found.get("a") is found.get("a/b c;2") is found.get("d") is found.get(5) is None
    for ask in (lambda: found["eff"]), (lambda: dict(found)):
        with pytest.raises(dtpnode.Error, match="(?s)'eff', which is a TEfficiency: .*import ROOT.*job.save"):
            ask()
    shown = job._repr_html_()
    assert shown.count("<svg") >= 3 and "&#x27;eff&#x27;, which is a TEfficiency" in shown


def test_pictures_that_cannot_be_made(monkeypatch):
    class Drawn:
        def _repr_html_(self):
            return "<svg>"

    class Undrawn:
        def _repr_html_(self):
            raise ZeroDivisionError("no range")

    job = _job.Job(None, "12")
    job._results = {"bad": Undrawn(), "good": Drawn(), "other": 5}
    assert job._pictures() == ["<svg>", "<pre>&#x27;bad&#x27; cannot be drawn: ZeroDivisionError: no range</pre>"]


def test_bad_arguments(root_client, data):
    folder, _ = data
    with pytest.raises(dtpnode.Error, match='no tree "Nope" in the file; there is: T'):
        root_client.run(folder / "Count.C+", tree="Nope", files=f"{folder}/f*.root")
    with pytest.raises(dtpnode.Error, match="no such file"):
        root_client.run(folder / "None.C", tree="T", files=f"{folder}/f*.root")


def test_cancel(root_client, data):
    folder, _ = data
    job = root_client.run(
        folder / "Count.C+", tree="T", files=f"{folder}/f*.root", args=["--open"]
    )  # which waits for more
    with pytest.raises(TimeoutError):
        job.wait(timeout=0)
    job.cancel()
    assert job.wait()["state"] == "cancelled"
    with pytest.raises(dtpnode.Error, match="cancelled"):
        job.result()


def test_root_is_not_imported():
    assert "ROOT" not in sys.modules


def test_daemon_gone(tmp_path):
    """A job of a client whose daemon has ended is refused. The command by itself would start one, with the settings of
    the host, which nobody ends."""
    (tmp_path / "Count.C").write_text(SELECTOR)
    with dtpnode.LocalCluster(python="none", args=["--root", "none"]) as cluster, cluster.client() as client:
        daemon = cluster._processes.daemons[0]
        daemon.process.kill()
        daemon.process.wait()
        with pytest.raises(dtpnode.NoDaemon, match=f"no dtpnode daemon is running on {client.state}"):
            client.run(tmp_path / "Count.C+", tree="T", files=[str(tmp_path / "none.root")])
