"""The session of dask_treeplayer, on this pool: ``from dtpnode import treeplayer as dask_treeplayer``.

    >>> from dtpnode import treeplayer as dask_treeplayer
    >>> chain = ROOT.TChain("Events")                                                # doctest: +SKIP
    >>> chain.Add("data/*.root")                                                     # doctest: +SKIP
    >>> with dask_treeplayer.session(chain).spawn({"one": 12, "two": 24}) as s:      # doctest: +SKIP
    ...     s.Process("DiMuon.C+g", "samesign")
    ...     for result in s.GetOutputList():
    ...         print(result.GetName(), result.GetEntries())

``spawn`` starts a cluster for the session: on this host, and by ssh on others. Without hosts it takes the one that is
running. The selector needs no changes, and no header beside it. What is different from dask_treeplayer:

- An exception of the selector, a crash, or a file that cannot be read reaches the caller, as
  ``dtpnode.MissingEntries`` or another ``dtpnode.Error``, that of a selector in Python as it was raised; there, the
  entries of a chunk were missing without a word.
- ``nentries`` is exact, also with ``firstentry``; outputs are merged by their ``Merge``, whatever class they have, and
  what has none stays apart, which is said; friends, aliases and entry lists of the chain count; files without any
  entry are no error, and a chain without any file is one, before ``Begin``.
- ``Begin`` runs here, and what it puts into fInput is there on the nodes; so is what ``session.proof.AddInput`` and
  ``SetParameter`` put there.
- ``Process`` takes a selector object too, and a class that is loaded.
"""

import os
import shlex
import socket
import sys
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from ._client import Client
from ._errors import Error
from ._proof import Missing, MissingEntries, Session, check_chain
from ._pyselector import is_python
from ._root import root
from ._spawn import Hosts, default_root

ssh: str = "ssh"
"""The command by which ``spawn`` reaches hosts, with options of its own; it must not ask for a password."""
workdir: str = os.getcwd()
"""Where selectors are looked for besides the folder of this process."""
daskdir: str = f"{workdir}/dask-worker-space"
"""Where ``spawn`` puts the logs of its daemons. The folder is made if it is not there."""
dask_worker_comm_timeout: int = 300
"""How many seconds ``Process`` waits for the hosts of ``spawn``, before it begins with those that are there."""
rootlib: str = ""
"""The lib folder of the ROOT on the hosts of ``spawn``; empty for what each of them finds."""
python3: str = sys.executable
"""Has no meaning here, since nodes need no Python to run selectors."""
client: Client | Any = 0
"""The Client that a session without hosts takes, in place of one of its own."""
missing: Missing = "raise"
"""What entries that are missing in the output are: an exception, ``MissingEntries``, or with "warn" a line."""

INTERRUPTED = 15  # what Process returns after Ctrl-C

_WITHOUT_MEANING = {"python3": python3}
_told: set[str] = set()


class session:
    """A session over a chain, which ``spawn`` readies and ``with`` begins.

    ``chain`` is the TChain. ``workers`` are the hosts of ``spawn`` with their slots, ``port`` is where the daemon
    here listens for them, ``spawned`` is its process, and ``procs`` are the connections to hosts by their names;
    ``client`` is the Client, and ``client_url`` names the socket that it talks to. ``results`` is (n, TList) of the
    last ``Process``: what it has returned, and the output. ``proof`` is the TProof of the session, for AddInput,
    SetParameter and others.
    """

    def __init__(self, chain: Any) -> None:
        check_chain(chain)
        self.chain = chain
        self.workers: Mapping[str, int] = {}
        self.spawned: Any = {}
        self.procs: dict[str, Any] = {}
        self.port = 0
        self.client: Any = 0
        self.client_url = ""
        self.proof: Any = None
        self.results: tuple[int, Any] = (0, None)
        self._stack: ExitStack | None = None
        self._hosts: Hosts | None = None
        self._session: Session | None = None

    def spawn(self, workers: Mapping[str, int] | None = None, port: int = 8768) -> "session":
        """Says where the session is to run, and starts nothing yet: ``with`` does. Returns the session.

        ``workers`` are hosts with their slots, {"host": n}; localhost stands for this one. Others are reached by ssh
        and are joined to a cluster of the session alone, which this host listens for on ``port``, or on another one
        if that is taken. They get the program by the connection, unless they have it, and find their ROOT themselves.
        This host takes part in any case, with one slot if it is not named. Without workers, the cluster that this
        host is a member of is taken (``dtpnode up``), or else a daemon on this host.
        """
        if self.port != 0:
            raise RuntimeError(f"the session is spawned already, on port {self.port}: make another one")
        self.workers, self.port = dict(workers or {}), port or 8768
        return self

    def __enter__(self) -> "session":
        if self.port == 0:
            raise RuntimeError("the session is not spawned: with session(chain).spawn({...}) as s")
        if self._stack is not None:
            raise RuntimeError("the session has begun already")
        _tell()
        root()
        with ExitStack() as stack:
            if self.workers:
                folder = str(Path(rootlib).parent) if rootlib else ""
                self._hosts = Hosts(self.workers, ssh, self.port, Path(daskdir), folder, default_root())
                stack.callback(self._hosts.close)
                self.port, self.procs = self._hosts.port or self.port, self._hosts.procs
                self.spawned = self._hosts.daemon
                self.client = stack.enter_context(self._hosts.client())
            else:
                self.client = client if isinstance(client, Client) else stack.enter_context(Client())
            self.client_url = f"unix://{self.client.control.socket}"
            self._session = Session(self.client, missing, "cancel", None)
            stack.callback(self._session.close)
            self.proof = self._session.proof
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        at: TracebackType | None = None,
    ) -> None:
        if self._stack is not None:
            stack, self._stack = self._stack, None
            self._hosts = self._session = self.proof = None
            self.client = 0
            stack.close()

    def Process(
        self, selector: Any, option: str = "", nentries: int = -1, firstentry: int = 0, chunksize: int = 100000
    ) -> int:
        """Runs a selector over the chain on the cluster, and returns what TChain::Process would have, 0 if all is well.

        ``selector`` is a source ("X.C+", "X.C+g"), the name of a class that is loaded, or an object, also of a class in
        Python. ``option`` is what GetOption() returns. ``nentries`` entries are run from ``firstentry`` on, -1 for all;
        where the chain has no such first entry nothing is run, and 0 returned, as by ROOT; of an object all but
        ``Process`` is called then.
        ``chunksize`` is of no meaning here: nodes take work in parts that fit.

        ``Begin`` and ``Terminate`` run in this process. ``ROOT.usersel`` is the selector afterwards. Entries that are
        missing in the output are ``MissingEntries``, after ``Terminate``, and another failure is an ``Error``. What a
        selector in Python raises is raised as it is, without ``Terminate`` and an output. Ctrl-C cancels the job, and
        returns 15.
        """
        if not isinstance(chunksize, int):
            raise TypeError(f"chunksize must be an int, and not {type(chunksize).__name__}: {chunksize!r}")
        if self._session is None:
            raise RuntimeError("the session has not begun: with session(chain).spawn({...}) as s")
        check_chain(self.chain)
        _look_in(workdir)
        self._connected()
        held, chain = self._session, self.chain
        if self.results[1] is not None:
            self.results[1].Clear("nodelete")  # Its objects may go with the selector that made them, before it does.
        count, first = int(nentries), int(firstentry)

        def begun(entries: int, job: str) -> None:
            print(
                f"Processing {chain.GetName()}: nentries={entries}, firstentry={first}\n"
                f"Monitor progress at dtpnode attach {job[:12]} --state {shlex.quote(str(self.client.state))}",
                flush=True,
            )

        held.runs.first = lambda status: begun(status["units"], status["id"])
        name, given = ("", selector) if isinstance(selector, root().TSelector) else (str(selector), root().nullptr)
        try:
            if is_python(selector):
                held.process_python(chain, selector, option, count, first, begun)
                return self._keep_of(selector)
            returned = held.query(lambda: self.proof.ProcessChain(chain, name, given, option, count, first))
        except KeyboardInterrupt:
            print("Processing interrupted by user, query canceled")
            return INTERRUPTED
        except MissingEntries as e:
            if is_python(selector):
                self._keep_of(selector)
            else:
                self._keep(int(e.job.status["state"] != "partial"))
            raise
        self._keep(int(returned))
        return int(returned)

    def _connected(self) -> None:
        if self._hosts is None or not self._hosts.procs:
            return
        late = self._hosts.wait(
            dask_worker_comm_timeout, lambda past: print(f"connecting to workers... {past}s", end="\r", flush=True)
        )
        if late:
            print(f"timeout waiting for {', '.join(late)}, getting started anyway...")
        else:
            print("connecting to workers... done")

    def _keep_of(self, selector: Any) -> int:
        """Keeps the output of a selector in Python."""
        self.results = int(selector.GetStatus()), root().TList()
        self.results[1].AddAll(selector.GetOutputList())
        return self.results[0]

    def _keep(self, returned: int) -> None:
        output = root().TList()
        self.results = returned, output
        if self._session is None or not self._session.runs.last:
            return  # The first entry was past the last one, where ROOT calls nothing of the selector.
        if found := self.proof.GetOutputList():
            output.AddAll(found)
        interpreter = root().gInterpreter
        # To ask PyROOT for it would look at what it points to, which is gone if it was an object of the user's.
        if not _usersel:
            _usersel.append(True)
            interpreter.Declare("TSelector *usersel = nullptr;")
        interpreter.ProcessLine("usersel = gProof->GetSelector();")

    def GetOutputList(self) -> Any:
        """The output of the last ``Process``, a TList, also after the session's end; empty before the first."""
        return self.results[1] if self.results[1] is not None else root().TList()


_usersel: list[bool] = []  # not empty once ROOT has the variable of that name


def _tell() -> None:
    """Says of the module's globals that were set and mean nothing here, once each."""
    for name, usual in _WITHOUT_MEANING.items():
        if globals()[name] != usual and name not in _told:
            _told.add(name)
            warnings.warn(f"treeplayer.{name} has no meaning here: nodes run selectors without Python", stacklevel=3)


def _look_in(folder: str) -> None:
    """Has ROOT find macros in a folder, too."""
    gROOT = root().gROOT
    path = str(gROOT.GetMacroPath())
    if folder and folder not in path.split(os.pathsep):
        gROOT.SetMacroPath(f"{path}{os.pathsep}{folder}")
