"""Modules of the user's own, which nodes do not have: what is in them travels by value."""

import contextlib
import os
import sys
import sysconfig
import threading
from types import ModuleType
from typing import Any, Iterator

import cloudpickle

_seen = 0  # modules, when they were looked at last
_known: set[str] = set()  # top-level names that were decided about

_TRAVELS = {"cloudpickle", "dtpnode_worker", "_dtpnode_child"}  # which each node has, wherever a call may find them
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


_lock = threading.RLock()
_as_files: set[str] = set()  # top-level names that some session has sent as files


@contextlib.contextmanager
def by_reference(tops: frozenset[str]) -> Iterator[None]:
    """Has cloudpickle pickle modules by reference, for those that go along as files: by value too they would be there
    twice, with classes that are not the same."""
    if not tops and not _as_files:
        yield
        return
    with _lock:
        _as_files.update(tops)
        found = [m for m in map(sys.modules.get, tops) if m is not None and m.__name__ in registered()]
        for m in found:
            cloudpickle.unregister_pickle_by_value(m)
        try:
            yield
        finally:
            for m in found:
                cloudpickle.register_pickle_by_value(m)


def some_as_files() -> bool:
    """Whether some session has sent modules as files, so that how they are pickled differs from session to session."""
    return bool(_as_files)


def registered() -> set[str]:
    """Names of the modules that are pickled by value."""
    return set(cloudpickle.list_registry_pickle_by_value())


def own(module: Any) -> bool:
    """Whether a module is the user's own."""
    name, file = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    if name in ("__main__", __package__) or name in _TRAVELS:
        return False
    if isinstance(file, str):
        paths = [os.path.realpath(file)] if file.endswith(".py") else []
    else:
        paths = [os.path.realpath(folder) for folder in _without_init(module)]
    return bool(paths) and not any(path.startswith(_LIBRARY) or _FOLDERS & {*path.split(os.sep)} for path in paths)


def _without_init(module: Any) -> list[str]:
    """The folders of a package that has no __init__.py, and so no file; none of any other module."""
    spec = getattr(module, "__spec__", None) if isinstance(module, ModuleType) else None
    if spec is None or spec.origin is not None:
        return []
    folders = list(spec.submodule_search_locations or ())
    return folders if all(map(os.path.isdir, folders)) else []
