"""The way to the daemon of this user."""

from pathlib import Path
from typing import Any, Callable

from ._attach import Attached
from ._cluster import LocalCluster
from ._control import Control, socket_path, state_folder
from ._errors import Error, NoDaemon
from ._executor import Executor
from ._html import counted, overview
from ._prints import Output, to_stdout


class Client:
    """Talks to a daemon of this host.

        >>> client = Client()
        >>> with client.executor() as pool:
        ...     pool.submit(pow, 2, 10).result()
        1024

    ``Client()`` takes the daemon of this user that runs (``dtpnode up --detach``). If none does, it starts one for its
    own time, which uses all processors of this host and ends with the client, as ``dtpnode run`` does.
    ``Client(state)`` talks to the daemon with that state folder, which must run. Threads may share a client.
    """

    def __init__(self, state: str | Path | None = None) -> None:
        self._own: LocalCluster | None = None
        path = Path(state).absolute() if state is not None else state_folder()
        self.control = Control(socket_path(path))
        try:
            self.control.call("GET", "/v1/status")
        except NoDaemon:
            self.control.close()
            if state is not None:
                raise
            self._own = LocalCluster()
            self.control = Control(socket_path(self._own.states[0]))

    def executor(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        name: str = "executor",
        output: Output | None = to_stdout,
    ) -> Executor:
        """An executor whose calls run on the nodes of the pool; see Executor for the arguments."""
        return Executor(self.control, max_workers, initializer, initargs, name, output)

    def attach(self, name: str) -> Attached:
        """The futures of an executor's session, from any process and node; name is Executor.name, or the beginning of
        it. An unknown one is an Error. See Attached."""
        return Attached(self.control, name)

    def close(self) -> None:
        """Ends the connections to the daemon. Jobs go on, unless the client has started the daemon, which ends too."""
        self.control.close()
        if self._own is not None:
            self._own.close()

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
