"""What a job's user is to know of the nodes before, or while, its calls run."""

import threading
import warnings
from typing import Any, Iterable

import httpx

from ._control import Control
from ._errors import Error, NodeWarning

FIRST, LAST = 0.1, 30.0  # seconds between looks, which are ever rarer
PATIENCE = 2.0  # seconds that a last look may take
OVER = ("done", "partial", "failed", "cancelled")


class Notes:
    """Warns of what nodes say of jobs, each sentence once a session: that a module is of another version there, or that
    a node takes no part, and why. It looks in a thread of its own, which ends with the last job."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._told: set[str] = set()
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
            except RuntimeError:  # of httpx: the client was closed meanwhile
                return
            try:
                self.tell(status.get("notes") or ())
            except NodeWarning:
                pass  # Its user has warnings raised, and nobody is here to catch it.
            over = over or status["state"] in OVER

