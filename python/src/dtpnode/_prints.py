"""What calls print, from the job's log to whoever wants it."""

import logging
import re
import sys
import threading
import time
from typing import Any, Callable

import httpx

from ._control import Control
from ._errors import Error

Output = Callable[[str, str], object]
"""Takes the name of a node, and whole lines that calls have printed there."""

MARKED = re.compile(r"^\.\.\. ([\d,]+) lines? \(([\d,]+) bytes\)(?= of .* w\w+ dropped here)", re.MULTILINE)
"""Begins a line of a log that counts what a node has dropped there."""
FAILED = "dtpnode: failed on "  # begins what a node writes to a log of a process that has failed, and four blanks go on
LINES = re.compile(r"[^\n]*\n|[^\n]+")
QUOTED = re.compile(r"^\| (?=(?:\| )*(?:dtpnode: failed on |\.\.\. [\d,]+ lines? \([\d,]+ bytes\) of ))", re.MULTILINE)
"""Begins a line that a call has printed and that looks like one of the node's own, for which the node has quoted it."""
QUOTED_MORE = re.compile(r"\| (?=(?:\| )*    )")
"""Begins one that looks as if it went on with the node's word of a failure, directly behind which it was printed."""
ENDED = re.compile(r" (?:\w+: )?abort: ")
"""Begins why, where what has failed is no process, but an exception of the user's has ended the job."""
ADDS = re.compile(r" exception: ")
"""Begins why, where it is an exception of what adds the values of a reduction: of all others it says what was done."""
STALLED = "no progress for "  # is in such a line of an item that was ended for the time it took
TRIES = 3  # of an item that ends its process
FEW = 3  # such failures that are told, a line each; the others are counted

logger = logging.getLogger("concurrent.futures")  # as that of the standard library's executors

AGAIN = 1.0  # seconds between attempts to follow a log
LAST = 1.0  # seconds in which jobs whose calls have all run may end
LOOKS, BETWEEN = 40, 0.05  # looks at a log that ends later, at most, and seconds between two
MARK = 1024  # characters at the end of what was passed on, by which one finds where to go on


def to_stdout(node: str, text: str) -> None:
    """Prints lines as they are, as those of processes of this host would come."""
    sys.stdout.write(text)
    sys.stdout.flush()


def printing(output: Output | None) -> None:
    """Refuses what cannot take lines, before anything has begun that would print some."""
    if output is not None and not callable(output):
        raise TypeError(
            f"output must be a callable that takes a node and text, or None, and not {type(output).__name__}: "
            f"{output!r}"
        )


def titled(name: str | None) -> None:
    """Refuses what is no title of a job."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a str, which is the job's title, and not {type(name).__name__}: {name!r}")


class Prints:
    """Follows the logs of the jobs of a session, each in a thread that ends with its job, or with join."""

    def __init__(self, control: Control, output: Output) -> None:
        self._control, self._output = control, output
        self._logs: list[_Log] = []
        self._lock = threading.Lock()
        self._told: set[str] = set()  # what has failed, of the first failures
        self._unadded = False  # It was told that values could not be added.
        self._more = 0  # failures of anything else
        self._first = ""  # job that was followed
        self._raised = False  # by output, which is told once

    def follow(self, job: str) -> None:
        self._first = self._first or job
        self._logs = [log for log in self._logs if log.thread.is_alive()]
        self._logs.append(_Log(self._control, self._printed, job))

    def join(self) -> None:
        """Passes on the last lines of jobs whose calls have all run, and then no more. Most jobs end at once then; one
        with much on its way to disks does so by itself."""
        until = time.monotonic() + LAST
        for log in self._logs:
            log.thread.join(max(until - time.monotonic(), 0))
        for log in self._logs:
            log.end()
        with self._lock:
            more, self._more = self._more, 0
        if more > 0:
            told = f"processes have failed {more:,} times more; `dtpnode logs {self._first[:12]}` tells of each"
            sys.stderr.write(f"dtpnode: session {self._first[:12]}: {told}\n")

    def _printed(self, node: str, text: str) -> None:
        """Passes on what calls have printed, of a part of a log."""
        text = self._calls(text)
        if not text:
            return
        try:
            self._output(node, text)
        except KeyboardInterrupt:
            raise
        except BaseException:  # What shows lines must not end what follows them, also not by a sys.exit.
            if not self._raised:
                self._raised = True
                logger.exception(
                    "output=%r has raised on lines that calls of session %s have printed: they are lost here, and "
                    "later ones are passed on to it; `dtpnode logs %s` has the last 256 KiB of each node",
                    self._output, self._first[:12], self._first[:12],
                )

    def _calls(self, text: str) -> str:
        """What calls have printed, of a part of a log. What a node has added of processes that have failed is told on
        standard error, in few lines: a future has it with the stack of its call."""
        if FAILED not in text and "| ... " not in text:
            return text
        out: list[str] = []
        failed = False
        for line in LINES.findall(text):  # splitlines would take what a call prints within a line for a line's end
            if line.startswith(FAILED):
                failed = True
                self._failure(line[len(FAILED) :].rstrip())
                continue
            if failed and line.startswith("    "):
                continue
            out.append((QUOTED_MORE if failed and QUOTED_MORE.match(line) else QUOTED).sub("", line, count=1))
            failed = False
        return "".join(out)

    def _failure(self, words: str) -> None:
        node, _, why = words.partition(":")
        if ENDED.match(why):
            return  # What has ended the job is raised by what waits for it.
        if adds := ADDS.match(why):
            self._adds(f"on {node.partition(' at item ')[0]}: {why[adds.end() :]}")
            return
        what = node.partition(" at item ")[2] or why  # An item is tried several times, and told once.
        with self._lock:
            if what in self._told:
                return
            if len(self._told) == FEW:
                self._more += 1
                return
            self._told.add(what)
        if STALLED in words and " at item " in node:
            words += f"; it is tried again, {TRIES} times in all"
        sys.stderr.write(f"dtpnode: session {self._first[:12]}: a process has failed on {words}\n")


    def _adds(self, words: str) -> None:
        """Tells once that values could not be added on a node: others try it, and what fails on all of these is raised
        by what waits for the sum."""
        with self._lock:
            if self._unadded:
                return
            self._unadded = True
        sys.stderr.write(f"dtpnode: session {self._first[:12]}: {words}\n")


class _Log:
    """The log of one job."""

    def __init__(self, control: Control, output: Output, job: str) -> None:
        self._control, self._output, self._job = control, output, job
        self._lock = threading.Lock()  # guards what follows, and is held while lines are passed on
        self._told: dict[str, str] = {}  # the end of what was passed on, by node
        self._lines: dict[str, tuple[int, int]] = {}  # lines and bytes passed on, or counted as dropped, by node
        self._over = False  # nothing more is
        self.thread = threading.Thread(target=self._follow, name="dtpnode-prints", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Looks what there is beyond what was passed on, until there is nothing: what processes print comes another way
        than their results, and may come a moment later. Then the log is followed no more."""
        try:
            for _ in range(LOOKS if self.thread.is_alive() else 0):
                if not self._look():
                    break
                time.sleep(BETWEEN)
        except (httpx.TransportError, Error):
            pass  # There is no daemon any more, or it does not know the job.
        with self._lock:
            self._over = True

    def _look(self) -> bool:
        """Passes on what is there now, and says whether something was new."""
        news = [self._pass(part, True) for part in self._control.stream(f"/v1/jobs/{self._job}/logs")]
        return any(news)

    def _pass(self, part: dict[str, Any], fresh: bool) -> bool:
        """Passes on lines of a node, and says whether there are any; fresh ones are of the log from its beginning."""
        node, text = part.get("node", ""), part.get("text", "")
        with self._lock:
            more = beyond(self._told.get(node, ""), text) if fresh else text
            more = self._since(node, more) if fresh and more == text else more
            self._count(node, more)
            self._told[node] = (self._told.get(node, "") + more)[-MARK:]
            if more and not self._over:
                self._output(part.get("name") or node, more)
            return bool(more)

    def _since(self, node: str, text: str) -> str:
        """A log from its beginning, which may say how much of it was dropped: less what was passed on of that."""
        mark = MARKED.match(text)
        lines, size = self._lines.get(node, (0, 0))
        if mark is None or lines == 0:
            return text
        n, b = number(mark[1]) - lines, number(mark[2]) - size
        if n <= 0:
            return text[text.index("\n") + 1 :]
        return f"... {n:,} line{'s' * (n > 1)} ({b:,} bytes)" + text[mark.end() :]

    def _count(self, node: str, text: str) -> None:
        lines, size = self._lines.get(node, (0, 0))
        lines, size = lines + text.count("\n"), size + len(text.encode("utf-8", "replace"))
        for mark in MARKED.finditer(text) if "\n... " in text or text.startswith("... ") else ():
            end = text.index("\n", mark.end())
            size -= len(text[mark.start() : end + 1].encode("utf-8", "replace"))
            lines, size = lines - 1 + number(mark[1]), size + number(mark[2])
        self._lines[node] = lines, size

    def _follow(self) -> None:
        while not self._over and self._control.ended() is None:
            fresh = set(self._told)  # nodes whose log comes from its beginning again
            try:
                for part in self._control.stream(f"/v1/jobs/{self._job}/logs", {"follow": "1"}):
                    if part.get("over"):
                        return
                    self._pass(part, part.get("node", "") in fresh)
                    fresh.discard(part.get("node", ""))
                return
            except httpx.TransportError:
                pass
            except Error:
                if not self._known():
                    return
            time.sleep(AGAIN)

    def _known(self) -> bool:
        """Whether a daemon that answers does not deny the job."""
        try:
            self._control.call("GET", f"/v1/jobs/{self._job}")
        except httpx.TransportError:
            return True
        except Error as e:
            return e.status != 404
        return True


def number(words: str) -> int:
    return int(words.replace(",", ""))


def beyond(end: str, text: str) -> str:
    """What a log has after a part of it that ends so."""
    at = text.rfind(end) if end else -1
    return text[at + len(end) :] if at >= 0 else text
