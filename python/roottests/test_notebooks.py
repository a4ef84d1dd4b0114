"""The examples as notebooks that need PyROOT, each run from its first cell to its last, as a reader would."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"


@pytest.mark.parametrize("name", ["treeplayer.ipynb"])
def test_notebook(name, tmp_path, monkeypatch):
    for folder in ("DTPNODE_STATE", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):  # No daemon runs there.
        monkeypatch.setenv(folder, str(tmp_path / folder))
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    shown = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    text = "".join(out.get("text", "") for out in shown)
    assert sum("image/png" in out.get("data", {}) for out in shown) == 3, "canvases are shown, that of Terminate too"
    assert "Z peak at" in text, "what Terminate prints is shown"
    assert "1 of 60,000 entries are missing" in text and "there is something about this event" in text
