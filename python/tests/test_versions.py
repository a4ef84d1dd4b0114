"""What nodes are told of the modules of whoever submits."""

import json
import sys
import types
import zipfile
from io import BytesIO

from dtpnode import _archive, _versions


def test_installed_modules_are_told_with_their_versions(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    (site / "muons-1.5.dist-info").mkdir(parents=True)
    (site / "muons-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: Muons\nVersion: 1.5\n")
    (site / "muons-1.5.dist-info" / "top_level.txt").write_text("muons_of\n")
    (site / "muons_of.py").write_text("ONE = 1\n")
    monkeypatch.syspath_prepend(str(site))
    __import__("muons_of")
    with zipfile.ZipFile(BytesIO(_archive.pack({"process": len}))) as z:
        told = json.loads(z.read("versions.json"))
    sys.modules.pop("muons_of")
    assert told["muons_of"] == ["Muons", "1.5"]
    assert not {"pytest", "httpx", "cloudpickle", "json"} & told.keys()


def test_modules_without_a_file_are_passed_over(monkeypatch):
    monkeypatch.setitem(sys.modules, "made_up", types.ModuleType("made_up"))
    assert "made_up" not in _versions.imported()
