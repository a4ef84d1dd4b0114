"""The files that Snapshots of a distributed RDataFrame write.

Each range writes a file of its own. Where a node sees the folder that the user names, the range writes into a hidden
folder in that; elsewhere the file comes as a part of the range's result. The files get their names when all ranges are
done, so that a range which ran twice, or a run that failed, leaves nothing behind.
"""

import contextlib
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import ROOT
from ROOT._distrdf.Operation import Snapshot
from ROOT._distrdf.PythonMergeables import SnapshotResult

from ._errors import Error

if TYPE_CHECKING:
    from . import _dtpnode_rdf as task


ROOM = 32 << 20  # bytes: less than ROOT may write at once


def writes_rntuple(operation: Any) -> bool:
    """Whether an operation of a graph writes an RNTuple."""
    form = getattr(operation.args[3], "fOutputFormat", None) if len(operation.args) == 4 else None
    return bool(form == ROOT.RDF.ESnapshotOutputFormat.kRNTuple)


def writes_variations(operation: Any) -> bool:
    """Whether a Snapshot writes the variations of its columns, too."""
    return len(operation.args) == 4 and bool(getattr(operation.args[3], "fIncludeVariations", False))


def creates(operation: Any) -> bool:
    """Whether a Snapshot is to write new files alone."""
    return len(operation.args) == 4 and str(operation.args[3].fMode).upper() in ("CREATE", "NEW")


class _RNTuples(SnapshotResult):  # type: ignore[misc]
    """Files with RNTuples, which ROOT's own result would read as trees."""

    def GetValue(self, backend: Any) -> Any:
        return backend.make_dataframe(self.treename, self.filenames)


def _stem(path: str) -> str:
    """The path of a Snapshot's file without its suffix, behind which ranges put their numbers."""
    folder, name = os.path.split(path)
    return os.path.join(folder, name.partition(".root")[0])


def _numbered(target: str) -> list[str]:
    """The names of the files there are that look as if ranges had written them for a Snapshot."""
    folder, base = os.path.split(_stem(target))
    pattern = re.compile(re.escape(base) + r"_\d+\.root")
    return sorted(name for name in os.listdir(folder) if pattern.fullmatch(name))


def _check_targets(names: list[str]) -> None:
    """Refuses Snapshots into the same file: one of them would be lost."""
    seen: dict[str, str] = {}
    for name in names:
        # What ranges write is called by what comes before the suffix.
        key = name.partition(".root")[0] if "://" in name else _stem(os.path.realpath(name))
        if key in seen:
            raise Error(
                f"could not run two Snapshots into one file: {seen[key]} and {name}",
                "give each a file of its own, and hold on only to those that are to run: del those of the others",
            )
        seen[key] = name


class Snapshots:
    """The Snapshots of one run of a graph. ``folders`` are, by the folders into which ranges write, those that this
    makes of them."""

    def __init__(self, mapper: Any, one_file: bool) -> None:
        self._one_file = one_file
        self.folders: dict[str, str] = {}
        self._targets: dict[str, str] = {}  # the whole path of the file that the user names
        self._names: dict[str, str] = {}  # that file as the user names it
        self._rntuples: set[str] = set()  # those of RNTuples
        self._parts: dict[str, dict[str, str]] = {}  # where each file is, by its name at the end
        self._moved: list[tuple[Any, str]] = []  # operations, and what they are to write meanwhile
        booked = [node.operation for node in mapper.keywords["computation_graph_callable"].args[0].values()]
        booked = [operation for operation in booked if isinstance(operation, Snapshot)]
        _check_targets([str(operation.args[1]) for operation in booked])
        for operation in booked:
            if "://" not in str(operation.args[1]):
                self._add(operation)

    def _add(self, operation: Any) -> None:
        target = os.path.abspath(str(operation.args[1]))
        name = f"dtpnode-{uuid.uuid4().hex}"
        folder = os.path.join(os.path.dirname(target), f".{name}")
        try:
            there = self._there(target) if creates(operation) else ""
            if not there:
                os.mkdir(folder)
        except OSError as e:
            self.drop()
            raise Error(f"could not write the Snapshot {operation.args[1]}: {e.strerror}: {folder}") from None
        if there:
            self.drop()
            raise Error(
                f"could not write the Snapshot {operation.args[1]}: its fMode is {operation.args[3].fMode}, and "
                f"{there} exists",
                "remove that, choose another name, or have RECREATE as fMode, which replaces files",
            )
        self.folders[name], self._targets[name], self._parts[name] = folder, target, {}
        self._names[name] = str(operation.args[1])
        if writes_rntuple(operation):
            self._rntuples.add(name)
        self._moved.append((operation, os.path.join(name, os.path.basename(target))))

    def _there(self, target: str) -> str:
        """A file that is there already and that a Snapshot would replace; empty if there is none."""
        if self._one_file:
            return target if os.path.exists(target) else ""
        return next((os.path.join(os.path.dirname(target), name) for name in _numbered(target)), "")

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Has the operations name what ranges are to write."""
        were = [operation.args[1] for operation, _ in self._moved]
        try:
            for operation, path in self._moved:
                operation.args[1] = path
            yield
        finally:
            for (operation, _), was in zip(self._moved, were):
                operation.args[1] = was

    def take(self, done: "task.Done") -> None:
        """Takes the files of a range, and names them in its result as they will be called."""
        for part in done.parts:
            folder, name = os.path.split(part.name)
            path = part.path
            if path is None:
                path = os.path.join(self.folders[folder], name)
                try:
                    with open(path, "wb") as f:
                        f.write(part.content)
                except OSError as e:
                    raise Error(f"could not write {path}: {e.strerror}") from None
            part.content = None
            self._parts[folder][name] = path
        for made in done.result.mergeables or ():
            if hasattr(made, "filenames"):
                if self._rntuples.intersection(map(os.path.dirname, made.filenames)):
                    made.__class__ = _RNTuples
                made.filenames = [self._final(name) for name in made.filenames]

    def _final(self, path: str) -> str:
        folder, name = os.path.split(path)
        return os.path.join(os.path.dirname(self._names[folder]), name) if folder in self._names else path

    def finish(self, total: Any) -> None:
        """Gives the files their names, or makes one of them."""
        try:
            for name, target in self._targets.items():
                parts = self._parts[name]
                if self._one_file and parts:
                    self._gather(name, target, total)
                    continue
                for last, path in parts.items():
                    os.replace(path, os.path.join(os.path.dirname(target), last))
                self._warn(target, set(parts))
        except OSError as e:
            raise Error(f"could not give the files of a Snapshot their names: {e}") from None
        finally:
            self.drop()

    def _gather(self, name: str, target: str, total: Any) -> None:
        parts = self._parts[name]
        for made in total.mergeables:
            named = [self._final(os.path.join(name, part)) for part in parts]
            if set(named).isdisjoint(getattr(made, "filenames", ())):
                continue
            paths = [parts[os.path.basename(n)] for n in made.filenames if os.path.basename(n) in parts]
            if name in self._rntuples:  # ROOT 6.40 aborts as it merges one without entries.
                paths = [p for p in paths if ROOT.RNTupleReader.Open(made.treename, p).GetNEntries()] or paths[:1]
            made.filenames = [self._names[name]]
            if len(paths) == 1:
                os.replace(paths[0], target)
                continue
            whole = os.path.join(self.folders[name], "whole.root")
            merger = ROOT.TFileMerger(False)
            merger.SetFastMethod(True)
            with contextlib.closing(_Opened(paths[0])) as first:
                compression = first.file.GetCompressionSettings()
            merger.OutputFile(whole, "RECREATE", compression)
            added = all(merger.AddFile(path, False) for path in paths)
            if not (added and merger.Merge()):
                raise Error(f"ROOT could not gather the Snapshot's {len(paths)} files into {target}", "see above")
            os.replace(whole, target)

    def _warn(self, target: str, now: set[str]) -> None:
        """Warns of files of an earlier run, which look as if they were parts of this one."""
        old = [name for name in _numbered(target) if name not in now]
        if old:
            folder = os.path.dirname(target)
            more = f" and {len(old) - 1} more" if len(old) > 1 else ""
            warnings.warn(
                f"{os.path.join(folder, old[0])}{more} are of an earlier Snapshot, and no part of this one",
                stacklevel=2,
            )

    def room(self) -> str:
        """What is told of a range that was lost where a Snapshot's disk is full, or nearly so: of that ROOT ends the
        process, by an abort that does not say why."""
        for folder in map(os.path.dirname, self.folders.values()):
            with contextlib.suppress(OSError):
                found = os.statvfs(folder)
                left = found.f_bavail * found.f_frsize
                if left < ROOM:
                    return f"\n{folder}, where a Snapshot writes, has {left:,} bytes left"
        return ""

    def drop(self) -> None:
        """Removes all that has no name."""
        for folder in self.folders.values():
            gone = f"{folder}-gone"
            with contextlib.suppress(OSError):
                os.rename(folder, gone)  # Ranges that run still, for nobody, find it no more.
            shutil.rmtree(gone, ignore_errors=True)


class _Opened:
    def __init__(self, path: str) -> None:
        self.file = ROOT.TFile.Open(path)

    def close(self) -> None:
        self.file.Close()
