"""ROOT in this process, with the library that sends what its chains do to the pool.

The library is the one of ``dtpnode root``. It is compiled once for each ROOT, and can be loaded into any process that
has that ROOT, such as one of ``python script.py`` or of a notebook.
"""

import ctypes
import importlib
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any, Literal

from ._cluster import binary
from ._errors import Error
from ._job import FINAL, Bar, Job

Interrupt = Literal["cancel", "stop", "detach"]


def root() -> Any:
    """The module ROOT, which is imported if it is not yet."""
    try:
        return importlib.import_module("ROOT")
    except ImportError as e:
        raise Error(
            f"this Python cannot import ROOT ({e})",
            "pip install 'dtpnode[root]', or start Python in the environment of your ROOT (source thisroot.sh)",
        ) from None


def version() -> str:
    """The version of the ROOT of this process, as nodes tell theirs: 6.40.00."""
    return str(root().gROOT.GetVersion()).replace("/", ".")


def prefix() -> str:
    """The folder in which the ROOT of this process is installed."""
    return str(root().gROOT.GetRootSys())


_loaded: ctypes.CDLL | None = None


def library() -> ctypes.CDLL:
    """Loads the library into this process, once. The first time on a host it is compiled, which takes a minute."""
    global _loaded
    if _loaded is None:
        _loaded = _load()
    return _loaded


def _load() -> ctypes.CDLL:
    system = root().gSystem
    env = _environment()
    include = env["ROOT_INCLUDE_PATH"].split(os.pathsep)[0]
    folder = env["LD_LIBRARY_PATH"].split(os.pathsep)[0]
    path = os.path.join(folder, "libProof.so")
    os.environ["DTPNODE_EXE"] = env["DTPNODE_EXE"]  # The library takes it from there, when it is loaded.
    system.AddDynamicPath(folder)  # Macros load it by its name.
    root().gInterpreter.AddIncludePath(include)
    if system.Load(path) < 0:
        raise Error(f"ROOT could not load {path}", "the messages above say why; `dtpnode doctor` may help")
    return ctypes.CDLL(path)


def _environment() -> dict[str, str]:
    """What ``dtpnode root --env`` says for the ROOT of this process. What it does meanwhile goes to standard error."""
    command = [binary(), "root", "--env"]
    env = {**os.environ, "DTPNODE_ROOT": prefix()}
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            print(line, end="", file=sys.stderr, flush=True)
        text = process.stdout.read()
    if process.returncode:
        raise Error(
            f"could not prepare the ROOT in {prefix()} for the pool: {''.join(said).strip() or 'no reason given'}",
            "ROOT 6.30 or newer and a C++ compiler are needed; see `dtpnode doctor`",
        )
    words = (shlex.split(line)[1].partition("=") for line in text.splitlines())
    return {name: value for name, _, value in words}


class Runs:
    """Runs the commands by which a session's queries reach the pool, for the library.

    The library calls it in the middle of a query. While it waits, other threads of this process go on, and so does
    what a notebook shows. An interrupt does to the job what ``interrupt`` says: "cancel", "stop" keeps what is done,
    and "detach" lets it go on. ``last`` is the job's last status, and ``interrupted`` and ``raised`` are for whoever
    made the query, since no exception can go through the library.
    """

    def __init__(
        self, library: ctypes.CDLL, control: Any, interrupt: Interrupt, progress: bool | None, version: str
    ) -> None:
        self._library, self._control, self._interrupt, self._progress = library, control, interrupt, progress
        self._version = version  # of ROOT, that a job is to take; empty for any
        self.first: Any = None  # called with the first status that tells the number of entries
        self._hook = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)(self._called)
        self.forget()

    def forget(self) -> None:
        """Begins anew, before a query."""
        self.last: dict[str, Any] = {}
        self.interrupted = False
        self.raised: BaseException | None = None
        self._told = False

    def install(self) -> None:
        """Has the library call this from now on."""
        self._library.dtpnodeSessionRunner(self._hook)

    def remove(self) -> None:
        self._library.dtpnodeSessionRunner(None)

    def _called(self, args: int, size: int) -> int:
        try:
            command = ctypes.string_at(args, size).split(b"\0")[:-1]
            if self._version and b"run" in command:
                command.insert(command.index(b"run") + 1, b"--root-version=" + self._version.encode())
            return self._run(command)
        except BaseException as e:
            self.raised = e
            return 1

    def _run(self, command: list[bytes]) -> int:
        # In a session of its own, so that a Ctrl-C in the terminal reaches only this process, which hands it on.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            with Bar("", self._progress) as bar:
                lines = _lines(process)
                while True:
                    try:
                        for is_error, line in lines:
                            self._take(line, is_error, bar)
                        status = process.wait()
                        return status if status >= 0 else 128 - status
                    except KeyboardInterrupt:
                        self._stop(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _take(self, said: bytes, is_error: bool, bar: Bar) -> None:
        text = said.decode(errors="replace").rstrip("\n")
        frame = _frame(text)
        if frame is None or frame.get("type") == "log":
            line = text if frame is None else str(frame.get("line", ""))
            print(line, file=sys.stderr if is_error else sys.stdout, flush=True)
            return
        status = frame.get("status") if isinstance(frame.get("status"), dict) else frame
        if status and "state" in status and "id" in status:
            self.last = status
            if self.first is not None and not self._told and (status.get("units") or status["state"] in FINAL):
                self._told = True
                self.first(status)
            bar.show(status)
        self._library.dtpnodeSessionTell(text.encode())

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        again, self.interrupted = self.interrupted, True
        job = self.last.get("id")
        if again or not job or self._interrupt == "cancel":
            process.send_signal(signal.SIGINT)
        elif self._interrupt == "stop":
            Job(self._control, job).stop()
        else:
            process.kill()  # The job goes on then.
            print(f"the job goes on: dtpnode.Client().job({job!r}) is there for its result", file=sys.stderr)


def _frame(text: str) -> dict[str, Any] | None:
    """The JSON object that a line is, or None for a line of plain text."""
    if not text.startswith("{"):
        return None
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    return frame if isinstance(frame, dict) else None


class _lines(Iterator[tuple[bool, bytes]]):
    """The lines of a process as they come, of its output and of its errors; the first says which. Threads read them, so
    that an interrupt of whoever waits for the next one loses none."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._queue: queue.SimpleQueue[tuple[bool, bytes] | None] = queue.SimpleQueue()
        assert process.stdout is not None and process.stderr is not None
        self._open = 2
        for pipe, is_error in ((process.stdout, False), (process.stderr, True)):
            threading.Thread(target=self._read, args=(pipe, is_error), daemon=True).start()

    def _read(self, pipe: IO[bytes], is_error: bool) -> None:
        with pipe:
            for line in pipe:
                self._queue.put((is_error, line))
        self._queue.put(None)

    def __next__(self) -> tuple[bool, bytes]:
        while self._open:
            got = self._queue.get()
            if got is not None:
                return got
            self._open -= 1
        raise StopIteration
