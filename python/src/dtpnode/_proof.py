"""Chains of this process whose queries run on the pool."""

import contextlib
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any, Callable, Literal

from ._client import Client
from ._errors import Error
from ._job import Job
from ._pyselector import is_python, process
from ._root import Interrupt, Runs, library, prefix, root, version

Missing = Literal["raise", "warn"]
SHOWN = 3  # missing ranges that an error names

# ROOT.gProof is one for the process, and while a query waits other threads go on. A selector may ask for another one.
_one_query = threading.RLock()


class MissingEntries(Error):
    """Entries are missing in the output of a query, such as those at which the selector has raised or crashed.

    The rest is there: ``Terminate`` has run over it, and the output list has it. ``missing`` has the ranges with their
    reasons, as dicts: file, first, last (the entry behind the last one), kind, reason. ``job`` is the Job, whose
    ``report`` has them, too; but of a selector in Python it is the job of calls that ran parts of the chain, and has
    the numbers of these.
    """

    def __init__(self, message: str, hint: str, job: Job, missing: list[dict[str, Any]]) -> None:
        super().__init__(message, hint)
        self.job, self.missing = job, missing


class Session:
    """A session of the library with the daemon of a client, and what becomes of its errors.

    One session is the current one of the process (``ROOT.gProof``): that of the last ``with`` that was entered.
    """

    def __init__(self, client: Client, missing: Missing, interrupt: Interrupt, progress: bool | None) -> None:
        if missing not in ("raise", "warn"):
            raise ValueError('missing must be "raise" or "warn"')
        if interrupt not in ("cancel", "stop", "detach"):
            raise ValueError('interrupt must be "cancel", "stop" or "detach"')
        self.client, self._missing, self._interrupt = client, missing, interrupt
        self.runs = Runs(library(), client.control, interrupt, progress, _version(client))
        self.chains: list[Any] = []
        before = root().gProof
        self._before = before if before else None
        self.proof = root().TProof("", f"state={client.state}")
        root().SetOwnership(self.proof, False)  # Selectors that have run keep its input list, and may run again.
        if not self.proof.IsValid():
            raise Error(f"could not open a session on the pool: {self.proof.GetLastError()}")
        self.proof.cd()

    def query(self, run: Callable[[], Any]) -> Any:
        """Runs a query, and makes exceptions of what went wrong. Returns what it has returned."""
        with _one_query:
            return self._query(run)

    def _query(self, run: Callable[[], Any]) -> Any:
        self.proof.cd()
        self.runs.forget()
        self.runs.install()
        self.proof.KeepErrors()  # and forget the last one
        there = set(_canvases())
        try:
            returned = run()
        finally:
            self.runs.remove()
            if "ipykernel" in sys.modules:  # ROOT shows those at the end of a cell for which Draw() was called.
                for name, canvas in _canvases().items():
                    if name not in there:
                        canvas.Draw()
        if self.runs.raised is not None:
            raise self.runs.raised
        if self.runs.interrupted and self._interrupt != "stop":
            raise KeyboardInterrupt
        if said := str(self.proof.GetLastError()):
            message, _, hint = said.partition("\n")
            raise Error(message, hint)
        self._complete(self.runs.last)
        return returned

    def _complete(self, status: dict[str, Any]) -> None:
        if status.get("state") != "partial" or self.runs.interrupted:
            return
        job = Job(self.client.control, status["id"])
        self._tell(job, job.status.get("missing") or [], status["units"] - status["done"], status["units"])

    def _tell(self, job: Job, missing: list[dict[str, Any]], lost: int, entries: int) -> None:
        """Says what is missing in the output of a query that has ended, by an exception or in a line."""
        what = f"{lost:,} of {entries:,} entries are" if lost > 0 else "files are"
        first = "; ".join(map(_range, missing[:SHOWN])) + ("; ..." if len(missing) > SHOWN else "")
        message = f"{what} missing in the output: {first}"
        hint = (
            "all others are in the output list; this exception's `missing` lists what is missing, and "
            f"`dtpnode logs {job.name[:12]}` has what was printed"
        )
        if self._missing == "raise":
            raise MissingEntries(message, f'{hint}; missing="warn" only warns', job, missing)
        print(f"dtpnode: {message}\n{hint}", file=sys.stderr)

    def take(self, chain: Any) -> None:
        """Has the queries of a chain go to the pool."""
        check_chain(chain)
        if not root().TProofTreePlayer.Take(chain):
            raise Error(
                f"the chain {chain.GetName()} has a player that is not ROOT's own, and so would run in this process",
                "make another chain of its files: other = ROOT.TChain(chain.GetName()); other.Add(chain)",
            )
        chain.SetProof()
        self.chains.append(chain)
        mine = weakref.ref(chain)  # since the chain will refer to what refers to it
        for name in ("Process", "Draw", "GetEntries"):
            setattr(chain, name, self._wrapped(mine, name))

    def _wrapped(self, mine: Callable[[], Any], name: str) -> Callable[..., Any]:
        call = getattr(root().TChain, name)

        def query(*args: Any, **kwargs: Any) -> Any:
            chain = mine()
            if name == "GetEntries" and not (args or kwargs):
                return call(chain)
            if name == "Process" and args and is_python(args[0]):
                return self.process_python(chain, *args, **kwargs)
            return self.query(lambda: call(chain, *args, **kwargs))

        return query

    def process_python(
        self,
        chain: Any,
        selector: Any,
        option: str = "",
        nentries: int = -1,
        firstentry: int = 0,
        begun: Callable[[int, str], None] | None = None,
    ) -> int:
        """Runs a selector whose class is in Python. begun is told the number of entries and the name of the job."""
        count = -1 if nentries >= root().TTree.kMaxEntries else nentries
        with _one_query:
            self.proof.cd()
            self.proof.KeepOutput(root().nullptr)  # That of the query before is not this one's.
            given = self.proof.GetInputList()
            ran = process(self.client, chain, given, selector, option, count, firstentry, begun)
            self.proof.KeepOutput(selector.GetOutputList())
        if ran.missing:
            self._tell(Job(self.client.control, ran.job), ran.missing, ran.lost, ran.entries)
        return ran.status

    def close(self) -> None:
        for chain in self.chains:
            for name in ("Process", "Draw", "GetEntries"):
                with contextlib.suppress(AttributeError):
                    delattr(chain, name)
            chain.SetProof(False)
        self.chains.clear()
        self.proof.Close()
        if self._before is not None and self._before.IsValid():
            self._before.cd()


def check_chain(chain: Any) -> None:
    """Refuses what cannot run on the pool."""
    if not isinstance(chain, root().TChain):
        raise Error(
            f"{chain!r} is not a TChain, and only chains can run on the pool",
            'make one of its file: chain = ROOT.TChain("NAME"); chain.Add("FILE")',
        )


def _version(client: Client) -> str:
    """The version of this process's ROOT if nodes can have several, of which the job takes that one; else empty, which
    is said, since objects go from one to the other then."""
    mine = version()
    status = client.control.call("GET", "/v1/status")
    there = [str(r["version"]) for r in status.get("runtimes") or () if r["kind"] == "ROOT" and not r.get("problem")]
    if mine in there:
        return mine
    if there:
        warnings.warn(
            f"this process has ROOT {mine}, and the node has {', '.join(there)}: Begin and Terminate run with the one, "
            f"and all between them with the other; `dtpnode up --root {prefix()}` has the node use this one, too",
            stacklevel=2,
        )
    return ""


def _canvases() -> dict[str, Any]:
    return {str(c.GetName()): c for c in root().gROOT.GetListOfCanvases()}


def _range(missing: dict[str, Any]) -> str:
    where = str(missing.get("file") or "")
    first, last = missing.get("first"), missing.get("last")
    if first is not None and last is not None and last > first:  # else it is the whole file
        where += f" entry {first:,}" if last - first == 1 else f" entries {first:,} to {last - 1:,}"
    return f"{where.strip()}: {missing.get('reason') or missing.get('kind')}"


@contextlib.contextmanager
def proof(
    *chains: Any,
    client: Client | None = None,
    missing: Missing = "raise",
    interrupt: Interrupt = "cancel",
    progress: bool | None = None,
) -> Iterator[Any]:
    """Has ``Process``, ``Draw`` and ``GetEntries("cut")`` of chains run on the pool, as under PROOF.

        >>> chain = ROOT.TChain("Events")                                           # doctest: +SKIP
        >>> chain.Add("data/*.root")                                                # doctest: +SKIP
        >>> with dtpnode.proof(chain) as session:                                   # doctest: +SKIP
        ...     session.SetParameter("ptcut", "20")
        ...     chain.Process("DiMuon.C+", "samesign")
        ...     chain.Draw("MET_pt>>met(100, 0, 200)", "nMuon > 1")
        ...     mass = session.GetOutputList().FindObject("mass")

    ``Begin`` and ``Terminate`` of a selector run in this process, where they can draw canvases, and all between them
    on the nodes. Friends, aliases and entry lists of the chain go along, and so does what ``Begin`` puts into fInput.
    A selector is a file (``"DiMuon.C+"``), a class that is loaded, or an object, which has the output afterwards: of
    a class in C++, or of one in Python that derives from ROOT.TSelector, for which the Python of nodes must have
    ROOT; what its methods raise is raised here as it is, with file and entry as a note, without ``Terminate`` and an
    output; where an entry ends its process, as by a crash, the range of entries is missing that it ran with; and
    ``interrupt`` is of no meaning for it: Ctrl-C cancels its calls. What ``with`` gives is a TProof, with
    SetParameter, AddInput, GetOutputList and the rest; it is ``ROOT.gProof`` as well, and the objects of its output
    list stay there after the ``with``.

    ``client`` is the Client whose daemon is asked; by default one is made, as ``Client()`` does. Entries that are
    missing in the output are ``MissingEntries`` (``missing="raise"``), after ``Terminate``, or a line on standard
    error ("warn"). A failed query is an ``Error``. Ctrl-C ends the job ("cancel"), ends it with what is done
    ("stop"), or lets it go on ("detach"); but for "stop" it is a KeyboardInterrupt then. ``progress`` draws a bar, by
    default on a terminal and in a notebook.
    """
    with contextlib.ExitStack() as stack:
        if client is None:
            client = stack.enter_context(Client())
        session = Session(client, missing, interrupt, progress)
        stack.callback(session.close)
        for chain in chains:
            session.take(chain)
        yield session.proof
