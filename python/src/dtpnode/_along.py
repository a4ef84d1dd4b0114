"""What goes to the nodes beside a function: an environment, modules and files.

``Executor`` and all else that submits calls take ``env=``, ``modules=`` and ``files=`` in the same way: take_along
makes an Along of them, which _archive.pack and Along.spec put into a job.
"""

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import io
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Iterable, Iterator

from ._errors import Error, TooLarge, unwritten
from ._held import File

Environment = str | os.PathLike[str]
"""A lock file, a tarball, or the name of an environment that nodes have."""

Modules = Sequence[str | os.PathLike[str] | ModuleType]
"""Names of modules, modules, or paths of packages, modules and wheels."""

Files = Sequence[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]]
"""Paths of files, or a mapping of the names that they are to have on the nodes to paths."""

MAX_MODULES = 48 << 20  # bytes of all modules; the daemon takes 64 MiB of code
SMALL = 1 << 20  # bytes of a file that goes with the code
MAX_SMALL = 8 << 20  # bytes of all of those
MAX_FILE = 1 << 30  # bytes of one file
MAX_LARGE = 56  # larger files

_TARBALL = re.compile(r"\.(tar(\.(gz|xz|bz2|zst))?|tgz|txz|tbz2)$")
_LOCK = re.compile(r"\.(toml|txt|lock)$")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COMPILED = (*importlib.machinery.EXTENSION_SUFFIXES, ".so", ".pyd", ".dylib")


@dataclass
class Along:
    """What goes to the nodes beside a function."""

    env: dict[str, str] | None = None  # as pyexec.Env has it
    members: dict[str, bytes] = field(default_factory=dict)  # of the archive, by their names there
    large: list[dict[str, str]] = field(default_factory=list)  # as pyexec.File has them
    modules: frozenset[str] = frozenset()  # top-level names of those that travel as files, and so not by value
    _states: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # of files that are read later, by path
    _open: dict[str, File] = field(default_factory=dict)  # these files
    _contents: dict[str, bytes] = field(default_factory=dict)  # of those of them that are small, such as lock files

    def __bool__(self) -> bool:
        return bool(self.env or self.members or self.large)

    def spec(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        """What a job's spec has of it, for as long as a stack is not closed. A file that was deleted, moved or replaced
        since this was made is there as it was, and so is a small one that was written to; a large one is an Error."""
        at = {path: path if self._is_there(path) else self._again(path, stack) for path in self._states}
        env = self.env and {kind: at.get(given, given) for kind, given in self.env.items()}
        return {"env": env, "files": [{**file, "path": at[file["path"]]} for file in self.large]}

    def is_whole(self) -> bool:
        """Whether spec gives what this was made of."""
        return all(self._is_there(path) or self._is_as_it_was(path) for path in self._states)

    def _is_there(self, path: str) -> bool:
        try:
            return _state(path) == self._states[path]
        except OSError:
            return False

    def _is_as_it_was(self, path: str) -> bool:
        return path in self._contents or _state(self._open[path].fd) == self._states[path]

    def _again(self, path: str, stack: contextlib.ExitStack) -> str:
        """The path of a copy of a file that is not at its own path any more."""
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dtpnode-"))
            copy = os.path.join(folder, os.path.basename(path))
            with self._kept(path) as kept, open(copy, "wb") as out:
                shutil.copyfileobj(kept, out, 1 << 20)
        except OSError as e:
            raise unwritten(e, f"{path}, which is not there any more") from e
        if not self._is_as_it_was(path):
            raise Error(f"{path} was written to since the executor was made", "make another executor")
        return copy

    def fingerprint(self) -> str:
        """What tells it from any other in which something else goes along: the content of modules, small files and a
        lock file, and of what may be large where it is, its size and when it was changed."""
        told = hashlib.sha256(repr((self.env, self.large, sorted(self._states.items()))).encode())
        lock = (self.env or {}).get("lock")
        contents = {**self.members, "lock": Path(lock).read_bytes() if lock else b""}
        for name, content in sorted(contents.items()):
            told.update(repr((name, hashlib.sha256(content).digest())).encode())
        return told.hexdigest()

    def advice(self) -> str:
        """What its user may have meant by the name of an environment that nodes do not have; mostly empty."""
        name = (self.env or {}).get("name", "")
        if not name or not os.path.exists(name):
            return ""
        if os.path.isdir(name):
            return (
                f"if the folder {name} here is meant, pack it: `venv-pack -p {name} -o env.tar.gz`, or `conda-pack -p "
                f"{name}`, and env='env.tar.gz'"
            )
        return f"if the file {name} here is meant, its name has to end as that of a lock file or a tarball, as .tar.gz"

    def needs(self) -> list[str]:
        """Words that a node has to offer for it."""
        name = (self.env or {}).get("name")
        return [f"environment={name}"] if name else []

    def _kept(self, path: str) -> BinaryIO:
        """A file as it was, from its beginning."""
        if path in self._contents:
            return io.BytesIO(self._contents[path])
        return open(f"/proc/self/fd/{self._open[path].fd}", "rb")

    def _watch(self, path: str) -> None:
        """Keeps a file open that is read when a job is opened, which may be long after."""
        try:
            self._open[path] = file = File(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            if file.size <= SMALL:
                self._contents[path] = file.read(0, file.size)
        except OSError as e:
            raise Error(f"could not send {path}: {e.strerror}") from None
        self._states[path] = _state(file.fd)


def take_along(env: Environment | None = None, modules: Modules = (), files: Files = ()) -> Along:
    """Looks at what is to go along, and refuses what cannot: an Error says what, and what to do instead."""
    along = Along()
    if env is not None:
        _take_env(along, env)
    _take_modules(along, [modules] if isinstance(modules, (str, os.PathLike, ModuleType)) else modules)
    _take_files(along, [files] if isinstance(files, (str, os.PathLike)) else files)
    return along


def python_version() -> str:
    """The version of Python that nodes need for pickles of this one: functions travel as bytecode, which is of one
    minor version."""
    name, version = sys.implementation.name, "%d.%d" % sys.version_info[:2]
    return version if name == "cpython" else f"{name}-{version}"


def _state(path: str | int) -> tuple[int, int, int]:
    s = os.stat(path)
    return s.st_ino, s.st_size, s.st_mtime_ns


def _absence(path: str) -> str:
    """Why there is no file at a path."""
    if not os.path.lexists(path):
        return "there is no such file"
    if not os.path.exists(path):
        return "its link leads nowhere"
    return "it is no regular file, but a device, pipe or socket"


# --- environments


def _take_env(along: Along, env: Environment) -> None:
    text = os.fspath(env)
    if not text:
        raise Error(
            "env is empty: it is a lock file, a tarball, or the name of an environment that nodes have",
            "leave it out, or have it None, for the Python and the packages that each node has",
        )
    kind = "tarball" if _TARBALL.search(text) else "lock" if _LOCK.search(text) else ""
    if not kind and not isinstance(env, os.PathLike) and _NAME.fullmatch(text):
        along.env = {"name": text}
        return
    path = os.path.abspath(os.path.expanduser(text))
    if os.path.isdir(path):
        raise Error(
            f"could not use the folder {text} as an environment: other nodes do not have it",
            f"pack it: `venv-pack -p {text} -o env.tar.gz`, or `conda-pack -p {text}`, and env='env.tar.gz'",
        )
    if not os.path.isfile(path):
        raise Error(
            f"could not use {text} as an environment: {_absence(path)}",
            "env= is a lock file (pylock.toml, or requirements.txt with hashes), a tarball of venv-pack or conda-pack, "
            "or the name of an environment that nodes have (`dtpnode up --python NAME=FILE`)",
        )
    if not kind:
        raise Error(
            f"could not use {text} as an environment: its name ends neither as that of a lock file, .toml or .txt, nor "
            "of a tarball, such as .tar.gz or .tar.xz",
            "rename it",
        )
    along.env = {kind: path}
    along._watch(path)


# --- modules


def _take_modules(along: Along, modules: Iterable[str | os.PathLike[str] | ModuleType]) -> None:
    tops: set[str] = set()
    for module in modules:
        for name, content in _files_of(module):
            along.members["lib/" + name] = content
            top = name.partition("/")[0]
            if not top.endswith((".dist-info", ".data")):
                tops.add(top.removesuffix(".py"))
    size = sum(map(len, along.members.values()))
    if size > MAX_MODULES:
        raise TooLarge(
            f"the modules have {size:,} bytes, and may have {MAX_MODULES:,}",
            "hand large data over with files=, or pack an environment that has them, with env=",
        )
    along.modules = frozenset(tops)


def _files_of(module: str | os.PathLike[str] | ModuleType) -> Iterator[tuple[str, bytes]]:
    """The files of a module, by their paths as seen from where it is imported."""
    if isinstance(module, ModuleType):
        yield from _files_by_name(module.__name__.partition(".")[0])
        return
    text = os.fspath(module)
    if not isinstance(module, os.PathLike) and "/" not in text and not text.endswith((".py", ".whl")):
        yield from _files_by_name(text.partition(".")[0])
        return
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise Error(f"could not send the module {text}: there is no such file or folder")
    if path.suffix == ".whl":
        yield from _files_of_wheel(path)
    else:
        name = path.name.removesuffix(".py")
        if not name.isidentifier():
            raise Error(f"could not send the module {text}: {name!r} cannot be imported by that name")
        yield from _files_in(path, name)


def _files_by_name(name: str) -> Iterator[tuple[str, bytes]]:
    loaded = sys.modules.get(name)
    try:
        spec = loaded.__spec__ if loaded is not None and loaded.__spec__ is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None and loaded is not None and getattr(loaded, "__file__", None):
        yield from _files_in(Path(str(loaded.__file__)), name)
        return
    if spec is None:
        raise Error(
            f"could not send the module {name}: there is none of that name here",
            "modules= takes names of modules, modules, and paths of packages",
        )
    if spec.submodule_search_locations is not None:
        for folder in spec.submodule_search_locations:
            if not os.path.isdir(folder):
                raise Error(f"could not send the module {name}: it is in {folder}, which is no folder", _ENV)
            yield from _files_in(Path(folder), name)
    elif spec.origin in ("built-in", "frozen") or name in sys.stdlib_module_names:
        return  # Each Python has it.
    elif spec.origin is None or not os.path.isfile(spec.origin):
        raise Error(f"could not send the module {name}: it is in no file, but in {spec.origin}", _ENV)
    else:
        yield from _files_in(Path(spec.origin), name)


_ENV = "pack an environment that has it, with `venv-pack`, and hand that over with env="


def _files_in(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """A module that is one file, or the files of a package."""
    if os.path.realpath(path).startswith(_LIBRARY) and not _SITE & set(Path(os.path.realpath(path)).parts):
        return  # It is of Python's own library.
    if not path.is_dir():
        _pure(path.name, name)
        if path.suffix != ".py":
            raise Error(f"could not send the module {name}: {path} is no source in Python", _ENV)
        yield path.name, path.read_bytes()
        return
    some = False
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(d for d in folders if d != "__pycache__" and not d.startswith("."))
        for file in sorted(files):
            if file.endswith((".pyc", ".pyo")) or file.startswith("."):
                continue
            _pure(file, name)
            full = Path(folder, file)
            some = some or file.endswith(".py")
            yield f"{name}/{full.relative_to(path).as_posix()}", full.read_bytes()
    if not some:
        raise Error(f"could not send the module {name}: the folder {path} has no source in Python")


def _files_of_wheel(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as z:
        for member in z.namelist():
            if not member.endswith("/"):
                _pure(member, path.name)
                yield member, z.read(member)


def _pure(file: str, name: str) -> None:
    if file.endswith(_COMPILED):
        raise Error(
            f"could not send the module {name}: it has {file}, which is compiled, and may not fit the nodes",
            "hand an environment over that has it: env='pylock.toml', or env='env.tar.gz' of `venv-pack`",
        )


_SITE = {"site-packages", "dist-packages"}
_LIBRARY = tuple(os.path.realpath(sysconfig.get_path(n)) + os.sep for n in ("stdlib", "platstdlib"))


# --- files


def _take_files(along: Along, files: Files) -> None:
    pairs: list[tuple[str | None, str | os.PathLike[str]]]
    pairs = [(str(n), p) for n, p in files.items()] if isinstance(files, Mapping) else [(None, p) for p in files]
    small = 0
    names: dict[str, str] = {}
    for wanted, given in pairs:
        path = os.path.abspath(os.path.expanduser(os.fspath(given)))
        name = wanted if wanted is not None else os.path.basename(path)
        if not name or "/" in name or name in (".", "..") or len(name.encode()) > 255:
            raise Error(
                f"could not send a file as {name!r}: files lie side by side in the working folder, without folders",
                "choose a name without '/', or send a package with modules=, whose data files go along",
            )
        if name in names:
            raise Error(
                f"could not send both {names[name]} and {path} as {name!r}",
                "files={'another name': path} names one anew",
            )
        names[name] = path
        if os.path.isdir(path):
            raise Error(f"could not send {given}: it is a folder", "send its files, or one archive of them")
        if not os.path.isfile(path):
            raise Error(f"could not send the file {given}: {_absence(path)}")
        size = os.stat(path).st_size
        if size > MAX_FILE:
            raise TooLarge(
                f"could not send the file {given}: it has {size:,} bytes, and may have {MAX_FILE:,}",
                "have the code open a file that all nodes see",
            )
        if size <= SMALL and small + size <= MAX_SMALL:
            small += size
            along.members["files/" + name] = Path(path).read_bytes()
        else:
            along.large.append({"name": name, "path": path})
            along._watch(path)
    if len(along.large) > MAX_LARGE:
        words = f"could not send {len(along.large)} large files: at most {MAX_LARGE}"
        raise TooLarge(words, "pack them into one archive")
