"""What calls print, from the job's log to whoever wants it."""

import sys
import threading
import time
from typing import Callable

import httpx

from ._control import Control
from ._errors import Error

Output = Callable[[str, str], object]
"""Takes the name of a node, and whole lines that calls have printed there."""

AGAIN = 1.0  # seconds between attempts to follow a log
LAST = 10.0  # seconds that the last lines are waited for
MARK = 1024  # characters at the end of what was passed on, by which one finds where to go on


def to_stdout(node: str, text: str) -> None:
    """Prints lines as they are, as those of processes of this host would come."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Prints:
    """Follows the logs of jobs, each in a thread that ends with its job."""

    def __init__(self, control: Control, output: Output) -> None:
        self._control, self._output = control, output
        self._threads: list[threading.Thread] = []

    def follow(self, job: str) -> None:
        self._threads = [t for t in self._threads if t.is_alive()]
        t = threading.Thread(target=self._follow, args=(job,), name="dtpnode-prints", daemon=True)
        self._threads.append(t)
        t.start()

    def join(self) -> None:
        """Waits for the last lines of jobs that have ended."""
        until = time.monotonic() + LAST
        for t in self._threads:
            t.join(max(until - time.monotonic(), 0))

    def _follow(self, job: str) -> None:
        told: dict[str, str] = {}  # the end of what was passed on, by node
        while True:
            fresh = set(told)  # nodes whose log comes from its beginning again
            try:
                for part in self._control.stream(f"/v1/jobs/{job}/logs", {"follow": "1"}):
                    if part.get("over"):
                        return
                    node, text = part.get("node", ""), part.get("text", "")
                    more = beyond(told[node], text) if node in fresh else text
                    fresh.discard(node)
                    told[node] = (told.get(node, "") + more)[-MARK:]
                    if more:
                        self._output(part.get("name") or node, more)
                return
            except httpx.TransportError:
                pass
            except Error:
                if not self._known(job):
                    return
            time.sleep(AGAIN)

    def _known(self, job: str) -> bool:
        """Whether a daemon that answers does not deny a job."""
        try:
            self._control.call("GET", f"/v1/jobs/{job}")
        except httpx.TransportError:
            return True
        except Error as e:
            return e.status != 404
        return True


def beyond(end: str, text: str) -> str:
    """What a log has after a part of it that ends so."""
    at = text.rfind(end) if end else -1
    return text[at + len(end) :] if at >= 0 else text
