"""What a job's user is to know of the nodes before, or while, its calls run."""

import threading
import warnings
from typing import Any, Iterable

import httpx

from ._control import Control
from ._errors import Error, NodeWarning

FIRST, LAST = 0.1, 30.0  # seconds between looks, which are ever rarer
OVER = ("done", "partial", "failed", "cancelled")


class Notes:
    """Warns of what nodes say of jobs, each sentence once a session: that a module is of another version there, or that
    a node takes no part, and why. It looks in a thread of its own, which ends with the last job."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._end = threading.Event()

    def tell(self, notes: Iterable[str]) -> None:
        """Warns of sentences that were not told yet."""
        for note in notes:
            with self._lock:
                if note in self._told:
                    continue
                self._told.add(note)
            warnings.warn(note, NodeWarning, stacklevel=2)

    def follow(self, status: dict[str, Any]) -> None:
        """Tells what is known of a job, and what becomes known."""
        self.tell(status.get("notes") or ())
        threading.Thread(target=self._follow, args=(status["id"],), name="dtpnode-notes", daemon=True).start()

    def close(self) -> None:
        self._end.set()

    def _follow(self, job: str) -> None:
        wait = FIRST
        while not self._end.wait(wait):
            wait = min(2 * wait, LAST)
            try:
                status = self._control.call("GET", f"/v1/jobs/{job}")
            except (Error, httpx.TransportError):
                continue  # The daemon may come back.
            except RuntimeError:  # of httpx: the client was closed meanwhile
                return
            try:
                self.tell(status.get("notes") or ())
            except NodeWarning:
                pass  # Its user has warnings raised, and nobody is here to catch it.
            if status["state"] in OVER:
                return

