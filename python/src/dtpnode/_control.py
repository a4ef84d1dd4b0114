"""The daemon's control interface: HTTP with JSON over a Unix socket. ``dtpnode schema`` describes what is exchanged."""

import array
import contextlib
import hashlib
import json
import os
import re
import socket as socket_module
import tempfile
from collections import deque
from pathlib import Path
from typing import Any, Iterator

import httpcore
import httpx

from ._errors import Error, NoDaemon

_ended: set[str] = set()  # sockets of daemons that this process has started, and ended for good


class BrokenOff(NoDaemon, httpx.TransportError):
    """The daemon has ended in the middle of a request, which it may have carried out, or the connection has."""

    def __init__(self, message: str, hint: str = "") -> None:
        httpx.TransportError.__init__(self, message)
        self.args = message, hint
        self.message, self.hint = message, hint


MAX_SOCKET_PATH = 107  # bytes of the address of a Unix socket on Linux

FIRST = 64 << 10  # bytes that may come with the headers of an answer
_FDS = socket_module.CMSG_SPACE(16 * 4)  # room for more descriptors than come with one frame


def state_folder() -> Path:
    """The folder in which the daemon of this user keeps its state: $DTPNODE_STATE or $XDG_STATE_HOME/dtpnode."""
    if os.environ.get("DTPNODE_STATE"):
        return Path(os.environ["DTPNODE_STATE"]).absolute()
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return root / "dtpnode"


def socket_path(state: Path) -> str:
    """The control socket of the daemon with that state folder; node/api/socket.go has the rule."""
    path = str(state / "control.sock")
    if len(path.encode()) <= MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.path.normpath(state).encode()).digest()[:8].hex()
    folder = f"dtpnode-{os.getuid()}-{digest}"
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        path = os.path.join(base, folder, "control.sock")
        if os.path.isabs(base) and len(path.encode()) <= MAX_SOCKET_PATH:
            return path
    return os.path.join("/tmp", folder, "control.sock")


def _client(socket: str) -> httpx.Client:
    # As many connections as there are requests: those that follow something last.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
    # No connection is encrypted, and reading the certificates of the world for that would take longer than all else.
    transport = httpx.HTTPTransport(uds=socket, limits=limits, verify=False)
    return httpx.Client(transport=transport, base_url="http://dtpnode", timeout=None)


class Stream:
    """Bytes to and from the daemon. An error is an httpx.TransportError. Descriptors that come beside bytes from before
    it was made are lost."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._socket: socket_module.socket = stream.get_extra_info("socket")
        self._first = self._leading()
        self._fds: "deque[int]" = deque()

    def read_into(self, to: memoryview) -> int:
        """Reads the next bytes, and returns how many; 0 at the end."""
        if self._first:
            n = min(len(self._first), len(to))
            to[:n], self._first = self._first[:n], self._first[n:]
            return n
        try:
            n, beside, _, _ = self._socket.recvmsg_into([to], _FDS, socket_module.MSG_CMSG_CLOEXEC)
            for level, kind, data in beside:
                if level == socket_module.SOL_SOCKET and kind == socket_module.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
                    self._fds += fds
            return n
        except (OSError, httpcore.NetworkError) as e:
            raise httpx.ReadError(str(e)) from e

    def _leading(self) -> bytes:
        """What has come with the headers, and is only here."""
        try:
            return self._stream.read(FIRST, timeout=1e-6)
        except (httpcore.ReadTimeout, httpcore.NetworkError):  # What is wrong with the connection is seen later.
            return b""
        finally:
            self._socket.settimeout(None)

    def descriptor(self) -> int:
        """Takes the descriptor that has come first, of those that have; -1 for none. The caller closes it."""
        return self._fds.popleft() if self._fds else -1

    def write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as e:
            raise httpx.WriteError(str(e)) from e

    def __del__(self) -> None:
        while self._fds:
            os.close(self._fds.popleft())

    def shut(self) -> None:
        """Ends reading and writing, also for threads that wait in them."""
        self._socket.shutdown(socket_module.SHUT_RDWR)


LEAST = 4  # digits of the beginning of a job's name that mean the job


class Control:
    """A client of one daemon. It may be used by several threads."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.cluster: object = None  # a LocalCluster that is to last as long as what uses this
        self._client, self._pid = _client(socket), os.getpid()
        self._closed = False  # once at least, which threads may have been about to use it

    @property
    def _http(self) -> httpx.Client:
        if self._pid != os.getpid():  # A fork must not use the connections of the process that it was forked from.
            self._client, self._pid = _client(self.socket), os.getpid()
        return self._client

    def ended(self) -> NoDaemon | None:
        """Why the daemon never comes back, if this process had started it and has ended it: nothing waits for one."""
        if self.socket not in _ended:
            return None
        return NoDaemon(
            "the daemon has ended with the LocalCluster, or the client, that had started it, which was closed",
            "close it when all results are there, or have an executor's `with` block inside its own",
        )

    def close(self) -> None:
        """Ends the connections. The next call makes new ones. One that is under way is a BrokenOff."""
        self._closed = True
        self._client.close()
        self._client = _client(self.socket)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Sends a request and returns its answer; an error of the daemon is raised."""
        with self._refusals():
            content = None if body is None else json.dumps(body).encode()
            answer = self._http.request(method, path, content=content)
            self._check(answer.status_code, answer.content)
            return json.loads(answer.content) if answer.content else None

    def slots(self) -> int:
        """How many calls in Python the nodes of the pool run at a time, as far as they are up; at least 1."""
        members = self.call("GET", "/v1/members")
        able = [m for m in members if m["up"] and any(r["kind"] == "Python" for r in m.get("runtimes") or ())]
        return max(sum(int(m["slots"]) for m in able), 1)

    def stream(self, path: str, params: dict[str, Any] | None = None) -> Iterator[Any]:
        """The JSON values that the daemon sends, one a line, as they come."""
        with self._refusals(), self._http.stream("GET", path, params=params) as answer:
            if answer.status_code >= 400:
                self._check(answer.status_code, answer.read())
            for line in answer.iter_lines():
                if line:
                    yield json.loads(line)

    def download(self, path: str) -> Iterator[bytes]:
        """The bytes that the daemon sends, in parts. If they break off it is a BrokenOff."""
        with self._refusals(), self._http.stream("GET", path) as answer:
            if answer.status_code >= 400:
                self._check(answer.status_code, answer.read())
            yield from answer.iter_raw(1 << 20)

    @contextlib.contextmanager
    def upgrade(self, path: str, protocol: str, **params: Any) -> Iterator["Stream"]:
        """A connection of its own that speaks another protocol than HTTP from then on."""
        # A client of its own, since nothing else may ever use the connection.
        with self._refusals(), _client(self.socket) as http:
            headers = {"Connection": "Upgrade", "Upgrade": protocol}
            with http.stream("GET", path, params=params, headers=headers) as answer:
                if answer.status_code != 101:
                    self._check(answer.status_code, answer.read())
                    hint = "are the package and the daemon of the same version?"
                    raise Error(f"the daemon does not speak {protocol}", hint)
                yield Stream(answer.extensions["network_stream"])

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as e:
            if not self._closed:
                raise
            raise BrokenOff("the client was closed meanwhile") from e
        except httpx.ConnectError as e:
            raise NoDaemon(
                f"no daemon listens on {self.socket} ({e})", "start one with `dtpnode up --detach`, or use LocalCluster"
            ) from None
        except BrokenOff:
            raise
        except httpx.TransportError as e:
            raise BrokenOff(
                f"the daemon that listens on {self.socket} has broken off a connection ({e})",
                "once it is back `dtpnode ps` tells whether what was asked for was done",
            ) from e

    @staticmethod
    def _check(status: int, body: bytes) -> None:
        if status < 400:
            return
        try:
            said = json.loads(body)
            message, hint = str(said["error"]), str(said.get("hint") or "")
        except (ValueError, KeyError, TypeError):
            message, hint = f"the daemon answered with status {status}", ""
        error = Error(message, hint)
        error.status = status
        raise error


def job_path(name: str) -> str:
    """The path of a job, by its name or the beginning of it. Others are refused, which could be of another path."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a job must be a str, and not {type(name).__name__}: {name!r}")
    plain = name.strip().lower()
    if re.fullmatch("[0-9a-f]{1,32}", plain) is None:
        raise Error(f"no job has the name {name!r}: names are hexadecimal digits", "`dtpnode ps` lists all jobs")
    if len(plain) < LEAST:
        raise Error(
            f"{name!r} is too short for the name of a job: {LEAST} digits of its beginning are the least",
            "`dtpnode ps` lists all jobs",
        )
    return f"/v1/jobs/{plain}"


def has_ended(socket: str) -> None:
    """Notes that a daemon has ended for good. It takes no lock: garbage collection may end a cluster at any moment."""
    _ended.add(socket)


def seen(status: dict[str, Any]) -> dict[str, Any]:
    """The status of a job that is to be seen whole: that of another user's job says why not."""
    if status.get("private"):
        whose = status.get("submitter_name") or "another member"
        raise Error(f"the job {status['id'][:12]} is {whose}'s: {status['private']}")
    return status
