"""Calls that wait in a session and that its daemon keeps, so that they run where the session's process is killed.

A session numbers its calls from 0 in the order in which it sends them. What has waited for a moment it hands over
(ExchangeKeep in node/api/exchange.go), and says with each append up to which number it has come. It still sends all
calls itself for as long as it lives.
"""

import sys
import time
from array import array
from collections import deque
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Callable, Sequence

from ._errors import Error
from ._held import LateFuture

if TYPE_CHECKING:
    from ._session import Call

MOMENT = 0.1  # seconds that a call waits before it is handed over, to twice as many
MAX_FRAME = 8 << 20  # bytes of calls that are handed over at once, unless one is larger
MAX_KEPT = 256 << 20  # bytes of calls that are kept at a time. With MAX_ITEMS a job takes them all (1 GiB).
PAUSE = 5.0  # seconds after which it is tried again to have calls kept


Cancel = Callable[[LateFuture, int], bool]
"""Cancels the call of a future that is kept under a number; true if it never runs."""


class Kept:
    """Which of the calls that wait are kept. All of it is guarded by the session's lock."""

    def __init__(self, most: int | None) -> None:
        self.calls: "deque[Call]" = deque()  # handed over, and before all others that wait
        self.number = 0  # of the first call that waits
        self._most = most or 0
        self._until: int | None = None  # calls up to this number were handed over, and no answer has come yet
        self._again = False  # the next frame says that it is known that earlier ones were not kept
        self._pause = 0.0  # until then nothing is handed over
        self._sizes: "deque[tuple[int, int]]" = deque()  # of frames: the number behind the last call, and bytes
        self._size = 0  # of these
        self._seen, self._looked = 0, 0.0  # calls up to this number were there then
        # Of an append that is not answered, the calls that were not kept when it was made; None if they were cancelled.
        self._sent: "list[Call | None]" = []
        self._sent_first, self._sent_at, self._sent_kept = 0, 0.0, True
        self.cancelled: list[list[int]] = []  # of the calls that are just being handed over, as ranges of numbers
        self.why = ""  # calls are not kept
        self.told = False  # and their user knows it

    def append(self, first: int, calls: "list[Call | None]") -> None:
        """Is told of an append that was made, and of which of its calls were not kept; first is their first number."""
        self._sent, self._sent_first, self._sent_at, self._sent_kept = calls, first, time.monotonic(), not calls

    def answered(self) -> None:
        """Is told that all appends are in the job."""
        self._sent, self._sent_kept = [], True

    def told_kept(self, after: int, waiting: "deque[Call]", whole: bool) -> None:
        """Is told that calls up to a number are kept; whole says that no others are, nor are on their way to be."""
        if not whole:
            if self._until is not None and after >= self._until:
                self._until = None
            return
        self._until = None
        while self.number + len(self.calls) > max(after, self.number):
            call = self.calls.pop()
            if isinstance(call.future, LateFuture):
                call.future.keep_no_more()
            waiting.appendleft(call)
        while self._sizes and self._sizes[-1][0] > after:
            self._size -= self._sizes.pop()[1]
        self._sent_kept = not self._sent or after >= self._sent_first + len(self._sent)

    def refused(self, why: str) -> None:
        """Is told why calls were not kept, after told_kept."""
        self.why, self._again, self._pause = why, True, time.monotonic() + PAUSE

    def pause(self, why: Exception) -> None:
        """Is told that handing over has failed: where that is not for the connection it is not tried again at once."""
        if isinstance(why, Error):
            self._pause = time.monotonic() + PAUSE

    def wait(self, waiting: "deque[Call]", unanswered: bool) -> float | None:
        """In how many seconds it is time to look again whether something is to be handed over; None for never."""
        if self._until is not None or not (waiting or unanswered and not self._sent_kept):
            return None
        now = time.monotonic()
        due = self._looked + MOMENT
        if self._seen > self.number + len(self.calls):
            due = now
        return max(due, self._pause, now) - now

    def take(self, waiting: "deque[Call]", unanswered: bool, cancel: Cancel) -> list[dict[str, Any]]:
        """What is to be handed over now. Calls of waiting that are count as kept, also those that were cancelled, of
        which the daemon is to be told before (cancelled)."""
        self.cancelled = []
        now, frames = time.monotonic(), list[dict[str, Any]]()
        if self._until is not None or now < self._pause:
            return frames
        while self._sizes and self._sizes[0][0] <= self.number:
            self._size -= self._sizes.popleft()[1]
        old, late = self._seen, self._sent_at + MOMENT <= now
        if now - self._looked >= MOMENT:
            self._seen, self._looked = self.number + len(self.calls) + len(waiting), now
        first = self.number + len(self.calls)
        n = min(old - first, len(waiting))
        if n <= 0 and not (unanswered and not self._sent_kept and late):
            return frames
        if unanswered and not self._sent_kept:
            frames += self._frames_of_sent()
            self._sent_kept = True
        calls: "list[Call]" = []
        size, last = 0, b""
        for call in islice(waiting, max(n, 0)):
            more = len(call.arguments) + (0 if call.function is last else len(call.function))
            if calls and size + more > MAX_FRAME:
                break
            if self._size + size + more > MAX_KEPT:
                self._pause = now + PAUSE
                self.why = f"more than {MAX_KEPT >> 20} MiB of calls wait"
                break
            calls.append(call)
            size, last = size + more, call.function
        if calls:
            numbers = list[int]()
            for number, call in enumerate(calls, first):
                future = call.future
                if not future.keep(cancel, number) if isinstance(future, LateFuture) else future.cancelled():
                    numbers.append(number)
                waiting.popleft()
            self.cancelled = runs_of(numbers)
            self.calls.extend(calls)
            self._sizes.append((first + len(calls), size))
            self._size += size
            frames.append(self._frame(first, calls))
        if frames:
            self._until = frames[-1]["first"] + len(frames[-1]["ends"]) // 4
        return frames

    def _frames_of_sent(self) -> list[dict[str, Any]]:
        frames: list[dict[str, Any]] = []
        run: "list[Call]" = []
        for number, call in enumerate([*self._sent, None], self._sent_first):
            if call is not None:
                run.append(call)
            elif run:
                frames.append(self._frame(number - len(run), run))
                run = []
        return frames

    def _frame(self, first: int, calls: "Sequence[Call]") -> dict[str, Any]:
        heads: dict[bytes, int] = {}
        runs: list[list[int]] = []
        last: bytes | None = None
        for call in calls:
            if call.function is last:
                runs[-1][0] += 1
                continue
            last = call.function
            runs.append([1, heads.setdefault(last, len(heads))])
        tails = [call.arguments for call in calls]
        ends = array("I", accumulate(map(len, tails)))
        if sys.byteorder == "big":
            ends.byteswap()
        frame: dict[str, Any] = {
            "first": first, "heads": list(heads), "runs": runs, "ends": ends.tobytes(), "tails": b"".join(tails),
        }
        if self._most:
            frame["most"] = self._most
        if self._again:
            frame["again"], self._again = True, False
        return frame

    def clear(self) -> "list[Call]":
        """Takes the calls that are kept, which are not to be sent any more."""
        calls = list(self.calls)
        self.number += len(calls)
        self.calls.clear()
        return calls


def runs_of(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers in order as ranges, each from the first to the one behind the last."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][1] == n:
            runs[-1][1] = n + 1
        else:
            runs.append([n, n + 1])
    return runs
