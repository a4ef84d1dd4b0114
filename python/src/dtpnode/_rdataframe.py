"""RDataFrame of ROOT on the pool: how programs come to it, by ROOT's own names and by that of this package.

ROOT is not imported here: most programs that use this package have none. What ROOT lets others add to its distributed
RDataFrame is added when its module for that is imported.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Callable

from ._client import Client
from ._errors import Error

DISTRIBUTED = "ROOT._distrdf"
BACKENDS = os.path.join(os.path.dirname(__file__), "_backends")


def RDataFrame(*args: Any, executor: Client | None = None, **options: Any) -> Any:
    """A distributed RDataFrame of ROOT, whose graph runs on the pool. It needs a Python that can import ROOT.

        >>> frame = dtpnode.RDataFrame("Events", "data/*.root", executor=client)          # doctest: +SKIP
        >>> frame.Filter("nMuon == 2").Histo1D(("n", "", 20, 0, 20), "nJet").Draw()       # doctest: +SKIP

    ``ROOT.RDataFrame(..., executor=client)`` is the same, and so is ``ROOT.RDF.Distributed.Dtpnode.RDataFrame``; with
    ``executor`` left out it is a client of its own. ``args`` are those of ROOT's RDataFrame: the number of entries, or
    a tree or RNTuple with its files, a TChain with its friends, or an RDatasetSpec. All operations of ROOT's
    distributed interface are there, and ``ROOT.RDF.RunGraphs``, ``VariationsFor``, ``FromSpec``, ``LiveVisualize``,
    ``DistributeHeaders`` and its like take it.

    The entries are divided into ranges, on boundaries of clusters. A range counts once, whatever dies, and results are
    merged in the order of the ranges: AsNumpy has the order of the data, and the same ranges give the same bits. Where
    the histograms of all ranges have more than 512 MiB, nodes add them, in any order: sums of floats may differ in the
    last digits then.

    ``npartitions``
        is how many ranges there are: by default several for each slot, so that none waits long for the last, but at
        most one for each cluster, as far as the first files tell.
    ``one_file``
        has each Snapshot gather what the ranges have written into the one file that it names, in the order of the
        ranges. By default there is a file for each range, ``NAME_0.root`` and so on, as with ROOT's other backends.
    ``env``, ``modules``
        go along to the nodes; see Executor.
    ``stall``
        is how many seconds a range may take before it is taken for an endless loop, and lost when it was tried three
        times: an hour, and None for any time.
    ``progress``
        shows a bar; by default where standard error is a terminal, or in a notebook.

    Files of Snapshots appear where this program names them, also if nodes share no file system with it, when all
    ranges are done: each once, and none if a range fails. Paths of input files are those of this host, seen from its
    working folder; a range whose file a node lacks goes to another one.

    A range that raises is named in the exception, which is that of the node: a C++ exception is a RuntimeError. One
    that ends its process again and again is an ItemLost.
    """
    return backend().frame(executor if executor is not None else _shared(), args, options)


def backend() -> Any:
    """The module that needs ROOT."""
    from ._root import root

    root()
    return importlib.import_module("._rdfbackend", __package__)


_lock = threading.Lock()
_own: Client | None = None


def _shared() -> Client:
    """The client of dataframes that name none."""
    global _own
    with _lock:
        _own = _own or Client()
        return _own


# --- ROOT's own names


def _ours(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    """What takes a call that names a client of this package to ours, and any other one to what ROOT has."""

    def dispatch(*args: Any, **options: Any) -> Any:
        return (ours if isinstance(options.get("executor"), Client) else theirs)(*args, **options)

    dispatch.__doc__ = theirs.__doc__
    return dispatch


def _from_spec(path: str, *args: Any, **options: Any) -> Any:
    return backend().from_spec(path, *args, **options)


def _add(module: ModuleType) -> None:
    """Adds the pool to ROOT's module for distributed RDataFrames."""
    module.RDataFrame = _ours(RDataFrame, module.RDataFrame)  # type: ignore[attr-defined]
    module.FromSpec = _ours(_from_spec, module.FromSpec)  # type: ignore[attr-defined]
    sys.modules[module.__name__ + ".Backends"].__path__.append(BACKENDS)


def _add_late(module: ModuleType) -> None:
    """As _add, where ROOT's namespace of RDataFrame may have been made before, with what was there then."""
    _add(module)
    facade = sys.modules["ROOT"]
    if isinstance(getattr(type(facade), "RDF", None), property):
        return  # It is made when it is asked for.
    space = facade.RDF
    for distributed in (space.Distributed, vars(type(space.Experimental)).get("Distributed")):
        if distributed is not None:
            made = ModuleType(f"ROOT.RDF.Distributed.{DTPNODE}")
            made.RDataFrame = RDataFrame  # type: ignore[attr-defined]
            ModuleType.__setattr__(distributed, DTPNODE, made)
            ModuleType.__setattr__(distributed, "FromSpec", module.FromSpec)
    space.Experimental.FromSpec = _ours(_from_spec, space.Experimental.FromSpec)


DTPNODE = "Dtpnode"


class _Finder(importlib.abc.MetaPathFinder):
    """Has _add run when ROOT's module is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != DISTRIBUTED or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _add(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def install() -> None:
    """Adds the pool to ROOT, now if it is imported, or else when it is."""
    module = sys.modules.get(DISTRIBUTED)
    if module is None:
        sys.meta_path.insert(0, _Finder())
    else:
        _add_late(module)
