"""Ends what nobody refers to any more, in a thread of its own.

Garbage is collected in whatever thread just runs, between any two of its steps. It may hold the very lock that the
ending takes, and would wait for itself; and what takes requests to a daemon must not hold up a stranger.
"""

import os
import queue
import threading
from typing import Callable

PATIENCE = 5.0  # seconds for which join waits at most


class Collected:
    """What is to be ended, in the order in which it was collected."""

    def __init__(self) -> None:
        self._ends: "queue.SimpleQueue[Callable[[], object]]" = queue.SimpleQueue()  # A put may interrupt another one.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread. It is called before there is anything that may be collected, as no collector can."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dtpnode-collected", daemon=True)
                self._thread.start()

    def add(self, end: Callable[[], object]) -> None:
        """Has something ended soon. It may be called by finalizers, in any thread, whatever that holds."""
        self._ends.put(end)

    def join(self) -> None:
        """Waits until all is ended that was added before, or a moment where a daemon does not answer."""
        if self._thread is None or threading.current_thread() is self._thread:
            return
        done = threading.Event()
        self._ends.put(done.set)
        done.wait(PATIENCE)

    def _run(self) -> None:
        while True:
            end = self._ends.get()
            try:
                end()
            except BaseException as e:  # As of what a finalizer raises, nobody else can be told.
                threading.excepthook(threading.ExceptHookArgs((type(e), e, e.__traceback__, self._thread)))
            del end


collected = Collected()
# A fork has no such thread, and what this process has made is not its own to end.
os.register_at_fork(after_in_child=collected.__init__)  # type: ignore[misc]
