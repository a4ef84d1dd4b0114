"""Processes that fork. The base zygote knows no code of a user; what it forks as a loader loads some and forks in turn."""

import ctypes
import gc
import os
import select
import signal
import socket
import sys
from typing import Any

from .code import Code
from .frames import PROTOCOL, Channel, Page
from .workers import Generation, Importer, Loader, Merger, Session, Worker, flush

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
libc = ctypes.CDLL(None)


class Zygote:
    """Forks on request, tells how each fork ended, and ends with its socket."""

    def __init__(self, channel: Channel, roles: dict[str, type[Worker]], code: Code | None) -> None:
        self.channel, self.roles, self.code = channel, roles, code
        self.children: set[int] = set()
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._wake, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakes.fileno())

    def serve(self) -> None:
        while True:
            ready, _, _ = select.select([self.channel.sock, self._wake], [], [])
            if self._wake in ready:
                self._wake.recv(4096)
                self._reap()
            if self.channel.sock in ready and not self._frame():
                break
        for pid in self.children:
            kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.children.clear()
        while self._orphans():
            os.waitpid(-1, 0)

    def _frame(self) -> bool:
        try:
            r = self.channel.read()
        except EOFError:
            return False
        if r["op"] == "fork":
            self._fork(r)
        elif r["op"] == "signal" and r["pid"] in self.children:
            kill(r["pid"], r["sig"])
        return True

    def _fork(self, r: dict[str, Any]) -> None:
        fds, self.channel.fds = self.channel.fds[:3], self.channel.fds[3:]
        worker = self.roles.get(r["role"])
        if worker is None or len(fds) < 3:
            for fd in fds:
                os.close(fd)
            self.channel.write({"op": "error", "id": r["id"], "msg": f"no process of the role {r['role']} here"})
            return
        flush()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as e:
            for fd in fds:
                os.close(fd)
            self.channel.write({"op": "error", "id": r["id"], "msg": f"could not fork: {e}"})
            return
        if pid == 0:
            self._become(worker, parent, *fds)
        for fd in fds:
            os.close(fd)
        self.children.add(pid)
        self.channel.write({"op": "forked", "id": r["id"], "pid": pid})

    def _become(self, worker: type[Worker], parent: int, sock: int, log: int, page: int) -> None:
        status = 1
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                return  # The zygote died before that took effect.
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
            os.setsid()  # What it signals as its group, or its session, is itself and what it has started.
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self.channel.sock.close()
            self._wake.close()
            self._wakes.close()
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            w = worker(Channel(sock), Page(page), self.code)  # type: ignore[arg-type]
            w.run()
            if isinstance(w, (Importer, Loader)) and w.over:
                become_zygote(w)
            status = 0
        except (EOFError, BrokenPipeError, ConnectionError):
            pass
        finally:
            flush()
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            if pid not in self.children:
                continue
            self.children.discard(pid)
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass  # It has left nothing behind in its group.
            self.channel.write({"op": "exited", "pid": pid, "status": status, "maxrss": usage.ru_maxrss})
        self._orphans()

    def _orphans(self) -> bool:
        """Kills what forks have left behind, and reports whether there was something."""
        some = False
        with open(f"/proc/self/task/{os.getpid()}/children") as f:
            for pid in map(int, f.read().split()):
                if pid not in self.children:
                    some = True
                    os.kill(pid, signal.SIGKILL)
        return some


def kill(pid: int, sig: int) -> None:
    if sig == signal.SIGKILL:
        try:
            os.killpg(pid, sig)
        except OSError:
            pass  # It has not made its group yet.
    os.kill(pid, sig)


def become_zygote(w: Importer | Loader) -> None:
    """Goes on as a zygote of the code that was loaded, or of loaders that have modules imported."""
    gc.collect()
    gc.freeze()  # Collections in forks do not touch, and so copy, the pages of what is there already.
    roles: dict[str, type[Worker]] = {"generation": Generation, "merger": Merger, "session": Session}
    if isinstance(w, Importer):
        Loader.imported = w.imported
        roles = {"loader": Loader}
    Zygote(w.channel, roles, w.code).serve()


def serve_base() -> None:
    """Runs the base zygote until its socket ends."""
    os.set_inheritable(3, False)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    channel = Channel(3)
    channel.write({"op": "hello", "protocol": PROTOCOL, "version": sys.version.split()[0]})
    Zygote(channel, {"importer": Importer, "loader": Loader}, None).serve()
