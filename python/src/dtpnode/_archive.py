"""The archive in which code travels to the nodes; pyexec/child/code.py has its layout."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, Mapping

import cloudpickle

from . import _worker
from ._along import Along
from ._pickles import by_value
from ._versions import compared

EPOCH = (1980, 1, 1, 0, 0, 0)  # the time of every member, so that the same code makes the same archive


def pack(code: Mapping[str, Any], along: Along | None = None) -> bytes:
    """An archive of code, with the cloudpickle that has pickled it, the versions of what is imported here, and the
    modules and small files that go along."""
    along = along or Along()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        _add(z, "code.pickle", by_value(dict(code), along.modules))
        if code.get("IMPORTS"):
            _add(z, "imports.json", json.dumps(list(code["IMPORTS"])).encode())
        _add(z, "versions.json", json.dumps(compared(along.modules)).encode())
        _add_package(z, Path(cloudpickle.__file__).parent)
        _add(z, "lib/dtpnode_worker.py", Path(_worker.__file__).read_bytes())
        for name, content in along.members.items():
            _add(z, name, content)
    return out.getvalue()


def _add_package(z: zipfile.ZipFile, folder: Path) -> None:
    for path in sorted(folder.rglob("*.py")):
        _add(z, f"lib/{path.relative_to(folder.parent)}", path.read_bytes())


def _add(z: zipfile.ZipFile, name: str, content: bytes) -> None:
    z.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
