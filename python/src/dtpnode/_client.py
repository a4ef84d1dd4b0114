"""The way to the daemon of this user."""

import operator
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Sequence, TypeVar

from ._affinity import Affinity
from ._along import Environment, Modules, take_along
from ._along import Files as SentFiles
from ._attach import Attached
from ._cluster import LocalCluster
from ._control import Control, job_path, socket_path, state_folder
from ._errors import Error, NoDaemon
from ._executor import Executor
from ._html import counted, overview
from ._job import Job, Value, submit
from ._map import Key, Maps, Outcomes, Running, by_item
from ._opening import HOUR
from ._prints import Output, to_stdout
from ._progress import Bar
from ._reduction import NOTHING, Reduction, attached, begin
from ._session import code_of

if TYPE_CHECKING:
    from ._persisted import Persisted
    from .dask import Scheduler

_living: "weakref.WeakSet[Client]" = weakref.WeakSet()
T = TypeVar("T")
Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def living() -> list[Control]:
    """The ways to daemons that clients of this process have."""
    return [client.control for client in list(_living) if not client.closed]


def _list(files: Files) -> Sequence[str | os.PathLike[str]]:
    return [files] if isinstance(files, (str, os.PathLike)) else files


class Client:
    """Talks to a daemon of this host.

        >>> client = Client()
        >>> with client.executor() as pool:
        ...     pool.submit(pow, 2, 10).result()
        1024

    ``Client()`` takes the daemon of this user that runs (``dtpnode up --detach``). If none does, it starts one for its
    own time, which uses all processors of this host. That ends when the client is closed, or else with the last that
    uses it: the client, or an executor, a reduction or a job that it has made.
    ``Client(state)`` talks to the daemon with that state folder, which must run. Threads may share a client. In a call,
    where the daemon is that of whoever owns the node, ``Client()`` is an ``Error``. ``Client(state)`` is none, but a
    call that waits for others which it has submitted keeps its slot: where such calls have all slots they wait without
    end.
    """

    def __init__(self, state: str | Path | None = None) -> None:
        self._own: LocalCluster | None = None
        if state is None and os.environ.get("DTPNODE_NODE"):
            raise Error(
                "a call cannot make a client: it would act with the rights of the owner of this node, "
                f"{os.environ.get('DTPNODE_NODE_NAME') or 'whoever that is'}, and calls that wait in their slots for "
                "others may wait for each other without end",
                "submit all calls from the program that has the executor: return what the next calls are to do, and "
                "submit these when it has come",
            )
        path = Path(state).absolute() if state is not None else state_folder()
        self.control = Control(socket_path(path))
        try:
            self.control.call("GET", "/v1/status")
        except NoDaemon:
            self.control.close()
            if state is not None:
                raise
            self._own = LocalCluster()
            path = self._own.states[0]
            self.control = Control(socket_path(path))
            self.control.cluster = self._own  # which what the client has made needs as long, though the client is gone
        self.state = path
        self._maps = Maps(self.control, Affinity(path))
        self._closing: list[Callable[[], None]] = []
        self._ending: weakref.WeakSet[Any] = weakref.WeakSet()
        self._get: "Scheduler | None" = None
        self.closed = False
        _living.add(self)

    @property
    def slots(self) -> int:
        """How many calls the nodes of the pool run at a time, as far as they are up now."""
        return self.control.slots()

    def executor(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        name: str = "executor",
        output: Output | None = to_stdout,
        imports: Sequence[str] = (),
        env: Environment | None = None,
        modules: Modules = (),
        files: SentFiles = (),
        max_tasks_per_child: int | None = None,
        stall: float | None = None,
    ) -> Executor:
        """An executor whose calls run on the nodes of the pool; see Executor for the arguments."""
        return Executor(
            self.control, max_workers, initializer, initargs, name, output, imports, env, modules, files,
            max_tasks_per_child, stall,
        )

    def reduce(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        op: Callable[[Any, Any], Any] = operator.add,
        initial: Any = NOTHING,
        partial: bool = False,
        fail_fast: bool = False,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        name: str | None = None,
        output: Output | None = to_stdout,
        imports: Sequence[str] = (),
        env: Environment | None = None,
        modules: Modules = (),
        files: SentFiles = (),
        stall: float | None = HOUR,
    ) -> Reduction:
        """Calls fn with an element of each iterable, and adds what it returns on the nodes, up to the one total which
        the future has. It is ``Executor.reduce`` without an executor; see there, and Executor for the other arguments.

            >>> client.reduce(lambda n: n * n, range(1000)).result()
            332833500
        """
        return begin(
            self.control, fn, iterables, op, initial, partial, fail_fast, code_of(initializer, initargs, imports), name,
            output, take_along(env, modules, files), stall,
        )

    def reduction(self, name: str) -> Reduction:
        """The total of a reduction, from any process and node; name is Reduction.name, or the beginning of it, four
        digits at least."""
        return attached(self.control, name)

    def attach(self, name: str) -> "Attached | Job | Persisted":
        """What a name stands for, from any process and node: the futures of an executor's session (Executor.name), as
        an Attached, those of what dask has persisted, by their keys, as a Persisted, or the job of a selector, as a Job.
        The beginning of a name will do, from four digits on. An unknown one is an Error."""
        if not name:
            raise Error("the name is empty", "Executor.name is that of a session, and `dtpnode ps` lists all")
        status = self.control.call("GET", job_path(name))
        if status.get("kind") == "ROOT":
            return Job(self.control, status["id"])
        if status.get("title") == "dask persist":
            from ._persisted import Persisted

            return Persisted(self.control, status["id"])
        return Attached(self.control, name)

    def run(
        self,
        selector: str | os.PathLike[str],
        *,
        files: Files = (),
        tree: str | None = None,
        option: str | None = None,
        params: Mapping[str, Value] | None = None,
        input: Files | Mapping[str, Any] = (),
        friends: Sequence[str] = (),
        entries: int = -1,
        first: int = 0,
        args: Sequence[str] = (),
    ) -> Job:
        """Runs a ROOT TSelector, unchanged, over a chain of TTrees, and returns its job, which goes on by itself.

            >>> job = client.run("DiMuon.C+", tree="Events", files=["data/*.root"])      # doctest: +SKIP
            >>> job.result()["mass"].plot()                                             # doctest: +SKIP

        ``selector`` is its source. ``files`` are files, globs, URLs or @lists, and ``tree`` is the path of the tree in
        them. ``option`` is what GetOption() returns, ``params`` are put into fInput by their names, and so are all
        objects of the ROOT files ``input``, or its values, by their names, if it is a mapping: objects of PyROOT, or
        hist.Hist and what else uproot can write. A value of ``params`` is a str, int, float or bool. ``friends`` are
        tree=files. ``entries`` is how many are run, from ``first`` on, -1 for all. ``args`` are further arguments of ``dtpnode run``, which says more of all of these.

        Returns when the code is compiled, the files are read and the job goes on without this process. What is wrong
        with any of that is an ``Error`` with what to do; a number or a value of ``params`` that cannot be meant is a
        ValueError or a TypeError.
        """
        return submit(
            self.control, self.state, selector, _list(files), tree, option, params,
            input if isinstance(input, Mapping) else _list(input), entries, first,
            friends, args,
        )

    def remote_map(
        self,
        function: Callable[[Any], T],
        items: Iterable[Any],
        *,
        affinity: bool | Key = True,
        nodes: Sequence[str] | None = None,
        progress: bool | None = None,
        title: str = "remote_map",
        env: Environment | None = None,
        modules: Modules = (),
        files: SentFiles = (),
        stall: float | None = None,
    ) -> Outcomes[T]:
        """Calls a function with each item, and returns an iterator over the outcomes in the order in which they come.

            >>> outcomes = client.remote_map(lambda n: n * n, range(100), progress=False)
            >>> sum(outcome.value for outcome in outcomes)
            328350

        An ``Outcome`` has the value, or the exception and its traceback, and where and when the item ran. Nothing is
        raised for an item; ``outcome.result()`` raises what its call has raised.

        An item goes to the node that has run the same item before, where the operating system and
        ``get_worker().cache`` may still have what it reads, for as long as waiting for that node costs less than it
        saves: a table in the daemon's state folder remembers that, for later processes too. With ``affinity`` as a
        function items are the same for which it returns the same, such as ``lambda chunk: chunk[0]`` for a file's name;
        False has any node take any item. ``nodes`` are ids of nodes to which the items are given by turns, in place of
        that.

        ``env``, ``modules`` and ``files`` go along as with an Executor, and ``stall`` is how many seconds an item may
        take, as there: by default there is no limit. ``progress`` shows a bar, called ``title``,
        which ends as a line, also in a log; by default where standard error is a terminal, or in a notebook.

        ``outcomes.close()`` ends the map early, as does dropping the iterator: all that has no outcome is cancelled.
        Items without a length are read by another thread, so that they may be slow, or without end: each is submitted
        as soon as it is there, some 20,000 before outcomes are taken. What they raise is raised when all that was read
        has its outcome. ``Unpicklable`` and ``TooLarge`` are raised for what cannot be sent, ``BrokenExecutor`` as by
        an executor.
        """
        key = by_item if affinity is True else affinity or None
        bar = Bar(title, progress)
        return Outcomes(Running(self._maps, function, items, key, nodes, bar, (env, modules, files), stall))

    def job(self, name: str) -> Job:
        """A job by its name or the beginning of it, four digits at least, from any process and node. An unknown one is
        an Error. Of executors and reductions it has status, wait, cancel and stop; their results are those of
        ``attach`` and ``reduction``, which ``result`` says."""
        return Job(self.control, self.control.call("GET", job_path(name))["id"])

    asynchronous = False  # dask asks for it where the client is named as its scheduler, in place of client.get

    @property
    def get(self) -> "Scheduler":
        """The pool as dask's scheduler, for ``dask.config.set(scheduler=client.get)``. ``dtpnode.dask`` has the rest."""
        from .dask import get

        self._get = self._get or get(self)
        return self._get

    def on_close(self, close: Callable[[], None]) -> None:
        """Has ``close()`` called when this client is closed, while the daemon can be reached still."""
        self._closing.append(close)

    def ends(self, what: Any) -> None:
        """Has ``what.end()`` called when this client is closed, if it is there still."""
        self._ending.add(what)

    def close(self) -> None:
        """Ends the connections to the daemon. Jobs go on, unless the client has started the daemon, which ends too:
        futures that are not settled raise ``ClusterLost`` then."""
        self.closed = True
        closing, self._closing = self._closing, []
        for close in closing:
            close()
        for what in list(self._ending):
            what.end()
        self._maps.close()
        self.control.close()
        if self._own is not None:
            self._own.close()

    def __reduce__(self) -> str:
        raise TypeError("a client is not sent to other processes")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            members = self.control.call("GET", "/v1/members")
        except Error as e:
            return f"<dtpnode.Client of {self.control.socket}: {e.message}>"
        return f"<dtpnode.Client: {counted(members, sum(m['slots'] for m in members if m['up']))}>"

    def _repr_html_(self) -> str:
        return overview("Client", self.control)
