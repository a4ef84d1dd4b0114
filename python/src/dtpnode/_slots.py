"""The results of a map. They are settled as futures are, but have no lock of their own, and take a tenth of the memory:
a map may have millions of them."""

import threading
from concurrent.futures import CancelledError, TimeoutError
from typing import Any, Callable

_PENDING, _RUNNING, _CANCELLED, _DONE, _RAISED, _LATER = range(6)


class Line:
    """The slots of one map, whose results one thread takes one after the other."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.settled = threading.Condition(self.lock)
        self.awaited: Slot | None = None  # the one whose result is waited for


class Slot:
    """The result of a call. Its methods are those of a future that a session and one who waits use."""

    __slots__ = ("_line", "_state", "_value", "size")

    def __init__(self, line: Line, size: int) -> None:
        self._line, self.size = line, size
        self._state = _PENDING
        self._value: Any = None  # the result, the error, or what gives them

    def cancel(self) -> bool:
        with self._line.lock:
            if self._state == _PENDING:
                self._state = _CANCELLED
                self._line.settled.notify_all()
            return self._state == _CANCELLED

    def done(self) -> bool:
        return bool(self._state >= _CANCELLED)

    def cancelled(self) -> bool:
        return self._state == _CANCELLED

    def set_running_or_notify_cancel(self) -> bool:
        with self._line.lock:
            if self._state == _CANCELLED:
                return False
            self._state = _RUNNING
            return True

    def set_result(self, value: Any) -> None:
        self._settle(_DONE, value)

    def set_exception(self, error: BaseException) -> None:
        self._settle(_RAISED, error)

    def set_later(
        self, load: "Callable[[], tuple[Any, BaseException | None]]", taken: "Callable[[], object] | None" = None
    ) -> None:
        """Settles it; load gives the result, or the exception, when somebody asks for it, and taken is told that it
        did. Where load raises, so does result, and the nodes keep what could not be read."""
        self._settle(_LATER, (load, taken))

    def _settle(self, state: int, value: Any) -> None:
        self._value = value
        self._state = state  # after the value: who sees the state reads it
        if self._line.awaited is self:
            with self._line.lock:
                self._line.settled.notify_all()

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the result, and returns it; it is called once."""
        if self._state < _CANCELLED:
            self._wait(timeout)
        state, value = self._state, self._value
        self._value = None
        if state == _LATER:
            load, taken = value
            value, error = load()
            if taken is not None:
                taken()
            if error is not None:
                state, value = _RAISED, error
        if state == _CANCELLED:
            raise CancelledError()
        if state == _RAISED:
            try:
                raise value
            finally:
                del value  # The error refers to this frame, which would refer to it.
        return value

    def _wait(self, timeout: float | None) -> None:
        line = self._line
        with line.lock:
            line.awaited = self  # before its state is looked at: who settles it looks in the other order
            try:
                if not line.settled.wait_for(lambda: self._state >= _CANCELLED, timeout):
                    raise TimeoutError()
            finally:
                line.awaited = None


class Told(Slot):
    """A slot that tells its size once it is settled, other than by cancel."""

    __slots__ = ("_tell",)

    def __init__(self, line: Line, size: int, tell: Callable[[int], object]) -> None:
        super().__init__(line, size)
        self._tell: Callable[[int], object] | None = tell

    def _settle(self, state: int, value: Any) -> None:
        super()._settle(state, value)
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(self.size)
