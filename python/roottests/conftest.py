"""What these tests share: PyROOT, data of the dimuon example, and one cluster, which has the ROOT of this Python."""

import os
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
import ROOT

import dtpnode

EXAMPLE = Path(__file__).parents[2] / "examples" / "dimuon"
FILES, ENTRIES = 3, 3000  # of each file

ROOT.gROOT.SetBatch()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The selector of the example, that of the tests, data in files e*.root, and a friend in files f*.root, which
    divide the same entries in another way."""
    folder = tmp_path_factory.mktemp("root")
    for name in ("DiMuon.C", "DiMuon.h"):
        (folder / name).write_bytes((EXAMPLE / name).read_bytes())
    (folder / "Ana.C").write_bytes((Path(__file__).parent / "Ana.C").read_bytes())
    made = "ROOT.gROOT.LoadMacro(sys.argv[1]); [ROOT.make_events(f'e{i}.root', i, %d) for i in range(%d)]"
    macro = folder / "make_events.C"
    macro.write_bytes((EXAMPLE / "make_events.C").read_bytes())
    script = "import sys, ROOT; " + made % (ENTRIES, FILES)
    subprocess.run([sys.executable, "-c", script, str(macro) + "+"], cwd=folder, check=True)
    total = FILES * ENTRIES
    for i, (first, last) in enumerate(((0, total // 2), (total // 2, total))):
        value = array("d", [0.0])
        file = ROOT.TFile(str(folder / f"f{i}.root"), "RECREATE")
        tree = ROOT.TTree("weights", "")
        tree.Branch("w", value, "w/D")
        for n in range(first, last):
            value[0] = n % 7
            tree.Fill()
        tree.Write()
        file.Close()
    return folder


@pytest.fixture
def at(folder, monkeypatch):
    """The folder, in which ROOT works, as it does where people have their selectors."""
    monkeypatch.chdir(folder)
    ROOT.gSystem.ChangeDirectory(str(folder))
    return folder


@pytest.fixture(scope="session")
def cluster():
    nodes = int(os.environ.get("DTPNODE_TEST_NODES", "2"))
    with dtpnode.LocalCluster(nodes=nodes, slots=2 // nodes) as cluster:
        yield cluster


@pytest.fixture
def chains(at):
    """Makes chains of the data."""

    def make(files=FILES):
        chain = ROOT.TChain("Events")
        for i in range(files):
            chain.Add(f"{at}/e{i}.root")
        return chain

    return make
