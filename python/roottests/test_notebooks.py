"""The examples as notebooks that need PyROOT, each run from its first cell to its last, as a reader would."""

import pytest

import notebooks


@pytest.mark.parametrize("name", ["treeplayer.ipynb"])
def test_notebook(name, tmp_path, monkeypatch):
    for folder in ("DTPNODE_STATE", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):  # No daemon runs there.
        monkeypatch.setenv(folder, str(tmp_path / folder))
    shown = notebooks.run(name, tmp_path)
    text = "".join(out.get("text", "") for out in shown)
    assert sum("image/png" in out.get("data", {}) for out in shown) == 3, "canvases are shown, that of Terminate too"
    assert "Z peak at" in text, "what Terminate prints is shown"
    assert "1 of 60,000 entries are missing" in text and "there is something about this event" in text
