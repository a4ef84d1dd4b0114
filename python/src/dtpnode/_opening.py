"""How jobs are opened that calls are appended to."""

import contextlib
import math
import numbers
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, wait
from typing import Any, Callable, TypeVar

import httpx

from ._along import Along, python_version
from ._control import Control
from ._errors import FREE, DiskFull, Error, NoDaemon, is_full, unwritten
from ._notes import Notes
from ._receiver import AGAIN

ABANDONED = 60.0  # seconds after which a job is closed whose process is gone
ON_DISK = 2.0  # seconds for which the first copy of a job's ledger is waited for
SLOW = 1.0  # seconds after which it is said what takes its time
PATIENCE = 60.0  # seconds for which a daemon may be away as a job is to begin that belongs to a run of several
RETRY = 0.2  # seconds between attempts to reach it
TELL = 3.0  # seconds after which that is told
LOADING = 20.0  # seconds for which it may go without saying that code is loaded, with what it imports
NO_LIMIT = -1  # seconds, as the daemon has it
HOUR = 3600.0  # seconds without progress that a piece of a total may take, unless its user says otherwise
LEAST = 1.0  # seconds of a limit, as tasks/limits.go has it

T = TypeVar("T")


def check_stall(stall: float | None) -> float | None:
    """Refuses what is no limit for the time that a call may take. NaN and infinity are no numbers of seconds."""
    if stall is None:
        return None
    if isinstance(stall, bool) or not isinstance(stall, numbers.Real):
        raise TypeError(f"stall must be a number of seconds, or None for no limit, and not {stall!r}")
    if not math.isfinite(stall) or stall < LEAST:
        raise ValueError(f"stall is {stall!r}, and must be at least {LEAST:g} s, or None for no limit")
    return float(stall)


def patiently(control: Control, begin: Callable[[], T]) -> T:
    """Begins a job, and waits for a daemon that is away, as all else does: some runs have several jobs, and their
    daemon may be killed between them. One that this process has ended is not waited for."""
    since, told = time.monotonic(), False
    while True:
        try:
            return begin()
        except NoDaemon as e:
            away = time.monotonic() - since
            if away > PATIENCE or control.ended() is not None:
                raise
            if away > TELL and not told:
                sys.stderr.write(f"waiting {PATIENCE:.0f} s for the daemon to come back: {e.message}\n")
                told = True
        time.sleep(RETRY)


def begun(begin: Callable[[], T], undo: Callable[[T], object]) -> T:
    """Returns what begin returns, which begins a job. It is another thread that does so, since an interrupt in the
    midst of that would leave a job behind of which nobody knows: undo is called with what has begun then."""

    def run(done: "Future[T]") -> None:
        try:
            done.set_result(begin())
        except BaseException as e:
            done.set_exception(e)
        finally:
            del done  # which has an exception that refers to this frame

    def undone(done: "Future[T]") -> None:
        if done.exception() is None:
            with contextlib.suppress(Error, httpx.TransportError):
                undo(done.result())

    done: "Future[T]" = Future()
    try:
        threading.Thread(target=run, args=(done,), name="dtpnode-begin", daemon=True).start()
        return done.result()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the job is cancelled as soon as it has begun; Ctrl-C again not to wait\n")
        done.add_done_callback(undone)
        wait([done])
        raise
    finally:
        del done


def open_job(
    control: Control, title: str, code: bytes, along: Along, notes: Notes, values: bool, stall: float | None
) -> str:
    """Opens a job that runs items with the code of an archive and what goes along, and returns its name when it can be
    appended to. values says that the code keeps a value of each item and neither begins nor finishes anything, so that
    a node can lead the job that cannot run it. stall is how many seconds an item may take, None for any number. What
    nodes have to say of it is told then and later. A daemon that ends meanwhile is a NoDaemon, and a disk without room
    a DiskFull."""
    try:
        return _opened(control, title, code, along, notes, values, stall)
    except httpx.TransportError as e:
        raise NoDaemon(f"the daemon has ended while a job was being opened: {e}", "try again when it is back") from e
    except Error as e:
        if is_full(e):
            raise DiskFull(e.message, e.hint or FREE) from e
        if e.status in AGAIN and e.status != 500:
            raise NoDaemon(e.message, e.hint) from e
        if also := along.advice():
            raise Error(e.message, f"{e.hint}; {also}" if e.hint else also) from None
        raise


def _opened(
    control: Control, title: str, code: bytes, along: Along, notes: Notes, values: bool, stall: float | None
) -> str:
    with contextlib.ExitStack() as stack:
        try:
            f = stack.enter_context(tempfile.NamedTemporaryFile(prefix="dtpnode-", suffix=".zip"))
            f.write(code)
            f.flush()
        except OSError as e:
            raise unwritten(e, "the code of the calls, which the daemon reads there") from e
        status = control.call("POST", "/v1/jobs", {
            "kind": "Python", "title": title, "part": "", "files": None,
            "spec": {"code": f.name, "name": title, "values": values, **along.spec(stack)},
            "n": -1, "dir": _folder(), "open": True,
            "version": python_version(), "abandon_seconds": ABANDONED, "needs": along.needs(),
            "stall_seconds": NO_LIMIT if stall is None else stall,
        })
        status = _prepared(control, status)
    if status["state"] in ("failed", "cancelled"):
        raise Error(status.get("error") or f"the job is {status['state']}", status.get("hint") or "")
    try:
        notes.follow(status)
    except BaseException:  # Such as a warning that its user has raised: nobody will append to the job.
        control.call("POST", f"/v1/jobs/{status['id']}/cancel", {})
        raise
    return str(status["id"])


def _folder() -> str:
    """The working folder. Calls look for nothing there, so that it does not matter if somebody has removed it."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def _prepared(control: Control, status: dict[str, Any]) -> dict[str, Any]:
    """Waits until a job is prepared, which takes minutes where an environment is made for it: what takes its time is
    said then. A job that nobody has on disk yet would be lost with its daemon, and so is waited for, too."""
    since = changed = time.monotonic()
    phase = shown = ""
    begun: float | None = None  # when the job was first seen to run
    while True:
        now = time.monotonic()
        if status["state"] != "preparing":
            begun = begun or now
            if status["state"] != "running" or status.get("replicas") or now - begun > ON_DISK:
                break
        time.sleep(0.002 if now - since < 1 else 0.05)
        status = control.call("GET", f"/v1/jobs/{status['id']}")
        is_in = (status.get("phase") or "").partition(", for ")[0]
        if is_in != phase:
            phase, changed = is_in, now
        elif phase != shown and now - changed > (LOADING if phase.startswith("loading ") else SLOW):
            print(f"dtpnode: {phase}", file=sys.stderr, flush=True)
            shown = phase
    return status
