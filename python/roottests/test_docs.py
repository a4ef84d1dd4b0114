"""docs/from-proof.md is true: its blocks run one by one, its lines run in a session, and its commands are there."""

import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import dtpnode

PAGE = (Path(__file__).parents[2] / "docs" / "from-proof.md").read_text()
LIMIT = 3600  # seconds after which what runs hangs

# What the page's lines are about: a selector for cycles, a macro and a package.
TOY = """
#include <TParameter.h>
#include <TSelector.h>
class Toy : public TSelector {
public:
  TParameter<Long64_t> *n = nullptr;
  Int_t Version() const override { return 2; }
  void SlaveBegin(TTree *) override { fOutput->Add(n = new TParameter<Long64_t>("n", 0, '+')); }
  Bool_t Process(Long64_t) override { n->SetVal(n->GetVal() + 1); return kTRUE; }
  ClassDefOverride(Toy, 0);
};
"""
SETUP = 'int SETUP(const char *how = "") { return 0; }\n'

# What is there as the lines run.
AROUND = """void lines() {
  auto *chain = new TChain("Events");
  chain->Add("e*.root");
  auto *files = new TFileCollection("muons");
  for (int i = 0; i < 3; ++i)
    files->Add(new TFileInfo(TString::Format("%%s/e%%d.root", gSystem->WorkingDirectory(), i)));
  files->SetDefaultTreeName("/Events");
  auto *list = new TEntryList("few", "", "Events", TString(gSystem->WorkingDirectory()) + "/e0.root");
  list->Enter(7);
%s
  printf("all lines have run\\n");
}
"""


@pytest.fixture
def shell(at, cluster, monkeypatch):
    """Runs commands as somebody at a terminal does, where ROOT is."""
    import ROOT

    monkeypatch.setenv("DTPNODE_STATE", str(cluster.states[0]))
    found = [Path(sys.executable).parent, Path(ROOT.__file__).parents[4] / "bin"]
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, found), os.environ["PATH"]]))

    def run(command):
        done = subprocess.run(["bash", "-ec", command], cwd=at, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run


@pytest.mark.long
def test_blocks(at, shell):
    """The same histogram comes of all ways to get it, and one entry is run by itself."""
    blocks = re.findall("```(cpp|sh|python)\n(.*?)```", PAGE, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["cpp", "sh", "python", "sh", "python", "python", "cpp", "sh"]
    names = {"__name__": "__main__"}
    for kind, block in blocks:
        if kind == "cpp":
            (at / (re.match(r"void (\w+)\(", block)[1] + ".C")).write_text(block)
        elif kind == "sh":
            said = shell(block)
        else:
            exec(block, names)
    assert "in 1 events" in said and names["masses"][0].GetEntries() > 0


@pytest.mark.long
def test_lines(at, shell):
    """Each line of the first columns runs in a session as it stands."""
    (at / "Toy.C").write_text(TOY)
    (at / "helper.C").write_text("int helped() { return 42; }\n")
    for name in "include", "lib":
        (at / name).mkdir(exist_ok=True)
    with tarfile.open(at / "Tools.par", "w:gz") as par:
        for name, text in ("Tools/PROOF-INF/SETUP.C", SETUP), ("Tools/PROOF-INF/BUILD.sh", "#!/bin/sh\n"):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o755
            par.addfile(info, io.BytesIO(text.encode()))
    cells = re.findall(r"^\| (`.*?`.*?) \| .*? \|$", PAGE, re.MULTILINE)
    lines = [line for cell in cells for line in re.findall("`(.*?;)`", cell)]
    assert len(lines) > 50
    lines = [line for line in lines if not line.startswith("new TProofOutputFile")]  # It is one of a selector.
    lines.insert(lines.index("gProof->Close();"), 'gProof->RemoveDataSet("muons");')  # for other tests
    (at / "lines.C").write_text(AROUND % "\n".join("  " + line for line in lines))
    said = shell("dtpnode root -l -b -q lines.C 2>&1")
    assert "all lines have run" in said
    wrong = [line for line in said.splitlines() if re.match("(Error|SysError|Fatal) in|.*error: ", line)]
    assert len(wrong) == 1 and "SavePerfTree" in wrong[0], said
    for warned in "SetParallel", "DeactivateWorker", "TProof::Open", "TProof::AddEnvVar", "StopProcess":
        assert re.search(rf"Warning in <.*{warned}>", said), f"{warned}\n{said}"
    for name in "retrieved.root", "archived.root", "workers.log":
        assert (at / name).exists(), name


def test_commands_are_there(shell):
    """Each command of the page, with its flags, and each name of the package."""
    spans = re.findall("`(dtpnode [^`]+)`", PAGE)
    assert len(spans) > 30
    helps = {}
    for span in spans:
        command = re.match("dtpnode ((dataset |package )?[a-z]+)", span)[1]
        if command not in helps:
            helps[command] = shell(f"dtpnode {command} --help")
            assert f"  dtpnode {command}" in helps[command], span
        for flag in re.findall(r"(?:^| )(--?[a-z][a-z-]*)", span):
            assert re.search(rf"^ +(-\w, )?{flag}[ ,]", helps[command], re.MULTILINE), f"{flag} of {span}"
    for name in re.findall(r"dtpnode\.([A-Za-z]+)", PAGE) + ["MissingEntries"]:
        assert hasattr(dtpnode, name), name
    for name in re.findall(r"`job\.(\w+)", PAGE):
        assert hasattr(dtpnode.Job, name), name
    for name in re.findall(r"`client\.(\w+)", PAGE):
        assert hasattr(dtpnode.Client, name), name
