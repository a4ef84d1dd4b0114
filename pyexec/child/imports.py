"""Modules that a process has imported before it has any code, so that what is forked from it need not import them."""

import contextlib
import importlib
import os
import sys
import zipfile
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Sequence


class Imported:
    """Modules that were imported from what this interpreter has, and the files of them as they were then. One that
    cannot be imported is left to what needs it."""

    def __init__(self, names: Sequence[str]) -> None:
        missed = Missed()
        sys.meta_path.append(missed)
        try:
            for name in names:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        finally:
            sys.meta_path.remove(missed)
        self.missed = missed.names
        paths = {m.__file__ for m in list(sys.modules.values()) if isinstance(getattr(m, "__file__", None), str)}
        # That a folder changes in which modules are looked for shows a module that is new there.
        self._stamps = {path: stamp(path) for path in {*paths, *sys.path}}

    def changed(self) -> bool:
        """Whether a file of a module was changed or removed meanwhile, or a module may be new: an update of packages
        would leave code with the old ones, and what is said of their versions would be false."""
        return any(stamp(path) != was for path, was in self._stamps.items())

    def shadowed(self, z: zipfile.ZipFile) -> bool:
        """Whether an archive brings a module that it would find before one that is imported here, or that a module
        has looked for in vain: what has imported the one might have become another with the other. Modules that are
        the same in the archive, file by file, are not meant: there is always the cloudpickle that made its pickle."""
        files: dict[str, list[str]] = {}
        for member in z.namelist():
            top, _, rest = member.partition("/")
            if top == "lib" and rest:
                if rest.partition("/")[0].endswith(("-info", ".pth")):
                    return True  # Modules may have asked for the version of that.
                files.setdefault(rest.partition("/")[0].partition(".")[0], []).append(rest)
        for name, members in files.items():
            module = sys.modules.get(name)
            if name in self.missed or module is not None and not same(module, members, z):
                return True
        return False


class Missed:
    """A finder that finds nothing, the last one, and so is asked for what no other has found."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if path is None:
            self.names.add(name)
        return None


def same(module: ModuleType, members: Sequence[str], z: zipfile.ZipFile) -> bool:
    """Whether the files of a module in an archive are those of the one that is imported."""
    file = module.__file__
    if not isinstance(file, str):
        return False
    folder = os.path.dirname(os.path.dirname(file) if hasattr(module, "__path__") else file)
    try:
        for member in members:
            with open(os.path.join(folder, member), "rb") as f:
                if f.read() != z.read(f"lib/{member}"):
                    return False
    except OSError:
        return False
    return True


def stamp(path: str) -> tuple[int, ...] | None:
    """What shows that a file was changed, or the list of files of a folder."""
    try:
        s = os.stat(path)
    except OSError:
        return None
    return s.st_mtime_ns, s.st_ino, s.st_size
