"""What a job's user is to know of the nodes before, or while, its calls run."""

import re
import sys
import threading
import warnings
from typing import Any, Callable, Iterable

import httpx

from ._control import Control
from ._errors import Error, NodeWarning

FIRST, LAST = 0.1, 5.0  # seconds between looks, which are ever rarer
PATIENCE = 2.0  # seconds that a last look may take
STEP = re.compile(r"^[a-z]+: ")  # what was being done, at the beginning of why a disk is full
OVER = ("done", "partial", "failed", "cancelled")


class Notes:
    """Warns of what nodes say of jobs, each sentence once a session: that a module is of another version there, or that
    a node takes no part, and why. A line on standard error says that a node's disk is full, so that calls wait, and
    another one that they go on. It looks in a thread of its own, which ends with the last job."""

    def __init__(self, control: Control, lacks: Callable[[bool], object] | None = None) -> None:
        """lacks, if given, is told at each look whether the disk of a node is full."""
        self._control, self._lacks = control, lacks
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._full: set[tuple[str, str]] = set()  # a job, and the name of a node whose disk was said to be full
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []

    def tell(self, notes: Iterable[str]) -> None:
        """Warns of sentences that were not told yet."""
        for note in notes:
            with self._lock:
                if note in self._told:
                    continue
                self._told.add(note)
            # Nobody's line is to blame, and the thread has none of its user's.
            warnings.warn_explicit(note, NodeWarning, "dtpnode", 0)

    def tell_full(self, status: dict[str, Any]) -> None:
        """Says which nodes have begun to wait for room on their disks, and which go on."""
        job, left = str(status["id"]), int(status["units"]) - int(status["done"])
        full = {(job, str(n["name"])): n["full"] for n in status.get("nodes") or () if n.get("full")}
        with self._lock:
            told = {at for at in self._full if at[0] == job}
            self._full = self._full - told | full.keys()
            lacks = bool(self._full)
        if self._lacks is not None:
            self._lacks(lacks)
        for at in sorted(full.keys() - told):
            wait = "1 item waits" if left == 1 else f"{left:,} items wait"
            say(
                f"{at[1]}: {STEP.sub('', full[at])}: {wait}, and will go on when there is room: free space there, or "
                f"give them up with `dtpnode cancel {job[:12]}`"
            )
        for at in sorted(told - full.keys()):
            if status["state"] not in OVER:
                say(f"{at[1]}: there is room on the disk again: job {job[:12]} goes on")

    def follow(self, status: dict[str, Any]) -> None:
        """Tells what is known of a job, and what becomes known."""
        self.tell(status.get("notes") or ())
        thread = threading.Thread(target=self._follow, args=(status["id"],), name="dtpnode-notes", daemon=True)
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def close(self) -> None:
        """Has the threads look once more, and end."""
        self._end.set()

    def join(self) -> None:
        """Ends the threads, and waits for them."""
        self.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _follow(self, job: str) -> None:
        wait, over = FIRST, False
        while not over:
            over = self._end.wait(wait)
            wait = min(2 * wait, LAST)
            try:
                status = self._control.call("GET", f"/v1/jobs/{job}")
            except (Error, httpx.TransportError):
                continue  # The daemon may come back.
            try:
                self.tell(status.get("notes") or ())
                self.tell_full(status)
            except NodeWarning:
                pass  # Its user has warnings raised, and nobody is here to catch it.
            over = over or status["state"] in OVER


class Room:
    """Says that the disk of the daemon has no room for what is sent to it, and then that it has: a line for each."""

    def __init__(self) -> None:
        self._lacks = False

    def lacks(self, why: Error) -> None:
        if not self._lacks:
            self._lacks = True
            say(f"{why.message}: what was submitted waits, and will go on when there is room on that disk")

    def has(self) -> None:
        if self._lacks:
            self._lacks = False
            say("there is room on the disk again")


def say(words: str) -> None:
    """Writes a line to standard error, without what would move about on a terminal: members have said it."""
    line = "".join(c if c.isprintable() else " " for c in words)
    print(f"dtpnode: {line}", file=sys.stderr, flush=True)
