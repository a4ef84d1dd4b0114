"""The user's code, as the processes of a job call it.

It comes in one of two forms. A *source* is a Python file whose functions of these names are taken, and whose MODE and
ITEMS are strings. An *archive* is a zip file, whose member code.pickle is a mapping with the same names, made by
cloudpickle; names that it lacks are as below. It may have a member code.py in its place, which is a source. Its folder lib has modules that the code needs and that the submitter
has sent along: they are found before those of this host. The cloudpickle that has made the pickle is among them, since
one of another version may not read it. Its folder files has files that stand in the working folder of each process that
runs items; others, too large for an archive, come beside it. A member versions.json is a mapping of the names of
modules that the submitter has imported to the name and the version of the distribution that each is of: what differs
here is told. A member imports.json is the list of IMPORTS: code that has it is loaded by a process which has these
imported already, where it finds none but the same modules in that.

    begin()          on the submitting side before all others; what it returns goes to each start
    start(given)     once in each process that runs items, before its first item
    process(item)    for each item; required. An exception with the attribute ends_job fails the whole job at once: it
                     is a tuple of words, and of up to 16 KiB for whoever has submitted the code
    reduce(a, b)     of two results, or sums of results, the sum; it may change and return a, never b, and is to be
                     associative and commutative
    told(e, value)   what is told of an exception that reduce has raised as it added value: words, and up to 16 KiB for
                     whoever has submitted the code
    ADDS             what users call reduce, such as "op, add (my.py:12)"; "reduce" by default
    STARTS           what users call start, such as "the initializer, begin (my.py:12),"
    show(item)       how an item at which process has raised is shown to its user; by default its repr. It is given what
                     process is given
    exception(e, dumps)
                     what is sent of an exception that process has raised: a pickle, which dumps makes, or in words why
                     there is none; by default dumps(e)
    instead(value, unsent)
                     what is sent in the place of a value that has no pickle; by default, and with None, unsent(value),
                     which is an exception that says which part of that is in the way, is what process has raised
    unpicklable(value, root)
                     says which part of a value that has no pickle is in the way, as reached from root, or nothing
    finish(total)    on the submitting side, after all: returns the total that is kept; total is None with MODE "values"
    MODE             "values": the value of each item is kept; "sum": reduce makes one of all. Without MODE a code that
                     has reduce is "sum"
    MOST             how many items a process runs, an int: then another one takes its place, which calls start anew
    IMPORTS          names of modules that are imported when the code is loaded, so that not each process that runs items
                     does so; of a module that cannot be the user is told, and it is left to what needs it
    PICKLER          a function that makes the class of picklers of results, sums and exceptions, of that of
                     cloudpickle, which is used by default
    ITEMS            what process is given of an item that is bytes: "bytes", or with "pickle" the object that they are
                     a pickle of. Items that are only numbers are ints. With "blob" process is given the item's bytes,
                     all items that were appended with it, as a sequence of bytes, and the item's place in that: so
                     items may refer to what others have

Where there is no reduce, "sum" adds by operator.add.
"""

import contextlib
import importlib
import io
import json
import linecache
import operator
import os
import pickle
import shutil
import sys
import types
import zipfile
from types import MappingProxyType
from typing import Any, Callable, Container, Mapping

from . import versions

NAMES = ("begin", "start", "process", "reduce", "told", "show", "exception", "instead", "unpicklable", "finish")


class BadCode(Exception):
    """The code lacks what is required of it."""


class Code:
    """A user's code, loaded."""

    def __init__(
        self,
        names: Mapping[str, Any],
        notes: list[str] | None = None,
        large: Mapping[str, str] | None = None,
        small: Mapping[str, str] | None = None,
        known: Container[str] = (),
    ) -> None:
        """known are top-level modules of which notes say what is to be said if they are missing here."""
        self.notes = list(notes or ())  # What the job's user is to know of this host, a sentence each.
        # Paths on this host of what stands in working folders, by the names there: as links, and as copies.
        self.large, self.small = dict(large or {}), dict(small or {})
        for name in NAMES:
            f = names.get(name)
            if f is not None and not callable(f):
                raise BadCode(f"{name} is a {type(f).__name__}, and must be a function")
        if names.get("process") is None:
            raise BadCode("it defines no function process(item), which is called for each item")
        self.begin: Callable[[], Any] | None = names.get("begin")
        self.start: Callable[[Any], Any] | None = names.get("start")
        self.process: Callable[[Any], Any] = names["process"]
        self.show: Callable[..., str] = names.get("show") or repr
        self.unpicklable: Callable[[Any, str], str] = names.get("unpicklable") or (lambda value, root: "")
        self.exception: Callable[..., Any] = names.get("exception") or (lambda e, dumps: dumps(e))
        self.instead: Callable[..., Any] = names.get("instead") or (lambda value, unsent: None)
        self.pickler: Callable[[Any], Any] = names.get("PICKLER") or (lambda base: base)
        self._pickler: Any = None
        self.finish: Callable[[Any], Any] | None = names.get("finish")
        self.reduce: Callable[[Any, Any], Any] = names.get("reduce") or operator.add
        self.told: Callable[[BaseException, Any], tuple[str, bytes]] | None = names.get("told")
        self.adds: str = names.get("ADDS") or "reduce"
        self.starts: str = names.get("STARTS") or ""
        self.notes += versions.unimported(names.get("IMPORTS") or (), known)
        self.most: int | None = names.get("MOST")
        self.mode: str = names.get("MODE") or ("sum" if names.get("reduce") else "values")
        self.items: str = names.get("ITEMS") or "bytes"
        if self.mode not in ("values", "sum"):
            raise BadCode(f'MODE is {self.mode!r}, and must be "values" or "sum"')
        if self.items not in ("bytes", "pickle", "blob"):
            raise BadCode(f'ITEMS is {self.items!r}, and must be "bytes", "pickle" or "blob"')

    def dumps(self, value: Any) -> bytes:
        """Pickles a value so that another process reads it which has none of this one's code."""
        file = io.BytesIO()
        self.dump(value, file)
        return file.getvalue()

    def dump(self, value: Any, file: Any) -> None:
        """Writes what dumps gives to a file. What is large in it, such as an array, is not copied in memory."""
        if type(value) in _PLAIN:
            pickle.dump(value, file, 5)
            return
        if self._pickler is None:
            import cloudpickle  # Not before the code is loaded, which may bring one of its own.

            self._pickler = self.pickler(cloudpickle.Pickler)
        kind = self._pickler
        if "cppyy" in sys.modules:
            from .root import pickler

            kind = pickler(kind)
        kind(file, protocol=5).dump(value)


def load(form: str, name: str, data: bytes, folder: str, files: Mapping[str, str]) -> Code:
    """Loads code in one of the two forms; name is that of the file, to show in tracebacks, and folder is one that stays
    as long as processes with the code do. files are those that stand in working folders beside what an archive has."""
    if form == "archive":
        with zipfile.ZipFile(io.BytesIO(data)) as z:
            small = unpack(z, folder)
            sys.path.insert(0, os.path.join(folder, "lib"))
            importlib.invalidate_caches()
            theirs = json.loads(z.read("versions.json")) if "versions.json" in z.namelist() else {}
            notes = versions.differences(theirs)
            if "code.py" in z.namelist():
                return Code(source(name, z.read("code.py").decode()), notes, files, small, theirs)
            try:
                names = pickle.loads(z.read("code.pickle"))
            except ModuleNotFoundError as e:
                raise BadCode(versions.advice(e)) from None
        if not isinstance(names, Mapping):
            raise BadCode(f"the pickle is of a {type(names).__name__}, and must be of a mapping")
        return Code(names, notes, files, small, theirs)
    return Code(source(name, data.decode()), large=files)


def source(name: str, text: str) -> Mapping[str, Any]:
    """What a source defines."""
    module = types.ModuleType("dtpnode_code")  # A module of its own, so that pickles of its functions find it.
    module.__file__ = name
    sys.modules[module.__name__] = module
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)  # Tracebacks show lines of it.
    try:
        exec(compile(text, name, "exec"), module.__dict__)
    except ModuleNotFoundError as e:
        raise BadCode(versions.advice(e)) from None
    return MappingProxyType(module.__dict__)


def unpack(z: zipfile.ZipFile, folder: str) -> dict[str, str]:
    """Unpacks modules and files of an archive into a folder, as real files, since code may ask for data beside its
    modules, and returns the paths of the files by their names."""
    files: dict[str, str] = {}
    for member in z.namelist():
        top, _, rest = member.partition("/")
        if top not in ("lib", "files") or not rest:
            continue
        if top == "files" and "/" in rest:
            raise BadCode(f"the archive has a file in a folder: {rest!r}")
        path = z.extract(member, folder)  # It writes nowhere else, whatever the name is.
        if top == "files":
            files[rest] = path
    return files


def lay(code: Code) -> None:
    """Has files stand in the working folder. Small ones are the process's own: what is done to them stays with it."""
    for name, path in code.large.items():
        with contextlib.suppress(FileExistsError):
            os.symlink(path, name)
    for name, path in code.small.items():
        with contextlib.suppress(FileExistsError):
            with open(path, "rb") as original, open(name, "xb") as copy:
                os.fchmod(copy.fileno(), 0o400)
                shutil.copyfileobj(original, copy)


LARGE = 64 << 10  # bytes, or characters, from which on a value is written without copies of it

_PLAIN = frozenset((int, float, str, bytes, bool, complex, type(None)))
_LONG = frozenset((str, bytes))


def small(value: Any) -> bool:
    """Whether the pickle of a value is known to be small, without looking deep."""
    kind = type(value)
    return kind in _PLAIN and (kind not in _LONG or len(value) < LARGE)
