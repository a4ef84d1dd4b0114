"""Selectors that are classes in Python: ROOT runs them in the processes of the pool's Python, which has to have PyROOT.

What goes to a node is the selector as its class's functions and its attributes, and the chain as the names of its
files, its friends, aliases and entry list. Each item is a range of entries, over which a selector of its own runs;
where the class names kAbortFile it is a file, or what is to be run of it.
Their outputs are merged here, by their Merge, in the order of the ranges. What has none stays apart, and is named.
Ranges that end their process, on several nodes, are missing, and all others count.
"""

import bisect
import functools
import os
import pickle
import sys
import traceback
import types
import uuid
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Callable, NamedTuple

import cloudpickle

from . import _pickles
from ._client import Client
from ._errors import Error, ItemLost, Unpicklable
from ._executor import Executor
from ._held import LateFuture
from ._opening import HOUR
from ._root import root
from ._session import Call

ITEMS = 4  # ranges for each slot of the pool, so that one that is slow does not hold up the end
MOST = 100_000  # entries of a range at most

Item = tuple[int, int]
"""A range of entries, or of those of the entry list: its first one, and how many there are."""

Outputs = list[tuple[str, bytes]]
"""What a selector has put into its output list: names with pickles of PyROOT."""

Total = dict[str, list[Any]]
"""What the output lists of several ranges come to: by its name, one object, or several that cannot be merged."""


class Ran(NamedTuple):
    """What has come of a query: the selector's status, the job, how many entries there are, and which of them are
    missing, as dicts of file, first, last, kind and reason. lost is how many those are."""

    status: int
    job: str
    entries: int
    lost: int
    missing: list[dict[str, Any]]


def is_python(selector: Any) -> bool:
    """Whether a selector is of a class that was written in Python."""
    return isinstance(selector, root().TSelector) and any("__cpp_cross__" in vars(k) for k in type(selector).__mro__)


def process(
    client: Client,
    chain: Any,
    given: Any,
    selector: Any,
    option: str,
    count: int,
    first: int,
    begun: Callable[[int, str], None] | None = None,
) -> Ran:
    """Runs such a selector over a chain, with Begin and Terminate here. given is the TList that is the selector's
    fInput. What Process has raised is raised here, without Terminate, and there is no output then. begun is called with
    the number of entries and the name of the job that runs them."""
    if not chain.GetNtrees():
        raise Error(
            f"there are no files to run over: the chain {chain.GetName()} has none",
            "add some: Add() returns how many files it has found",
        )
    selector.GetOutputList().Clear("nodelete")  # One that has run before has its output, which refuses namesakes.
    selector.SetInputList(given)
    selector.SetOption(option)
    selector.Begin(root().nullptr)
    described = _described(chain)  # while the chain is at no file yet
    listed = chain.GetEntryList()
    entries = int(listed.GetN() if listed else chain.GetEntries())
    if entries and not listed:
        starts = _starts(chain)
        if starts[-1] != entries:
            raise Error(
                f"the files of the chain {chain.GetName()} had {entries:,} entries, and some cannot be read any more",
                "the messages of ROOT above name them",
            )
        counted = [(file, b - a) for file, a, b in zip(described["files"], starts, starts[1:]) if b > a]
        if counted:
            described["files"], described["entries"] = zip(*counted)
    if first < 0:
        first = count = 0  # as in ROOT, which finds no such entry, and goes on to no other
    last = entries if count < 0 else min(first + count, entries)
    whole = _names_abort_file(type(selector))
    size = max(min(-(-(last - first) // (client.slots * ITEMS)), MOST), 1)
    between = _first_of_files(chain, entries) if whole else range(first, last, size)
    cuts = [first, *(at for at in between if first < at < last), last]
    # At least one item, even if it is empty: SlaveBegin books the output.
    items = [(a, b - a) for a, b in zip(cuts, cuts[1:]) if b > a] or [(first, 0)]
    with _by_value(), _without_classes(type(selector)) as classes:
        shipped = _Shipped(classes, dict(vars(selector)), described, [pickle.dumps(o) for o in given], option, whole)
        total: Total = {}
        name = f"{type(selector).__name__} (Python)"
        with client.executor(imports=["ROOT"], name=name, stall=HOUR) as pool:
            if begun is not None:
                begun(max(last - first, 0), pool.name)
            lost = []
            for item, outputs in _outcomes(pool, shipped, items):
                if isinstance(outputs, ItemLost):
                    lost.append((item, outputs))
                else:
                    merge(total, outputs)
            job = pool.name
    missing = _missing(chain, lost)
    if sum(n for (_, n), _ in lost) == max(last - first, 0) and lost:
        raise Error(
            f"all {last - first:,} entries are missing: {_reason(lost[0][1])}",
            f"`dtpnode logs {job[:12]}` has all that was printed",
        )
    _tell_apart(total)
    for first_of, *others in total.values():
        root().SetOwnership(first_of, False)
        selector.GetOutputList().Add(first_of)
        for o in others:
            root().SetOwnership(o, False)
            _add_namesake(selector.GetOutputList(), o)
    selector.GetOutputList().SetOwner(False)  # It may be gone before what it has made.
    selector.Terminate()
    return Ran(int(selector.GetStatus()), job, last - first, sum(n for (_, n), _ in lost), missing)


def _outcomes(pool: Executor, shipped: "_Shipped", items: list[Item]) -> Iterator[tuple[Item, "Outputs | ItemLost"]]:
    """The outputs of ranges in their order, or why they have none."""
    function = _function(shipped)
    calls = [Call(LateFuture(), function, _pickles.arguments((item,), {})) for item in items]
    waiting = deque(call.future for call in calls)
    try:
        pool._session.submit(calls)
        del calls  # With them go the results that were taken.
        for item in items:
            try:
                outputs = waiting.popleft().result()
            except ItemLost as e:
                outputs = e
            yield item, outputs
            del outputs
    finally:
        for future in waiting:
            future.cancel()


def _function(shipped: "_Shipped") -> bytes:
    """The pickle of what runs. Where there is none the part of the selector is named that is in the way."""
    try:
        return _pickles.function(shipped)
    except Unpicklable as e:
        for name, part in shipped.parts().items():
            try:
                _pickles.by_value(part)
            except Exception:
                unsent = _pickles.named({name: part}, "could not send the selector")
                raise unsent or e from e.__cause__
        raise


def _reason(e: ItemLost) -> str:
    """Why a range was given up, without the words of the executor for it."""
    return e.message.partition(": ")[2].partition("\n")[0]


def _starts(chain: Any) -> list[int]:
    """The entries of a chain with which its files begin, and the one behind the last."""
    chain.LoadTree(chain.GetEntries() - 1)  # which looks into all of them
    offsets = chain.GetTreeOffset()
    return [int(offsets[i]) for i in range(chain.GetNtrees() + 1)]


def _first_of_files(chain: Any, entries: int) -> list[int]:
    """The entries with which the files of a chain begin, counted in its entry list if it has one."""
    starts = _starts(chain)
    if not chain.GetEntryList():
        return starts
    return [bisect.bisect_left(range(entries), start, key=chain.GetEntryNumber) for start in starts]


def _names_abort_file(cls: Any) -> bool:
    """Whether a method of a class names kAbortFile. ROOT skips the rest of the file then, and so it must not be
    divided."""
    members = [m for k in cls.__mro__ if "__cpp_cross__" in vars(k) for m in vars(k).values()]
    return any(_names(getattr(getattr(m, "__func__", m), "__code__", None), "kAbortFile") for m in members)


def _names(code: Any, name: str) -> bool:
    return code is not None and (
        name in code.co_names or any(isinstance(c, types.CodeType) and _names(c, name) for c in code.co_consts)
    )


def _missing(chain: Any, lost: list[tuple[Item, ItemLost]]) -> list[dict[str, Any]]:
    """Ranges that were given up, by the files that they are of. Where the chain has an entry list, those entries of
    them are missing that are in the list."""
    if not lost:
        return []
    files, starts = _files(chain), _starts(chain)
    out: list[dict[str, Any]] = []
    for (at, n), e in lost:
        first, last = int(chain.GetEntryNumber(at)), int(chain.GetEntryNumber(at + n - 1)) + 1
        for (path, _), start, end in zip(files, starts, starts[1:]):
            a, b = max(first, start) - start, min(last, end) - start
            if a >= b:
                continue
            reason = _reason(e)
            if out and (out[-1]["file"], out[-1]["last"], out[-1]["reason"]) == (path, a, reason):
                out[-1]["last"] = b
            else:
                out.append({"file": path, "first": a, "last": b, "kind": "process", "reason": reason})
    return out


def _described(chain: Any) -> dict[str, Any]:
    friends = []
    for f in chain.GetListOfFriends() or ():
        tree = f.GetTree()
        if tree and tree.GetTreeIndex():
            raise Error(f"the friend {f.GetName()} has an index, which does not travel with a selector in Python")
        friends.append((str(f.GetName()), _files(tree)))
    listed = chain.GetEntryList()
    return {
        "name": str(chain.GetName()),
        "files": _files(chain),
        "entries": None,  # of each file, where that is known
        "friends": friends,
        "aliases": [(str(a.GetName()), str(a.GetTitle())) for a in chain.GetListOfAliases() or ()],
        "list": pickle.dumps(listed) if listed else None,
    }


def _files(tree: Any) -> list[tuple[str, str]]:
    """The files of a tree by their paths, each with the name of the tree in it."""
    if isinstance(tree, root().TChain):
        found = [(str(e.GetTitle()), str(e.GetName())) for e in tree.GetListOfFiles()]
    elif tree and tree.GetCurrentFile():
        found = [(str(tree.GetCurrentFile().GetName()), str(tree.GetName()))]
    else:
        raise Error("a friend is in no file", "write it to one first")
    return [(path if "://" in path else os.path.abspath(path), name) for path, name in found]


class _Shipped:
    """What runs on the nodes, called with a range (first, count)."""

    def __init__(
        self,
        classes: list[Any],
        attributes: dict[str, Any],
        chain: dict[str, Any],
        given: list[bytes],
        option: str,
        whole: bool,
    ) -> None:
        self._classes, self._attributes, self._chain, self._given = classes, attributes, chain, given
        self._option, self._whole, self._key = option, whole, uuid.uuid4().hex

    def __repr__(self) -> str:
        return self._classes[-1][0] if self._classes else "selector"  # which messages name the call by

    def parts(self) -> dict[str, Any]:
        """What it is made of that is the user's, by its names."""
        members = {f"{name}.{m}": value for name, _, own in self._classes for m, value in own.items()}
        return {**members, **{f"selector.{name}": value for name, value in self._attributes.items()}}

    def __call__(self, item: Item) -> Outputs:
        import ROOT  # type: ignore[import-not-found,unused-ignore]

        kept = sys.modules.setdefault("_dtpnode_selectors", types.ModuleType("_dtpnode_selectors"))
        if self._key not in vars(kept):
            setattr(kept, self._key, (self._made(ROOT), self._chained(ROOT)))
        cls, (chain, *_) = getattr(kept, self._key)
        selector = cls()
        vars(selector).update(self._attributes)
        given = ROOT.TList()
        objects = [pickle.loads(text) for text in self._given]
        for o in objects:
            given.Add(o)
        selector.SetInputList(given)
        first, count = item
        try:
            chain.Process(selector, self._option, count, first)
        except BaseException as e:
            delattr(kept, self._key)  # An exception has left the chain in the middle of something.
            frames = traceback.walk_tb(e.__traceback__)
            if hasattr(e, "add_note") and any(f.f_code.co_name == "Process" for f, _ in frames):
                e.add_note(f"at {_place(chain)}")
            raise
        if selector.GetAbort() == ROOT.TSelector.kAbortProcess:
            raise RuntimeError(f"the selector has called Abort(kAbortProcess) at {_place(chain)}")
        if self._chain["entries"] and count and chain.GetReadEntry() != first + count - 1:
            self._check(chain, first, first + count)
        return [(str(o.GetName()), pickle.dumps(o)) for o in selector.GetOutputList()]

    def _check(self, chain: Any, first: int, last: int) -> None:
        """Raises if a file of a range cannot be read, at which ROOT ends without a word. A selector may have left out
        the end of a file itself, by Abort(kAbortFile)."""
        start = 0
        for element, (path, _), n in zip(chain.GetListOfFiles(), self._chain["files"], self._chain["entries"]):
            begin, start = max(first, start), start + n
            # A chain that could not open a file takes it for one without entries from then on.
            if begin < min(last, start) and (element.GetEntries() != n or chain.LoadTree(begin) < 0):
                raise OSError(f"could not read {path} on {os.uname().nodename}, which has {n:,} entries elsewhere")

    def _made(self, ROOT: Any) -> Any:
        """The class, without Begin, Terminate and __init__, which were or will be called where the user is."""
        base: Any = None
        made: list[Any] = []
        for name, of, members in self._classes:
            own = {**members, "Begin": lambda self, tree: None, "Terminate": lambda self: None}
            base = types.new_class(name, (base or getattr(ROOT, of),), {}, functools.partial(_fill, own))
            for f in members.values():
                for cell in _own_class(f):
                    cell.cell_contents = base
            made.append(base)
        for _, _, members in self._classes:
            for f in members.values():
                _find_named(f, made)
        if not self._whole and not any("Abort" in members for _, _, members in self._classes):
            base.Abort = _abort_undivided  # only now, since ROOT would call what the class is made with from C++
        return base

    def _chained(self, ROOT: Any) -> tuple[Any, ...]:
        chain, friends = ROOT.TChain(self._chain["name"]), []
        most = ROOT.TTree.kMaxEntries
        files = self._chain["files"]
        # Of a file that is said to have entries, ROOT does not go on to the next one if it is not there.
        for (path, name), n in zip(files, self._chain["entries"] or [most] * len(files)):
            chain.AddFile(path, n, name)
        for alias, files in self._chain["friends"]:
            friend = ROOT.TChain(files[0][1])
            for path, name in files:
                friend.AddFile(path, most, name)
            chain.AddFriend(friend, alias)
            friends.append(friend)
        for name, formula in self._chain["aliases"]:
            chain.SetAlias(name, formula)
        listed = pickle.loads(self._chain["list"]) if self._chain["list"] else None
        if listed is not None:
            chain.SetEntryList(listed)
        return chain, friends, listed


def _abort_undivided(self: Any, why: str, *what: Any) -> None:
    """TSelector::Abort of selectors of which a file may be divided."""
    import ROOT  # type: ignore[import-not-found,unused-ignore]

    if what and what[0] == ROOT.TSelector.kAbortFile:
        raise RuntimeError(
            f"the selector has called Abort(kAbortFile), {why!r}, and none of its methods names kAbortFile: the parts "
            "of this file may have run apart. Call self.Abort(why, ROOT.TSelector.kAbortFile) in a method of its class"
        )
    ROOT.TSelector.Abort(self, why, *what)


def _place(chain: Any) -> str:
    """The entry that a chain is at."""
    tree, file = chain.GetTree(), chain.GetFile()
    if not tree or not file:
        return "no entry"
    return f"entry {tree.GetReadEntry():,} of {file.GetName()}"


def _fill(own: dict[str, Any], body: dict[str, Any]) -> None:
    body.update(own)


class _Named:
    """Stands for a class of the selector where a function refers to it by its name."""

    def __init__(self, at: int) -> None:
        self.at = at  # among the classes


def _find_named(f: Any, made: list[Any]) -> None:
    """Has a method, and what is in its module, refer to the classes that were made, in the place of their names."""
    f = getattr(f, "__func__", getattr(f, "fget", f))
    names = getattr(f, "__globals__", {})
    for name, value in list(names.items()):
        if isinstance(value, _Named):
            names[name] = made[value.at]
    for cell in getattr(f, "__closure__", None) or ():
        with suppress(ValueError):  # of one that is empty
            if isinstance(cell.cell_contents, _Named):
                cell.cell_contents = made[cell.cell_contents.at]


def _own_class(f: Any) -> list[Any]:
    """The cells by which a method knows its class, for super()."""
    code, cells = getattr(f, "__code__", None), getattr(f, "__closure__", None) or ()
    return [cell for name, cell in zip(code.co_freevars, cells) if name == "__class__"] if code else []


def merge(total: Total, outputs: Outputs) -> None:
    """Adds the outputs of a range to a total, by their names. What cannot be merged is kept beside what is there. None
    belongs to the directory that happens to be the current one: a file that is closed deletes what it owns."""
    was = root().TH1.AddDirectoryStatus()
    root().TH1.AddDirectory(False)
    try:
        _merge(total, outputs)
    finally:
        root().TH1.AddDirectory(was)


def _merge(total: Total, outputs: Outputs) -> None:
    for name, text in outputs:
        o = pickle.loads(text)
        kept = total.setdefault(name, [])
        if not any(_joined(other, o) for other in kept):
            kept.append(o)


def _joined(to: Any, o: Any) -> bool:
    """Merges an object into another one, unless that cannot be."""
    kind = str(to.ClassName())
    if kind != str(o.ClassName()):
        return False
    if kind in ("TNamed", "TObjString"):  # Texts that are the same in each process are one.
        return bool(to.GetName() == o.GetName() and to.GetTitle() == o.GetTitle())
    if not hasattr(to, "Merge"):
        return False
    more = root().TList()
    more.Add(o)
    done = to.Merge(more)
    # A list that is deleted looks at what it still has, and the object may be gone before the list is.
    more.Clear("nodelete")
    return not (isinstance(done, int) and done < 0)


_declared: list[bool] = []  # not empty once ROOT has the function below


def _add_namesake(outputs: Any, o: Any) -> None:
    """Adds an object to a selector's output list, which refuses those of a name that it has."""
    if not _declared:
        root().gInterpreter.Declare(
            "#include <THashList.h>\n"
            "namespace dtpnode_python { void add(THashList *list, TObject *o) { list->THashList::AddLast(o); } }"
        )
        _declared.append(True)
    root().dtpnode_python.add(outputs, o)


def _tell_apart(total: Total) -> None:
    """Says which outputs could not be merged, since who finds one by its name would take it for the whole."""
    apart = {name: objects[0] for name, objects in total.items() if len(objects) > 1}
    if apart:
        names = ", ".join(f"{name} ({o.ClassName()})" for name, o in apart.items())
        warnings.warn(
            f"the output list has several objects of a name, which could not be merged, each of a range of entries: "
            f"{names}; FindObject finds the first of each, a loop over the list has all",
            RuntimeWarning,
            stacklevel=2,
        )


@contextmanager
def _by_value() -> Iterator[None]:
    """Has this module go along with what it sends, since nodes need not have the package."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


@contextmanager
def _without_classes(cls: Any) -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    """The classes in Python of a selector, from the one that is closest to ROOT's: names, that of the class in C++, and
    members. A class of PyROOT cannot be pickled, so that while this lasts, super() in them knows none, and what refers
    to them is pickled with a _Named in their place."""
    chain = [k for k in reversed(cls.__mro__) if "__cpp_cross__" in vars(k)]
    of = next(k for k in chain[0].__mro__ if "__cpp_cross__" not in vars(k)).__cpp_name__
    leave = ("__cpp_cross__", "__dict__", "__weakref__", "__module__", "__init__", "Begin", "Terminate")
    members = [{name: m for name, m in vars(k).items() if name not in leave} for k in chain]
    cells = [(cell, cell.cell_contents) for own in members for m in own.values() for cell in _own_class(m)]
    for cell, _ in cells:
        cell.cell_contents = None
    _pickles.instead.update({k: (_Named, (i,)) for i, k in enumerate(chain)})
    try:
        yield [(k.__name__, of, own) for k, own in zip(chain, members)]
    finally:
        _pickles.instead.clear()
        for cell, was in cells:
            cell.cell_contents = was
