"""Tells the daemon which large results were taken, so that it need not keep them."""

import contextlib
import os
import threading

import httpx

from ._control import Control
from ._errors import Error


class Takings:
    """Results that were taken, on their way to the daemon. A thread tells it of them, which ends when there are none;
    what does not get there is kept for nothing, and no more."""

    def __init__(self, control: Control) -> None:
        self._control, self._pid = control, os.getpid()
        self._lock = threading.Lock()
        self._taken: dict[str, list[tuple[int, int]]] = {}  # units and their bytes, by job
        self._telling = False

    def add(self, job: str, unit: int, size: int) -> None:
        """Tells that the result of a unit of a job was taken, which has so many bytes."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._taken.setdefault(job, []).append((unit, size))
            if self._telling:
                return
            self._telling = True
        threading.Thread(target=self._tell, name="dtpnode-taken", daemon=True).start()

    def _tell(self) -> None:
        while True:
            with self._lock:
                taken, self._taken = self._taken, {}
                if not taken:
                    self._telling = False
                    return
            for job, values in taken.items():
                with contextlib.suppress(Error, httpx.TransportError, RuntimeError):  # The client may have been closed.
                    self._control.call("POST", f"/v1/jobs/{job}/taken", {"values": values})
