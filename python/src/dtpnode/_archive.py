"""The archive in which code travels to the nodes; pyexec/child/code.py has its layout."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, Mapping

import cloudpickle

from . import _worker
from ._pickles import by_value
from ._versions import imported

EPOCH = (1980, 1, 1, 0, 0, 0)  # the time of every member, so that the same code makes the same archive


def pack(code: Mapping[str, Any]) -> bytes:
    """An archive of code, with the cloudpickle that has pickled it, and the versions of what is imported here."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        _add(z, "code.pickle", by_value(dict(code)))
        _add(z, "versions.json", json.dumps(imported()).encode())
        _add_package(z, Path(cloudpickle.__file__).parent)
        _add(z, "lib/dtpnode_worker.py", Path(_worker.__file__).read_bytes())
    return out.getvalue()


def _add_package(z: zipfile.ZipFile, folder: Path) -> None:
    for path in sorted(folder.rglob("*.py")):
        _add(z, f"lib/{path.relative_to(folder.parent)}", path.read_bytes())


def _add(z: zipfile.ZipFile, name: str, content: bytes) -> None:
    z.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
