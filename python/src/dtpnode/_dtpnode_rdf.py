"""What runs a range of a distributed RDataFrame on a node.

It goes to the nodes as a module of this name, and imports nothing of the package. Where it is imported there, by the
process from which all others of a session are forked, it has ROOT compile what every graph needs, and the graph for
which the session was begun. A process that has run the first range of another graph leaves that graph in a folder, and
the process that forks compiles it, too: so graphs that run again are compiled already, however often processes begin.
"""

import contextlib
import functools
import hashlib
import importlib
import mmap
import os
import pickle
import re
import shutil
import signal
import sys
import tempfile
import threading
import uuid
from typing import Any, Callable, Iterator

COMPILED = 64  # graphs that are compiled for all later processes of a session on a node
SPARED = 1 << 20  # bytes of a graph that is not


class Lacking(Exception):
    """A node cannot run a range that others may run: it has no ROOT, or no such file. The range has not begun."""

    def __init__(self, words: str, node: str) -> None:
        super().__init__(words, node)
        self.words, self.node = words, node

    def __str__(self) -> str:
        return self.words


class Piece:
    """A range, pickled, with what it is in words."""

    def __init__(self, pickled: bytes, words: str, files: tuple[tuple[str, str], ...]) -> None:
        self.pickled, self.words = pickled, words
        self.files = files  # that it reads: each name as the range has it, and the whole path

    def __repr__(self) -> str:
        return self.words


class Part:
    """A file that a Snapshot has written for a range: path on a file system that the client sees, or else content."""

    def __init__(self, name: str, path: str | None, content: Any) -> None:
        self.name = name  # as ROOT's result has it
        self.path, self.content = path, content


class Packed:
    """Something that is unpickled not before it is opened, and so by the thread that does so: the threads in which
    things come to a client are to leave ROOT alone, which another one may be using."""

    def __init__(self, value: Any) -> None:
        self._value, self._pickled = value, None  # type: Any, Any

    def __getstate__(self) -> Any:
        if self._pickled is not None:
            return self._pickled
        import cloudpickle

        buffers: list[pickle.PickleBuffer] = []  # They go into the pickle around this one, and are copied only there.
        return cloudpickle.dumps(self._value, 5, buffer_callback=buffers.append), buffers

    def __setstate__(self, state: Any) -> None:
        self._value, self._pickled = None, state

    def open(self) -> Any:
        if self._pickled is not None:
            import ROOT

            ROOT.TObject  # It has ROOT begin, without which unpickling its objects ends the process by a crash.
            pickled, buffers = self._pickled
            self._value, self._pickled = pickle.loads(pickled, buffers=buffers), None
        return self._value


class Done:
    """What has come of a range."""

    def __init__(self, result: Any, parts: list[Part], version: str) -> None:
        self._result, self.parts = Packed(result), parts
        self.node, self.name = node()
        self.version = version  # of ROOT

    @property
    def result(self) -> Any:
        """ROOT's TaskResult."""
        return self._result.open()


class Run:
    """Runs the ranges of one execution of a graph.

    mapper is ROOT's function for a range, pickled; execution is its number in the session, and living are those that
    have not ended. headers, libraries and files are names in the working folder. outputs are, by the folders in the
    working folder into which Snapshots write, the folders that the client makes of them. afresh has the graph built for
    each range, and not cloned. histograms is what the client's program has set for these.
    """

    def __init__(
        self,
        mapper: bytes,
        headers: tuple[str, ...],
        libraries: tuple[str, ...],
        files: tuple[str, ...],
        outputs: dict[str, str],
        afresh: bool,
        histograms: tuple[bool, bool] = (False, False),
    ) -> None:
        self.__qualname__ = "RDataFrame"  # by which a call is shown
        self.mapper = mapper
        self.execution, self.living = 0, ()  # type: tuple[int, tuple[int, ...]]
        self.headers, self.libraries, self.files = headers, libraries, files
        self.outputs, self.afresh = outputs, afresh
        self.histograms = histograms

    def __call__(self, piece: Piece) -> Done:
        try:
            import ROOT
        except ImportError as e:
            raise Lacking(
                f"{node()[1]} has no ROOT in its Python, {sys.executable} ({e}): install it there, or have an "
                "environment go along that has it (env=)",
                node()[0],
            ) from None
        for _, path in piece.files:
            if not os.path.exists(path):
                raise Lacking(f"{node()[1]} has no file {path}", node()[0])
        some = pickle.loads(piece.pickled)
        mapper = _mapper(self, some)
        stand(self, piece)
        prepare(os.getcwd(), self.headers, self.libraries)
        know_empty()
        ROOT.TH1.SetDefaultSumw2(self.histograms[0])
        ROOT.TH1.StatOverflows(self.histograms[1])
        with self._folders():
            result = mapper(some)
            parts = list(self._parts(result))
        leave(self, piece)
        return Done(result, parts, str(ROOT.gROOT.GetVersion()))

    @contextlib.contextmanager
    def _folders(self) -> Iterator[None]:
        """Makes the folders into which Snapshots write: where the client's are seen they are in these."""
        made: list[str] = []
        for name, target in self.outputs.items():
            if os.path.isdir(target) and os.access(target, os.W_OK):
                own = os.path.join(target, uuid.uuid4().hex)
                os.mkdir(own)
                made.append(own)
                os.symlink(own, name)
            else:
                os.mkdir(name)
                made.append(os.path.abspath(name))
        try:
            yield
        except BaseException:
            for path in made:
                shutil.rmtree(path, ignore_errors=True)
            raise
        finally:
            for name in self.outputs:
                if os.path.islink(name):
                    os.unlink(name)
                else:
                    shutil.rmtree(name, ignore_errors=True)

    def _parts(self, result: Any) -> Iterator[Part]:
        """The files that Snapshots have written."""
        for made in result.mergeables or ():
            for name in getattr(made, "filenames", ()):
                folder = os.path.dirname(name)
                if folder not in self.outputs:
                    continue  # It is a URL, to which ROOT has written it.
                if not os.path.exists(name):
                    continue
                if os.path.islink(folder):
                    yield Part(name, os.path.join(os.path.realpath(folder), os.path.basename(name)), None)
                    continue
                with open(name, "rb") as f:
                    # The file may be large: it goes from here into the result's without a copy in memory.
                    yield Part(name, None, pickle.PickleBuffer(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)))


def node() -> tuple[str, str]:
    """The id of this node, and its name."""
    return os.environ.get("DTPNODE_NODE", ""), os.environ.get("DTPNODE_NODE_NAME") or os.uname().nodename


_executions: dict[int, tuple[Any, Any]] = {}  # by their numbers: ROOT's names of them, and their mappers
_prepared: set[str] = set()  # headers and libraries that are loaded


def _mapper(run: Run, some: Any) -> Any:
    """The mapper of an execution. Those of executions that have ended go, with what ROOT keeps of their graphs."""
    from ROOT._distrdf import _graph_cache

    for number in list(_executions):
        # A later one than this one may go on, though this one does not know it.
        over = number < run.execution and number not in run.living
        if over or number == run.execution and run.afresh:
            _graph_cache._ACTIONS_REGISTER.pop(_executions[number][0], None)
            _graph_cache._RDF_REGISTER.pop(_executions[number][0], None)
        if over:
            del _executions[number]
    known = _executions.get(run.execution)
    if known is None:
        known = _executions[run.execution] = some.exec_id, pickle.loads(run.mapper)
    return known[1]


def stand(run: Run, piece: Piece) -> None:
    """Changes to a folder from which the relative names of input files lead to these: so names are what they are where
    the dataframe was made, as code of the user's may ask for them. What goes along is there, too."""
    names = [(name, path) for name, path in piece.files if not os.path.isabs(name)]
    if not names:
        return
    home = os.getcwd()
    up = max(os.path.normpath(name).split(os.sep).count(os.pardir) for name, _ in names)
    here = os.path.join(home, *["in"] * up)
    os.makedirs(here, exist_ok=True)
    if here != home:
        names += [(name, os.path.join(home, name)) for name in run.files]
    for name, path in names:
        link = os.path.normpath(os.path.join(here, name))
        os.makedirs(os.path.dirname(link), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.symlink(path, link)
    os.chdir(here)


def prepare(folder: str, headers: tuple[str, ...], libraries: tuple[str, ...]) -> None:
    """Has ROOT know headers and libraries that lie in a folder, once in a process."""
    if _prepared.issuperset(headers) and _prepared.issuperset(libraries):
        return
    from ROOT._distrdf.Backends import Utils

    for names, load in (headers, Utils.distribute_headers), (libraries, Utils.distribute_shared_libraries):
        for name in names:
            if name not in _prepared:
                load([os.path.join(folder, name)])
                _prepared.add(name)


def histograms() -> tuple[bool, bool]:
    """What this program has set for all histograms: whether they have sums of squares of weights from their beginning,
    and whether their statistics have what is beyond their limits, which only a histogram tells."""
    import ROOT

    beyond = ROOT.TH1D()
    beyond.Fill(2.0)
    return bool(ROOT.TH1.GetDefaultSumw2()), bool(beyond.GetMean())


@functools.cache
def know_empty() -> None:
    """Has ROOT's ranges know RNTuples without entries. ROOT 6.40 aborts as it is asked for the clusters of one."""
    import ROOT
    from ROOT._distrdf import Ranges

    clusters = Ranges.get_rntuple_clusters_and_entries

    def known(name: str, file: str) -> Any:
        return clusters(name, file) if ROOT.RNTupleReader.Open(name, file).GetNEntries() else ([0], 0)

    Ranges.get_rntuple_clusters_and_entries = known


# --- results

# ROOT 6.40 loses what a Report says when it is pickled, but keeps its cuts, and keeps the cuts as they were when it
# merges two Reports, so that what is merged next is added to the first one alone. Both make each from the other. Of two
# ranges in which nothing passes the filters it makes a mean that is no number, and so a total that is none, and a
# standard deviation that is none of such a range and one with a single entry. C++ lets explicit instantiations name
# members that are private.
_MENDS = """
#include <ROOT/RDF/RMergeableValue.hxx>
namespace dtpnode {
using Report = ROOT::RDF::RCutFlowReport;
using Cut = ROOT::RDF::TCutInfo;
using Merging = ROOT::Detail::RDF::RMergeableReport;
template <typename Tag, typename Tag::Member M> struct Reach { friend typename Tag::Member reach(Tag) { return M; } };
struct Add { using Member = void (Report::*)(Cut &&); friend Member reach(Add); };
struct Cuts { using Member = std::vector<Cut> Merging::*; friend Member reach(Cuts); };
template struct Reach<Add, &Report::AddCut>;
template struct Reach<Cuts, &Merging::fCutInfoVec>;

using Value = ROOT::Detail::RDF::RMergeableValue<double>;
using Mean = ROOT::Detail::RDF::RMergeableMean;
using StdDev = ROOT::Detail::RDF::RMergeableStdDev;
using Variations = ROOT::Detail::RDF::RMergeableVariationsBase;
struct Of { using Member = double Value::*; friend Member reach(Of); };
struct MeanCounts { using Member = ULong64_t Mean::*; friend Member reach(MeanCounts); };
struct StdDevCounts { using Member = ULong64_t StdDev::*; friend Member reach(StdDevCounts); };
struct StdDevMean { using Member = double StdDev::*; friend Member reach(StdDevMean); };
struct Values {
   using Member = std::vector<std::unique_ptr<ROOT::Detail::RDF::RMergeableValueBase>> Variations::*;
   friend Member reach(Values);
};
template struct Reach<Of, &Value::fValue>;
template struct Reach<MeanCounts, &Mean::fCounts>;
template struct Reach<StdDevCounts, &StdDev::fCounts>;
template struct Reach<StdDevMean, &StdDev::fMean>;
template struct Reach<Values, &Variations::fValues>;

// added adds a value to another one where one of them is of no entries, and reports whether that is so.
bool added(Value &a, const Value &b)
{
   if (auto x = dynamic_cast<Mean *>(&a)) {
      const auto &y = dynamic_cast<const Mean &>(b);
      const auto counts = reach(MeanCounts{});
      if (x->*counts && y.*counts)
         return false;
      if (y.*counts) {
         x->*counts = y.*counts;
         a.*reach(Of{}) = b.*reach(Of{});
      }
      return true;
   }
   if (auto x = dynamic_cast<StdDev *>(&a)) {
      const auto &y = dynamic_cast<const StdDev &>(b);
      const auto counts = reach(StdDevCounts{});
      if (x->*counts && y.*counts)
         return false;
      if (y.*counts) {
         x->*counts = y.*counts;
         x->*reach(StdDevMean{}) = y.*reach(StdDevMean{});
         a.*reach(Of{}) = b.*reach(Of{});
      }
      return true;
   }
   return false;
}

bool added(ROOT::Detail::RDF::RMergeableVariations<double> &a,
           const ROOT::Detail::RDF::RMergeableVariations<double> &b)
{
   auto &to = a.*reach(Values{});
   const auto &from = b.*reach(Values{});
   if (to.size() != from.size())
      return false;
   for (std::size_t i = 0; i < to.size(); ++i) {
      auto &x = static_cast<Value &>(*to[i]);
      const auto &y = static_cast<const Value &>(*from[i]);
      if (!added(x, y))
         ROOT::Detail::RDF::MergeValues(x, y);
   }
   return true;
}

std::unique_ptr<Merging> unpickled(const ROOT::Detail::RDF::RMergeableValue<Report> &value)
{
   auto cuts = dynamic_cast<const Merging &>(value).*reach(Cuts{});
   Report report;
   for (const auto &cut : cuts)
      (report.*reach(Add{}))(Cut(cut));
   return std::make_unique<Merging>(report, cuts);
}

std::unique_ptr<Merging> merged(const ROOT::Detail::RDF::RMergeableValue<Report> &value)
{
   auto report = value.GetValue();
   return std::make_unique<Merging>(report, std::vector<Cut>(report.begin(), report.end()));
}
}
"""


@functools.cache
def _mends() -> Any:
    import ROOT

    ROOT.gInterpreter.Declare(_MENDS)
    return ROOT.dtpnode


def _is(value: Any, kinds: str) -> bool:
    return bool(re.search(kinds, str(getattr(type(value), "__cpp_name__", ""))))


def mend(result: Any, how: str) -> Any:
    """A result whose Reports are as they should be after they were unpickled, or merged."""
    for i, value in enumerate(result.mergeables or ()):
        if _is(value, "RCutFlowReport|RMergeableReport"):
            result.mergeables[i] = getattr(_mends(), how)(value)
    return result


def exact(reducer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """ROOT's reducer, whose results can be merged again, and are right where nothing has passed the filters."""

    def reduce(a: Any, b: Any) -> Any:
        if a.mergeables is None or b.mergeables is None:
            return reducer(a, b)
        total = reducer(type(a)([], a.entries_in_trees), type(b)([], b.entries_in_trees))
        total.mergeables = [_merged(reducer, type(a), x, y) for x, y in zip(a.mergeables, b.mergeables)]
        return mend(total, "merged")

    return reduce


def _merged(reducer: Callable[[Any, Any], Any], kind: Any, x: Any, y: Any) -> Any:
    """One value of two ranges. kind is ROOT's TaskResult. Where ROOT cannot merge them it says so on standard error,
    and goes on with what it has: that must be no result."""
    if _is(x, _MEANS) and _mends().added(x, y):
        return x
    with _merging:
        _listener().listen()
        try:
            (value,) = reducer(kind([x], None), kind([y], None)).mergeables
        finally:
            said = str(_listener().heard())
    if said:
        raise RuntimeError(f"could not merge what ranges give for {_called(x)}: {said}")
    return value


_merging = threading.Lock()  # held while ROOT has another function for its errors, which all threads share

_LISTENER = """
#include <TError.h>
#include <string>
namespace dtpnode_errors {
thread_local std::string said;
ErrorHandlerFunc_t others = nullptr;

void take(int level, Bool_t abort, const char *where, const char *words)
{
   if (level < kError || abort)
      return others(level, abort, where, words);
   if (said.empty())
      said = std::string(where) + ": " + words;
}

void listen()
{
   said.clear();
   others = SetErrorHandler(take);
}

std::string heard()
{
   SetErrorHandler(others);
   return said;
}
}
"""


@functools.cache
def _listener() -> Any:
    import ROOT

    ROOT.gInterpreter.Declare(_LISTENER)
    return ROOT.dtpnode_errors


def _called(value: Any) -> str:
    """A value as its user knows it."""
    try:
        varied = hasattr(value, "GetVariation")
        made = value.GetVariation("nominal") if varied else value.GetValue()
        return f"{'variations of ' if varied else ''}{made.ClassName()} {str(made.GetName())!r}"
    except (AttributeError, LookupError, RuntimeError, TypeError):
        return str(getattr(type(value), "__cpp_name__", type(value).__name__))


_MEANS = "RMergeableMean|RMergeableStdDev|RMergeableValue<double>|RMergeableVariations<double>"


class Total:
    """What has come of ranges that were added: one result of all that does not depend on their order, and of the rest
    those of each range. result is ROOT's TaskResult of the range of a number, which this takes apart. versions are
    those of ROOT that have made it, by the names of nodes."""

    def __init__(self, result: Any, number: int, versions: dict[str, str] | None = None) -> None:
        self._packed: Packed | None = None  # There is nothing else then.
        self.result, self.versions = result, versions or {}
        self.apart: dict[int, list[Any]] = {}  # by numbers of ranges: what is in order
        self.order: list[bool] = []  # of what the graph gives, which is in order
        if result.mergeables is not None:
            self.order = [in_order(value) for value in result.mergeables]
            self.apart[number] = [value for value, is_so in zip(result.mergeables, self.order) if is_so]
            result.mergeables = [value for value, is_so in zip(result.mergeables, self.order) if not is_so]

    def __getstate__(self) -> Any:
        return self._packed or Packed(self.__dict__)

    def __setstate__(self, packed: Packed) -> None:
        self._packed = packed

    def opened(self) -> "Total":
        """Itself, unpickled."""
        if self._packed is not None:
            self.__dict__.update(self._packed.open())
            mend(self.result, "unpickled")
        return self

    def __deepcopy__(self, _: Any) -> "Total":
        return self  # No other range has any of it.

    def whole(self, reducer: Callable[[Any, Any], Any]) -> Any:
        """ROOT's TaskResult of all."""
        if self.result.mergeables is None:
            return self.result
        rows = [type(self.result)(self.apart[number], None) for number in sorted(self.apart)]
        values = {True: iter(functools.reduce(reducer, rows).mergeables), False: iter(self.result.mergeables)}
        self.result.mergeables = [next(values[is_so]) for is_so in self.order]
        return self.result


def in_order(value: Any) -> bool:
    """Whether what ranges give is to be put together in their order."""
    return hasattr(value, "Merge") or _is(value, "TGraph")


def add(a: Total, b: Total, reducer: Any = None) -> Total:
    """Adds two totals. It changes a."""
    if reducer is None:
        from ROOT._distrdf.Backends.Base import distrdf_reducer

        reducer = exact(distrdf_reducer)
    a, b = a.opened(), b.opened()
    a.result = reducer(a.result, b.result)
    a.apart.update(b.apart)
    a.versions.update(b.versions)
    a.order = a.order or b.order
    return a


class Adding:
    """As a Run, for ranges that are added where they run."""

    def __init__(self, run: Run) -> None:
        self.__qualname__ = "RDataFrame"
        self.run = run

    def __call__(self, piece: Piece) -> Total:
        done = self.run(piece)
        return Total(done.result, pickle.loads(piece.pickled).id, {done.name: done.version})


# --- graphs that are compiled for processes that begin later

FIRST = "_dtpnode_rdf_first"  # a module with the graph for which a session was begun, if there is one
SIGNAL = signal.SIGURG  # tells the process that forks of a graph; where nobody waits for it, it is nothing

_folder = ""  # in which graphs are left to be compiled; empty where nobody compiles them
_forks = 0  # the process from which all others are forked
_compiled: set[str] = set()  # hashes of graphs that it has compiled
_compiling = False


def leave(run: Run, piece: Piece) -> None:
    """Leaves a graph, which has just run well, to be compiled for processes that begin later."""
    if not _folder or os.getpid() == _forks or len(run.mapper) > SPARED or len(_compiled) >= COMPILED:
        return
    name = hashlib.sha256(run.mapper).hexdigest()
    path = os.path.join(_folder, name)
    if name in _compiled or os.path.exists(path) or len(os.listdir("/proc/self/task")) > 1:
        return  # What begins threads, such as to read from afar, is nothing for a process that forks.
    _compiled.add(name)
    temp = ""
    try:
        temp = tempfile.mkdtemp(dir=_folder, prefix="tmp")
        for file in {*run.headers, *run.libraries, *run.files}:
            shutil.copyfile(file, os.path.join(temp, file))
        os.makedirs(os.path.join(temp, "graph"))
        with open(os.path.join(temp, "graph", "pickle"), "wb") as f:
            pickle.dump((run, piece), f)
        os.rename(temp, path)
    except OSError:
        shutil.rmtree(temp, ignore_errors=True)  # The disk is full, or another process was faster.
        return
    with contextlib.suppress(OSError):  # It has ended.
        os.kill(_forks, SIGNAL)


def _compile_all(*_: Any) -> None:
    """Compiles what was left: when a process says that it has left something, so that later runs of a graph need not
    wait for that, and before each fork."""
    global _compiling
    if os.getpid() != _forks or _compiling:
        return
    _compiling = True
    try:
        while len(_compiled) < COMPILED:
            left = [n for n in os.listdir(_folder) if n not in _compiled and not n.startswith("tmp")]
            if not left:
                return
            for name in left:
                _compiled.add(name)
                with open(os.path.join(_folder, name, "graph", "pickle"), "rb") as f:
                    graph = f.read()
                _try(os.path.join(_folder, name), graph)
    finally:
        _compiling = False


def _try(folder: str, graph: bytes) -> None:
    """Compiles a graph in a folder, if that can be done."""
    at = os.getcwd()
    begun = os.path.join(os.path.dirname(_folder), f"compiling-{hashlib.sha256(graph).hexdigest()}")
    if os.path.exists(begun):
        return  # An earlier process has ended in it.
    try:
        with open(begun, "w"):
            pass
        os.chdir(folder)
        run, piece = pickle.loads(graph)
        if not all(os.path.exists(path) for _, path in piece.files):
            return  # Other nodes run it.
        _compile(run, piece)
        _compiled.add(hashlib.sha256(run.mapper).hexdigest())
    except BaseException as e:
        print(f"could not compile a graph before it is needed: {e}", file=sys.stderr)
    finally:
        os.chdir(at)
        with contextlib.suppress(OSError):
            os.unlink(begun)


def _compile(run: Run, piece: Piece) -> None:
    """Runs a graph over no entries of a range, in the working folder, so that none of them can fail. It does so twice,
    since ROOT clones graphs for all ranges of a process but the first one, and compiles that, too."""
    from ROOT._distrdf import Ranges, _graph_cache

    some = pickle.loads(piece.pickled)
    bounds = Ranges.get_clustered_range_from_percs

    def none(percents: Any) -> Any:
        found, entries = bounds(percents)
        if found is not None:
            found.globalend = found.globalstart
        return found, entries

    stand(run, piece)
    prepare(os.getcwd(), run.headers, run.libraries)
    know_empty()
    if hasattr(some, "end"):
        some.end = some.start
    for name in run.outputs:
        os.mkdir(name)
    Ranges.get_clustered_range_from_percs = none
    try:
        mapper = pickle.loads(run.mapper)
        for _ in range(1 if run.afresh else 2):
            mapper(some)
    finally:
        Ranges.get_clustered_range_from_percs = bounds
        _graph_cache._ACTIONS_REGISTER.pop(some.exec_id, None)
        _graph_cache._RDF_REGISTER.pop(some.exec_id, None)
        for name in run.outputs:
            shutil.rmtree(name, ignore_errors=True)


def _compile_first() -> bool:
    """Compiles the graph for which the session was begun, so that no process has to, and reports whether it has."""
    try:
        graph = importlib.import_module(FIRST).GRAPH
    except ModuleNotFoundError:
        return False
    with tempfile.TemporaryDirectory() as folder:
        _try(folder, graph)
    return bool(_compiled)


def _compile_any() -> None:
    """Compiles what most graphs need."""
    import ROOT

    frame = ROOT.RDataFrame(1).Define("x", "1.").Filter("x > 0")
    histogram, count = frame.Histo1D(("", "", 1, 0.0, 2.0), "x"), frame.Count()
    ROOT.Detail.RDF.GetMergeableValue(histogram).GetValue()
    count.GetValue()


def warm() -> None:
    """Has ROOT load and compile what graphs need, and compiles graphs before forks from now on."""
    global _folder, _forks
    import ROOT

    ROOT.gROOT.SetBatch(True)
    ROOT.gROOT.GetVersion()
    ROOT.EnableThreadSafety()
    import ROOT._distrdf.Backends.Base

    _forks, _folder = os.getpid(), tempfile.mkdtemp(prefix="graphs", dir=os.path.dirname(os.path.dirname(__file__)))
    if not _compile_first():
        _compile_any()
    os.register_at_fork(before=_compile_all)
    signal.signal(SIGNAL, _compile_all)


if "_dtpnode_child" in sys.modules and __name__ == "_dtpnode_rdf":
    warm()
