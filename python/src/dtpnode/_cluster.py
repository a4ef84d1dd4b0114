"""Daemons on this host that last as long as the process which has started them."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Sequence

from . import _guard
from ._control import Control, has_ended, socket_path
from ._errors import Error, NoDaemon
from ._html import overview
from ._receiver import break_off

if TYPE_CHECKING:
    from ._client import Client

START = 60.0  # seconds that a daemon may take to answer
READY = 600.0  # seconds that its Python may take to be ready, in which packages may have to be installed
END = 10.0  # seconds that daemons may take to end before they are killed
AGAIN = 0.01  # seconds between looks at a daemon


def binary() -> str:
    """The dtpnode program: beside this interpreter, where the package has installed it, or on the PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "dtpnode")
    found = beside if os.access(beside, os.X_OK) else shutil.which("dtpnode")
    if found is None:
        raise Error(
            f"there is no program dtpnode, neither at {beside} nor on the PATH",
            "install the wheel of the package, which has it inside, or name one with LocalCluster(binary=...)",
        )
    return found


class LocalCluster:
    """Several real daemons on this host, joined to one cluster.

        >>> with LocalCluster(nodes=2, slots=2) as cluster:
        ...     with cluster.client().executor() as pool:
        ...         sum(pool.map(abs, range(-10, 0)))
        55

    ``nodes`` is how many daemons are started, and ``slots`` how many calls each runs at a time: by default all of them
    together have as many slots as this host has processors, and each at least one. ``python`` is the interpreter that
    runs the calls, by default this one, with its packages; "none" for a cluster of selectors alone.
    ``binary`` is the program dtpnode, and ``args`` are further arguments of ``dtpnode up`` for each daemon.

    The daemons are there for this process alone. They end with ``close``, at the end of a ``with``, when the cluster is
    garbage collected, and when this process ends, also by a SIGKILL; their folder is removed then, with all that
    they have kept. A daemon that does not start, or has no Python, is an ``Error`` with the last lines of its log.
    """

    def __init__(
        self,
        nodes: int = 1,
        slots: int | None = None,
        *,
        python: str | None = None,
        binary: str | None = None,
        args: Sequence[str] = (),
    ) -> None:
        if nodes < 1:
            raise ValueError("nodes must be at least 1")
        if slots is not None and slots < 1:
            raise ValueError("slots must be at least 1")
        self._processes = Processes()
        try:
            self._start(nodes, slots or max((os.cpu_count() or 1) // nodes, 1), python or sys.executable, binary, args)
        except BaseException:
            self._processes.close()
            raise
        self._drop = weakref.finalize(self, self._processes.close)

    def _start(self, nodes: int, slots: int, python: str, exe: str | None, args: Sequence[str]) -> None:
        exe = exe or binary()
        if "ROOT" in sys.modules and "--root" not in args:
            from ._root import prefix

            args = ["--root", prefix(), *args]  # that what runs there and here is of one ROOT
        for i in range(nodes):
            self._processes.start(exe, i, ["--slots", str(slots), "--python", python, *args])
        for daemon in self._processes.daemons:
            daemon.wait_ready()
        first = self._processes.daemons[0]
        for daemon in self._processes.daemons[1:]:
            daemon.join(first)
        for daemon in self._processes.daemons:
            daemon.wait(START, lambda status: status["up"] == nodes, "does not see the other nodes")

    @property
    def states(self) -> list[Path]:
        """The state folders of the daemons, for ``Client(state)`` and ``dtpnode --state``."""
        return [d.state for d in self._processes.daemons]

    @property
    def pids(self) -> list[int]:
        """The process ids of the daemons."""
        return [d.process.pid for d in self._processes.daemons]

    def client(self, node: int = 0) -> "Client":
        """A client of the daemon with that number, from 0. The cluster lasts as long as it, or what it has made, is
        used: it need not be kept itself."""
        from ._client import Client

        client = Client(self.states[node])
        client.control.cluster = self
        return client

    def restart(self, node: int, signum: int = signal.SIGKILL) -> None:
        """Ends a daemon by a signal, and starts it again with the state that it left: what a crash of its host is to
        the others. Returns when its Python is ready."""
        self._processes.restart(node, signum)

    def close(self) -> None:
        """Ends the daemons, with the calls that run, and removes their folder. Jobs that have not ended are lost:
        futures that are not settled raise ``ClusterLost``, as does whatever is submitted from then on."""
        self._processes.break_off()
        self._drop()

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        if not self._drop.alive:
            return "<dtpnode.LocalCluster, closed>"
        return f"<dtpnode.LocalCluster of {len(self._processes.daemons)} nodes in {self._processes.folder}>"

    def _repr_html_(self) -> str:
        if not self._drop.alive:
            return "<p>dtpnode.LocalCluster, closed</p>"
        return overview("LocalCluster", self._processes.daemons[0].control)


class Daemon:
    """A daemon of a cluster, as a process and a folder."""

    def __init__(self, folder: Path, number: int, command: list[str], log: Path | None = None) -> None:
        self.state = folder / str(number)
        self.log = log or folder / f"{number}.log"
        own = ["--ephemeral", "--state", str(self.state), "--name", f"local-{number}"]
        self._command = [*command[:2], *own, *command[2:]]
        self._python = "none" not in command
        self.state.mkdir(mode=0o700)
        self.control = Control(socket_path(self.state))
        self.launch()

    def launch(self) -> None:
        with open(self.log, "ab") as log:
            # In a session of its own, so that a Ctrl-C in the terminal reaches only this process.
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, bufsize=0
            )

    def wait(self, seconds: float, so: Callable[[dict[str, Any]], bool], otherwise: str) -> None:
        """Waits until something is so of the daemon's status."""
        until = time.monotonic() + seconds
        while True:
            status: dict[str, Any] = {}
            with contextlib.suppress(NoDaemon):
                if os.path.exists(self.control.socket):  # What httpcore cannot connect it leaves to be collected.
                    status = self.control.call("GET", "/v1/status")
            if status and status["pid"] == self.process.pid and so(status):
                return
            if self.process.poll() is not None:
                raise Error(f"a daemon has ended as soon as it was started:\n{self.tail()}", "see `dtpnode doctor`")
            if time.monotonic() > until:
                raise Error(f"a daemon {otherwise}: {status.get('problem') or 'no answer'}\n{self.tail()}")
            time.sleep(AGAIN)

    def wait_ready(self) -> None:
        if self._python:
            self.wait(READY, lambda status: _ready(status, self.tail), "has no Python that is ready")
        else:
            self.wait(READY, lambda status: not status.get("starting"), "is not ready")

    def join(self, first: "Daemon") -> None:
        rights = {"rights": ["worker", "submitter", "admin"], "ttl_seconds": 3600}
        invitation = first.control.call("POST", "/v1/invites", rights)
        self.control.call("POST", "/v1/join", {"token": invitation["token"]})

    def tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])


def _ready(status: dict[str, Any], tail: Callable[[], str]) -> bool:
    """Whether a daemon can run Python. That it never will is an error."""
    for runtime in status.get("runtimes") or ():
        if runtime["kind"] != "Python":
            continue
        if runtime.get("problem"):
            raise Error(f"a daemon cannot run Python: {runtime['problem']}\n{tail()}")
        return not status.get("starting")
    if status.get("problem") and not status.get("starting"):
        raise Error(f"a daemon cannot run Python: {status['problem']}\n{tail()}")
    return False


class Processes:
    """The daemons, their folder, and the process that removes it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dtpnode-local-"))
        self.daemons: list[Daemon] = []
        self.hands_back = False  # another cluster takes over what the daemons have when they end
        self._pid = os.getpid()
        guard = [sys.executable, "-I", "-S", str(_guard.__file__), str(self.folder)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True, bufsize=0)
        _living.add(self)

    def start(self, exe: str, number: int, args: list[str], log: Path | None = None) -> None:
        try:
            self.daemons.append(Daemon(self.folder, number, [exe, "up", *args], log))
        except OSError as e:
            raise Error(f"could not start {exe}: {e.strerror}") from None

    def restart(self, number: int, signum: int) -> None:
        daemon = self.daemons[number]
        daemon.process.send_signal(signum)
        daemon.process.wait()
        _shut(daemon.process)
        daemon.launch()
        daemon.wait_ready()

    def break_off(self) -> None:
        """Breaks the sessions with the daemons, which may take some seconds to end."""
        if os.getpid() == self._pid:
            sockets = {d.control.socket for d in self.daemons}
            for socket in sockets:
                has_ended(socket)
            break_off(sockets)

    def close(self) -> None:
        if os.getpid() != self._pid:
            return  # It is the process that has forked this one whose daemons they are.
        for d in self.daemons:
            has_ended(d.control.socket)  # before it does: sessions that lose it must not wait for it
        for d in self.daemons:
            d.control.close()
            if not self.hands_back:
                _say_now(d.process)
            _shut(d.process)  # which ends it
        until = time.monotonic() + END
        for d in self.daemons:
            try:
                d.process.wait(max(until - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                d.process.kill()
                d.process.wait()
        _shut(self._guard)
        self._guard.wait()

    def let_go(self) -> None:
        """Has a fork keep nothing alive."""
        for process in [d.process for d in self.daemons] + [self._guard]:
            _shut(process)


def owned(control: Control) -> bool:
    """Whether this process has started the daemon that is talked to, which ends with it."""
    return any(d.control.socket == control.socket for processes in list(_living) for d in processes.daemons)


def _say_now(process: "subprocess.Popen[bytes]") -> None:
    """Has a daemon wait for nothing when its input ends, also not for calls that run."""
    if process.stdin is not None:
        with contextlib.suppress(OSError, ValueError):  # It has ended by itself, or its input was closed before.
            process.stdin.write(b"now\n")


def _shut(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()


_living: "weakref.WeakSet[Processes]" = weakref.WeakSet()


def _in_fork() -> None:
    for processes in list(_living):
        processes.let_go()


os.register_at_fork(after_in_child=_in_fork)
