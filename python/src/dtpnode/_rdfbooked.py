"""What is looked at when an operation of a distributed RDataFrame is booked, and when the dataframe is made.

What would be silently wrong when it is run in ranges is refused here, where its user has written it.
"""

import contextlib
import copy
import gc
import os
import re
import weakref
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import ROOT
from ROOT._distrdf import HeadNode, Operation


class _Nodes(deque[Any]):
    """The nodes of a graph. ROOT adds one for each operation, before anything is done with that."""

    def appendleft(self, node: Any) -> None:
        try:
            _hold(node.operation)
            check(node.operation)
            _check_columns(node)
            _check_arrays(node)
            if node.parent not in self:
                raise ValueError(
                    f"{node.operation.name} of a result of {node.parent.operation.name} that was computed in an "
                    "earlier run, and that is no more in the graph: book it before that run, or book the result anew"
                )
        except BaseException:
            node.parent.nchildren -= 1  # ROOT has counted it already.
            raise
        super().appendleft(node)


def watch(head: Any, args: tuple[Any, ...]) -> None:
    """Has each operation of a graph be checked from now on, and what the dataframe was made of whenever it is run."""
    weak, prune, execute = weakref.ref(head), type(head)._prune_graph, type(head).execute_graph
    failed: list[bool] = []  # not empty if the last run has raised
    # A chain is the user's own: a cycle would have the collector delete it, at any moment, and after its friends.
    chain = weakref.ref(args[0]) if args and isinstance(args[0], ROOT.TChain) else lambda: None
    made_of = _parts(args[0]) if chain() is not None else []

    def pruned() -> None:
        head: Any = weak()
        if failed:
            gc.collect()  # The exception has a cycle with the result that was asked for, which nobody else may have.
            failed.clear()
        for node in head.graph_nodes:
            if isinstance(node.operation, Operation.Transformation) and node.rdf_node is None:
                node.has_user_references = False  # ROOT has refused it as it was booked, so that nobody has it.
        prune(head)  # It makes a new list.
        head.graph_nodes = _Nodes(head.graph_nodes)

    def executed() -> None:
        head: Any = weak()
        try:
            if there := chain():  # It is false when ROOT has deleted it.
                check_source((there,))
                _check_parts(there, made_of)
            del there
            execute(head)
        except BaseException:
            failed.append(True)
            for node in head.graph_nodes:
                if _at_once(node.operation):  # Nobody has it, and ROOT would run it again with whatever comes next.
                    node.has_user_references = False
            raise

    head.graph_nodes, head._prune_graph, head.execute_graph = _Nodes(head.graph_nodes), pruned, executed


def _at_once(operation: Any) -> bool:
    """Whether an operation is run as it is booked."""
    if isinstance(operation, Operation.Snapshot):
        return not (len(operation.args) == 4 and operation.args[3].fLazy)
    return isinstance(operation, Operation.AsNumpy) and not operation.kwargs.get("lazy", False)


def _hold(operation: Any) -> None:
    """Has an operation keep what its arguments are now, as ROOT does in one process: lists, models and options may be
    changed, and used for something else, before the graph runs."""
    operation.args = [_held(value) for value in operation.args]
    operation.kwargs = {name: _held(value) for name, value in operation.kwargs.items()}


def _held(value: Any) -> Any:
    if callable(value):
        return value  # ROOT's copy of one may be empty.
    with contextlib.suppress(Exception):  # What cannot be copied cannot be sent either, and is refused for that.
        return copy.deepcopy(value)
    return value


def check(operation: Any) -> None:
    """Refuses an operation that would not give what it gives in one process."""
    if operation.name in MODELS:
        _check_limits(operation)
    if isinstance(operation, Operation.Snapshot):
        _arrange(operation)


OF_COLUMNS = frozenset(["Graph", "GraphAsymmErrors", "Max", "Mean", "Min", "Stats", "StdDev", "Sum"])


def _check_columns(node: Any) -> None:
    """Refuses a result of columns that there are not, as ROOT does in one process. It would be in the graph as long as
    a notebook keeps the exception, and have each later run of the dataframe fail."""
    operation, frame = node.operation, node.parent.rdf_node
    modelled = operation.name in MODELS
    if frame is None or not (modelled or operation.name in OF_COLUMNS):
        return
    given = [*operation.args[modelled and "model" not in operation.kwargs :]]
    given += [value for name, value in operation.kwargs.items() if name != "model"]
    for column in given:
        if not isinstance(column, str) or not re.fullmatch(r"[\w.]+", column):
            continue  # It may be one such as "#v", the size of v.
        try:
            frame.GetColumnType(column)
        except ROOT.std.exception as e:
            if "is not in a dataset" in str(e):
                raise ValueError(f"{operation.name} of {column!r}: the dataframe has no such column") from None


def taken(node: Any) -> Iterator[tuple[str, str]]:
    """The columns that an AsNumpy takes, and their types, "::" for those that there are not."""
    frame, operation = node.parent.rdf_node, node.operation
    given = dict(zip(("columns", "exclude"), operation.args)) | operation.kwargs
    left_out = set(map(str, given.get("exclude") or ()))
    for column in map(str, given.get("columns") or frame.GetColumnNames()):
        if column not in left_out:
            try:
                yield column, str(frame.GetColumnType(column))
            except ROOT.std.exception:
                yield column, "::"  # The ranges say that there is none.


def _check_arrays(node: Any) -> None:
    """Refuses columns of types that come from the nodes as something else."""
    if node.operation.name != "AsNumpy" or node.parent.rdf_node is None:
        return
    for column, kind in taken(node):
        if not _carried(ROOT.TClass.GetClass(kind, True, True)):
            raise ValueError(
                f"AsNumpy of {column!r}, of the type {kind}: ROOT has no dictionary by which nodes could send it, and "
                "would give other values, or crash. Define a column of numbers, or a std::vector of the elements, and "
                f"take that; exclude=[{column!r}] leaves it out"
            )


def _carried(kind: Any, within: tuple[str, ...] = ()) -> bool:
    """Whether pickles have the values of a class, which is within others. Without a dictionary ROOT takes collections
    in memory for vectors, and leaves out, without a word, what it does not know of the members of others."""
    if not kind or kind.HasDictionary() or str(kind.GetName()) in within:
        return True
    within = (*within, str(kind.GetName()))
    proxy = kind.GetCollectionProxy()
    if proxy:
        made, _, of = within[-1].partition("<")
        if made.endswith("RVec"):  # One of numbers comes as an array of numpy.
            return not (proxy.GetValueClass() or ROOT.TEnum.GetEnum(of.removesuffix(">")))
        return made.endswith("vector") and _carried(proxy.GetValueClass(), within)
    if kind.Property() & ROOT.kIsUnion:
        return False
    parts = [base.GetClassPointer() for base in kind.GetListOfBases()]
    for member in kind.GetListOfDataMembers():
        if not (member.Property() & ROOT.kIsStatic or member.IsBasic() or member.IsEnum()):
            parts.append(ROOT.TClass.GetClass(member.GetTypeName(), True, True))
    return all(part and _carried(part, within) for part in parts)


def check_source(args: tuple[Any, ...]) -> None:
    """Refuses what ROOT's ranges would not know of the data that a dataframe is made of."""
    if not args:
        return
    if isinstance(args[0], ROOT.TTree) and args[0].GetEntryList():
        raise ValueError(
            f"{args[0].ClassName()} {str(args[0].GetName())!r} has an entry list, of which distributed ranges of "
            "entries would know nothing: remove it, by SetEntryList(ROOT.nullptr), and Filter by what has made it; or "
            "write what it selects to a file first, with the Snapshot of a dataframe in one process"
        )
    if isinstance(args[0], ROOT.RDF.Experimental.RDatasetSpec):
        first, end = args[0].GetEntryRangeBegin(), args[0].GetEntryRangeEnd()
        if first != 0 or end != ROOT.std.numeric_limits["Long64_t"].max():
            raise ValueError(
                f"the RDatasetSpec has a global range, from entry {first} to {end}, which ROOT's distributed "
                "dataframes ignore: leave WithGlobalRange out, and name the files that you want, or write the entries "
                "of the range to a file first, with the Snapshot of a dataframe in one process"
            )


def hold_source(head: Any) -> None:
    """Has a dataframe keep what it is made of as it is now. What ROOT keeps of an RDatasetSpec's friends is a part of
    that, which may be gone before the graph runs, and of an RNTuple's files the list that its user has."""
    if isinstance(head, HeadNode.RDatasetSpecHeadNode) and head.friendinfo is not None:
        head.friendinfo = copy.deepcopy(head.friendinfo)
    if isinstance(head, HeadNode.TreeHeadNode):  # Of a tree in a folder of its file they begin with a slash.
        head.subtreenames = [name.lstrip("/") for name in head.subtreenames]
    if isinstance(head, HeadNode.RNTupleHeadNode):
        head.inputfiles = [str(file) for file in head.inputfiles]


def _parts(chain: Any) -> list[list[str]]:
    """The files of a chain and of its friends."""
    friends = (friend.GetTree() for friend in chain.GetListOfFriends() or ())
    chains = [chain, *(friend for friend in friends if isinstance(friend, ROOT.TChain))]
    return [[f"{file.GetTitle()}/{file.GetName()}" for file in one.GetListOfFiles()] for one in chains]


def _check_parts(chain: Any, made_of: list[list[str]]) -> None:
    """Refuses a chain that has other files than when the dataframe was made, of which ranges would know nothing."""
    if _parts(chain) != made_of:
        raise ValueError(
            f"the chain {str(chain.GetName())!r} has other files or friends than when the dataframe was made of it, "
            "and ranges would not know them: make another dataframe of the chain as it is now"
        )


def check_samples(head: Any) -> None:
    """Refuses a tree that several samples have: ROOT knows of which sample a range is by the names of its trees. And
    samples of one name, of which it leaves out all but the first one of a range."""
    samples = getattr(head, "sampleMap", None) or {}
    of_name: dict[str, list[str]] = {}
    for tree, made in samples.items():
        name = str(made._sample.GetSampleName())
        files = [f"{file}/{t}" for file, t in zip(made._sample.GetFileNameGlobs(), made._sample.GetTreeNames())]
        if of_name.setdefault(name, files) != files:
            raise ValueError(
                f"the RDatasetSpec has several samples of the name {name!r}, one of them with {tree}, and ranges would "
                "leave out all but one: give each a name of its own, or have one sample with the files of all"
            )
    times = Counter(f"{file}/{tree}" for file, tree in zip(head.inputfiles, head.subtreenames)) if samples else {}
    for tree, n in times.items():
        sample = samples[tree]._sample if tree in samples else None
        if sample is None or n == 1:
            continue
        own = zip(sample.GetFileNameGlobs(), sample.GetTreeNames())
        if n > sum(tree == f"{file}/{name}" for file, name in own):
            raise ValueError(
                f"the RDatasetSpec has {tree} in sample {str(sample.GetSampleName())!r} and in another one, and ranges "
                "would take it for the same sample each time: have one sample for each tree, or a dataframe for each"
            )


# --- histograms

MODELS = {
    "Histo1D": "TH1DModel", "Histo2D": "TH2DModel", "Histo3D": "TH3DModel", "HistoND": "THnDModel",
    "HistoNSparseD": "THnSparseDModel", "Profile1D": "TProfile1DModel", "Profile2D": "TProfile2DModel",
}  # fmt: skip
AXES = {"1": "X", "2": "XY", "3": "XYZ"}


def model_of(operation: Any) -> Any:
    """The model of a histogram or profile as ROOT has it; None if ROOT makes none of what was given."""
    given = operation.kwargs.get("model", operation.args[0] if operation.args else None)
    kind = getattr(ROOT.RDF, MODELS[operation.name], None)
    if kind is None or isinstance(given, kind):
        return given
    try:
        return kind(*given) if isinstance(given, tuple) else kind(given)
    except TypeError:
        return None  # ROOT refuses it, too, and says why.


def _check_limits(operation: Any) -> None:
    """Refuses limits that ROOT chooses by what it fills: each range would choose others, which cannot be merged."""
    model = model_of(operation)
    if model is None:
        return
    columns = [c for given in operation.args[1:] for c in ([given] if isinstance(given, str) else given)]
    for i, axis, low, high in _limits(operation.name, model):
        if low < high:
            continue
        of = f" of {', '.join(map(str, columns))}" if columns else ""
        column = repr(str(columns[i])) if i < len(columns) else "COLUMN"
        raise ValueError(
            f"{operation.name} {str(model.fName)!r}{of} has no limits on its axis {axis} (from {low:g} to {high:g}): "
            "ROOT would choose others for each range of entries, and could not merge what the ranges give. Give limits "
            f"with low < high; if you know none, take those that Min({column}) and Max({column}) give in a run before"
        )


def _limits(name: str, model: Any) -> list[tuple[int, str, float, float]]:
    """The limits of each axis for which there are no edges of bins, behind its number, from 0, and its name."""
    axes = AXES.get(name.removesuffix("D")[-1])
    if axes is not None:
        return [
            (i, axis.lower(), getattr(model, f"f{axis}Low"), getattr(model, f"f{axis}Up"))
            for i, axis in enumerate(axes)
            if not len(getattr(model, f"fBin{axis}Edges"))
        ]
    edges = [len(some) for some in model.fBinEdges]
    limits = enumerate(zip(model.fXmin, model.fXmax))
    return [(i, str(i), low, high) for i, (low, high) in limits if not any(edges[i : i + 1])]


# --- snapshots

ARGUMENTS = ("treename", "filename", "columnList", "options")


def _arrange(operation: Any) -> None:
    """Gives a Snapshot its arguments by their places, where alone ROOT's distributed dataframes look for them, and its
    file the name that ROOT makes of it in one process, with the values of ~ and $NAME."""
    given = {("columnList" if k == "columnNameRegexp" else k): v for k, v in operation.kwargs.items()}
    places = dict(zip(ARGUMENTS, operation.args))
    wrong = [name for name in given if name not in ARGUMENTS or name in places]
    if wrong or len(operation.args) > len(ARGUMENTS):
        what = f"no argument {', '.join(wrong)}, or has it already" if wrong else f"{len(ARGUMENTS)} arguments at most"
        raise TypeError(f"Snapshot takes {what}: its arguments are {', '.join(ARGUMENTS)}")
    given |= places
    missing = [name for name in ARGUMENTS[:2] if name not in given]
    if missing:
        raise TypeError(f"Snapshot lacks {' and '.join(missing)}: its arguments are {', '.join(ARGUMENTS)}")
    given["treename"], path = str(given["treename"]), str(given["filename"])
    given["filename"] = path if "://" in path else os.path.expandvars(os.path.expanduser(path))
    if "options" in given:
        given.setdefault("columnList", "")  # all columns
    if str(getattr(given.get("options"), "fMode", "")).upper() == "UPDATE":
        raise ValueError(
            f"the Snapshot into {given['filename']} has fMode UPDATE, which distributed dataframes cannot do: write "
            "another file, and add its tree to that one by hadd or TFileMerger"
        )
    operation.args, operation.kwargs = [given[name] for name in ARGUMENTS if name in given], {}
