"""Modules of the user's own, which nodes do not have: what is in them travels by value."""

import os
import sys
import sysconfig
from typing import Any

import cloudpickle

_seen = 0  # modules, when they were looked at last
_known: set[str] = set()  # top-level names that were decided about

_FOLDERS = {"site-packages", "dist-packages"}  # in which packages are installed
_LIBRARY = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")
)


def ship() -> None:
    """Has cloudpickle pickle by value what modules define that were imported from elsewhere than where packages are
    installed, such as those of the working folder. Modules that are not Python are left out."""
    global _seen
    if len(sys.modules) == _seen:
        return
    names = list(sys.modules)
    _seen = len(names)
    for name in names:
        top = name.partition(".")[0]
        if top in _known:
            continue
        _known.add(top)
        module = sys.modules.get(top)
        if module is not None and own(module):
            cloudpickle.register_pickle_by_value(module)


def own(module: Any) -> bool:
    """Whether a module is the user's own."""
    name, file = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    if name in ("__main__", __package__) or not isinstance(file, str) or not file.endswith(".py"):
        return False
    path = os.path.realpath(file)
    return not path.startswith(_LIBRARY) and _FOLDERS.isdisjoint(path.split(os.sep))
