"""The examples as notebooks, each run from its first cell to its last in a kernel of its own, as a reader would."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import sdist

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"
WITH_ROOT = ("treeplayer.ipynb",)  # which roottests runs


@pytest.mark.parametrize("name", [p.name for p in sorted(EXAMPLES.glob("*.ipynb")) if p.name not in WITH_ROOT])
def test_notebook(name, cache, tmp_path, monkeypatch):
    for folder in ("DTPNODE_STATE", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):  # No daemon runs there.
        monkeypatch.setenv(folder, str(tmp_path / folder))
    monkeypatch.setenv("DTPNODE_CACHE", cache)
    samples = os.environ.get("DTPNODE_SAMPLES") or EXAMPLES.parents[2] / "shared" / "data"  # real data, where there are
    monkeypatch.setenv("NANOAOD", f"{samples}/nano*.root")
    monkeypatch.setenv("PHYSLITE", str(sdist.coffea() / "tests" / "samples" / "PHYSLITE_example.root"))
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    shown = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert any("image/png" in out.get("data", {}) for out in shown), "there is a plot"
    assert not [out for out in shown if out.get("name") == "stderr"], "nothing is warned of"


def test_there_are_notebooks():
    assert list(EXAMPLES.glob("*.ipynb"))
