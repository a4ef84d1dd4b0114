"""A cluster of this process alone: a daemon here, and others that are started on further hosts by ssh.

The daemons on other hosts are held by their ssh connections: they end with them, however this process ends. A host that
has no program ``dtpnode``, or has another version of it, gets a copy of the one here, once, in its cache.
"""

import contextlib
import hashlib
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ._client import Client
from ._cluster import Processes, binary
from ._errors import Error

START = 60.0  # seconds that the daemon on this host may take to answer
END = 10.0  # seconds that a connection may take to end before it is killed
AGAIN = 0.05  # seconds between looks at the members
KEPT = 30  # days for which a host keeps a copy of the program that nobody uses
TAIL = 5  # lines of a host's log that an error shows

# What a host runs, by its shell; the words in braces are filled in. It says whether it needs the program, which then
# comes by its standard input, followed by the token and by nothing more, up to the end of all.
REMOTE = """
umask 077
folder="${{XDG_CACHE_HOME:-$HOME/.cache}}/dtpnode/bin"
exe="$folder/dtpnode-{digest}"
own=$(command -v dtpnode 2>/dev/null) && [ "$("$own" version 2>/dev/null | head -n 1)" = {version} ] && exe=$own
if [ -x "$exe" ]; then echo have; touch -c "$exe" 2>/dev/null; else
  echo "need $(uname -s) $(uname -m)"
  mkdir -p "$folder" && head -c {size} > "$exe.$$" && [ "$(wc -c < "$exe.$$")" -eq {size} ] &&
    chmod 700 "$exe.$$" && mv "$exe.$$" "$exe" ||
    {{ rm -f "$exe.$$"; echo "could not write dtpnode to $folder" >&2; exit 71; }}
  find "$folder" -name 'dtpnode-*' -mtime +{days} -delete
fi
state=$(mktemp -d "${{TMPDIR:-/tmp}}/dtpnode-spawned-XXXXXX") || exit 71
trap 'rm -rf "$state"' EXIT
trap : HUP INT TERM
"$exe" up --ephemeral --join --state "$state" {args}
"""


def here(host: str) -> bool:
    """Whether a name stands for this host, so that no connection is needed."""
    return host in ("localhost", socket.gethostname(), socket.getfqdn())


class Hosts:
    """A daemon on this host and one on each host of ``workers``, a mapping of hosts to slots, as one cluster.

    ``ssh`` is the command by which hosts are reached, with its options; it must not ask for a password. ``port`` is
    where the daemon here listens for them, another one if that is taken. ``logs`` is a folder: the daemons' logs are
    there as ``dtpnode-HOST.log``, and that of this host, too. ``root`` is the folder of ROOT on the hosts, or "" for
    what each finds itself, and ``own`` are further arguments of the daemon here. This host works too, with as many
    slots as ``localhost`` has in ``workers``, or with one.
    """

    def __init__(
        self, workers: Mapping[str, int], ssh: str, port: int, logs: Path, root: str, own: Sequence[str]
    ) -> None:
        for host, slots in workers.items():
            if slots < 1:
                raise ValueError(f"{host} is to have {slots} slots; want at least 1")
            if host.startswith("-"):
                raise ValueError(f"{host!r} is no name of a host")
        self.procs: dict[str, subprocess.Popen[bytes]] = {}
        self._logs, self._threads = logs, list[threading.Thread]()
        logs.mkdir(parents=True, exist_ok=True)
        self._ssh, self._root = _without_questions(shlex.split(ssh)), root
        others = {host: slots for host, slots in workers.items() if not here(host)}
        self._processes = Processes()
        try:
            addresses = sorted({self._face(host) for host in others})
            slots = sum(n for host, n in workers.items() if here(host)) or 1
            self.port = self._start(slots, addresses, port, own)
            self._exe = Path(binary()).resolve()
            asked = subprocess.run([self._exe, "version"], capture_output=True, text=True, check=True)
            self._program = (*_digest(self._exe), asked.stdout.split("\n")[0])
            for host, n in others.items():
                self._connect(host, n)
        except BaseException:
            self.close()
            raise

    @property
    def daemon(self) -> "subprocess.Popen[bytes]":
        """The process of the daemon on this host."""
        return self._processes.daemons[0].process

    def client(self) -> Client:
        """A client of the daemon on this host."""
        return Client(self._processes.daemons[0].state)

    def _start(self, slots: int, addresses: list[str], port: int, own: Sequence[str]) -> int:
        if not all(map(_free, addresses, [port] * len(addresses))):
            port = 0
        args = [word for a in addresses for word in ("--listen", f"[{a}]:{port}" if ":" in a else f"{a}:{port}")]
        args = ["--slots", str(slots), "--python", "none", *args, *own]
        self._processes.start(binary(), 0, args, self._logs / "dtpnode-here.log")
        daemon = self._processes.daemons[0]
        daemon.wait(START, lambda status: True, "does not answer")
        listens = daemon.control.call("GET", "/v1/status")["addrs"]
        return int(str(listens[0]).rpartition(":")[2]) if listens else 0

    def _face(self, host: str) -> str:
        """The address of this host that another one sees."""
        name = host.rpartition("@")[2]
        asked = subprocess.run([*self._ssh, "-G", host], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        for line in asked.stdout.splitlines():
            if line.startswith("hostname "):
                name = line.split(None, 1)[1]
        try:
            family, kind, _, _, address = socket.getaddrinfo(name, 9, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as probe:
                probe.connect(address)  # which sends nothing
                return str(probe.getsockname()[0])
        except OSError as e:
            raise Error(
                f"could not find the host {host} ({e})",
                "its name, or the HostName that ssh's settings give it, must be known here, and reach this host",
            ) from None

    def _connect(self, host: str, slots: int) -> None:
        daemon = self._processes.daemons[0]
        rights = {"rights": ["worker"], "ttl_seconds": 3600, "ephemeral": True}
        token = str(daemon.control.call("POST", "/v1/invites", rights)["token"])
        digest, size, version = self._program
        args = ["--name", host.rpartition("@")[2], "--slots", str(slots), "--python", "none", "--log-format", "logfmt"]
        if self._root:
            args += ["--root", self._root]
        script = REMOTE.format(
            digest=digest, size=size, days=KEPT, version=shlex.quote(version), args=" ".join(map(shlex.quote, args))
        )
        with open(self._log(host), "ab") as log:
            process = subprocess.Popen(
                [*self._ssh, host, "exec sh -c " + shlex.quote(script)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True, bufsize=0,
            )
        self.procs[host] = process
        thread = threading.Thread(target=self._serve, args=(host, process, self._exe, token), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _serve(self, host: str, process: "subprocess.Popen[bytes]", exe: Path, token: str) -> None:
        """Gives a host what it asks for, and has the rest of what it says be in its log."""
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError, ValueError), process.stdout, open(self._log(host), "ab") as log:
            said = _line(process.stdout).decode(errors="replace").strip()
            if said.startswith("need"):
                if said.split()[1:] != [os.uname().sysname, os.uname().machine]:
                    log.write(f"{host} has no dtpnode of this version; the one here is not for {said[5:]}\n".encode())
                    process.kill()
                    return
                with open(exe, "rb") as program:
                    while part := program.read(1 << 20):
                        _write(process.stdin, part)
            elif said != "have":
                log.write(said.encode() + b"\n")
            _write(process.stdin, token.encode() + b"\n")
            while part := process.stdout.read(1 << 16):
                log.write(part)
                log.flush()

    def _log(self, host: str) -> Path:
        return self._logs / f"dtpnode-{host.replace('/', '_')}.log"

    def joined(self) -> int:
        """How many of the other hosts are there."""
        members = self._processes.daemons[0].control.call("GET", "/v1/members")
        return sum(bool(m["up"]) for m in members) - 1

    def wait(self, seconds: float, told: Any) -> list[str]:
        """Waits for all hosts, and returns those that are not there in time. One whose connection has ended is an Error
        with the end of its log. ``told`` is called once a second with how many there have been."""
        since, said = time.monotonic(), -1
        while self.joined() < len(self.procs):
            self.check()
            past = int(time.monotonic() - since)
            if past > seconds:
                break
            if past > said:
                told(past)
            said = past
            time.sleep(AGAIN)
        up = {m["name"] for m in self._processes.daemons[0].control.call("GET", "/v1/members") if m["up"]}
        return [host for host in self.procs if host.rpartition("@")[2] not in up]

    def check(self) -> None:
        """Raises an Error if the connection to a host has ended."""
        for host, process in self.procs.items():
            if process.poll() is not None:
                lines = self._log(host).read_text(errors="replace").splitlines()[-TAIL:]
                raise Error(
                    f"{host} does not take part: ssh ended with status {process.returncode}\n" + "\n".join(lines),
                    f"try `{shlex.join([*self._ssh, host, 'true'])}`, which must not ask for anything; "
                    f"the whole log is {self._log(host)}",
                )

    def close(self) -> None:
        """Ends all daemons and connections."""
        for process in self.procs.values():
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()  # by which the daemon there hands back its work and leaves
        until = time.monotonic() + END
        for process in self.procs.values():
            try:
                process.wait(max(until - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for thread in self._threads:
            thread.join(END)
        self._processes.close()


def _without_questions(command: list[str]) -> list[str]:
    """OpenSSH asks nobody then, since nobody could answer."""
    if command and os.path.basename(command[0]) == "ssh":
        return [command[0], "-o", "BatchMode=yes", *command[1:]]
    return command


def _free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _digest(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as f:
        while part := f.read(1 << 20):
            digest.update(part)
            size += len(part)
    return digest.hexdigest()[:16], size


def _line(pipe: IO[bytes]) -> bytes:
    """A line of a pipe without a buffer, and not a byte more."""
    line = b""
    while not line.endswith(b"\n") and (byte := pipe.read(1)):
        line += byte
    return line


def _write(pipe: IO[bytes], data: bytes) -> None:
    """Writes all to a pipe without a buffer."""
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


def default_root() -> list[str]:
    """The arguments by which a daemon that is started here has the ROOT of this process, if that has one."""
    if "ROOT" not in sys.modules:
        return []
    from ._root import prefix

    return ["--root", prefix()]
