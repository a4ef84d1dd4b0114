"""Values that lie in files of this host, and the futures that read them when they are asked for."""

import errno
import io
import os
import weakref
from concurrent.futures import Future
from typing import Any, Callable

LAZY = 1 << 20  # bytes from which on a value stays in its file until it is asked for
MAX_FILES = 64  # that are kept open for values which wait
AT_ONCE = 8 << 20  # bytes of small values that are read at once
BUFFER = 64 << 10  # bytes


class Truncated(OSError):
    """A file does not have what it is said to have."""


class File:
    """A file with values, by its descriptor, which is closed when nobody refers to the file any more."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        about = os.fstat(fd)
        self.inode = about.st_ino
        self.key = about.st_dev, about.st_ino
        self.size = about.st_size

    def __del__(self) -> None:
        os.close(self.fd)

    def read(self, at: int, size: int) -> bytes:
        """Bytes from some byte on, all of which there must be."""
        out = io.BufferedReader(_Part(self, at, size)).read(size)
        if len(out) < size:
            raise Truncated(errno.EIO, "a file with results is cut off")
        return out


class Files:
    """The files of values that wait, each open once. It may be used by several threads."""

    def __init__(self) -> None:
        self._open: "weakref.WeakValueDictionary[tuple[int, int], File]" = weakref.WeakValueDictionary()

    def known(self, file: File) -> File:
        """A file, which is the one that is open already if it is the same."""
        return self._open.setdefault(file.key, file)

    @property
    def many(self) -> bool:
        """Whether no more are to be kept open."""
        return len(self._open) > MAX_FILES


class _Part(io.RawIOBase):
    """Some of a file, as a file."""

    def __init__(self, file: File, at: int, size: int) -> None:
        self._file, self._at, self._end = file, at, at + size

    def readable(self) -> bool:
        return True

    def readinto(self, to: Any) -> int:
        view = memoryview(to)[: self._end - self._at]
        if not view:
            return 0
        n = os.preadv(self._file.fd, [view], self._at)
        if n == 0:
            raise Truncated(errno.EIO, "a file with results is cut off")
        self._at += n
        return n


class Value:
    """A value in a file."""

    def __init__(self, file: File, at: int, size: int) -> None:
        self._file, self._at, self.size = file, at, size

    def open(self) -> io.BufferedReader:
        """The value, to be read from its first byte on. What reads much of it at once gets that without a copy."""
        return io.BufferedReader(_Part(self._file, self._at, self.size), BUFFER)


class LateFuture(Future[Any]):
    """A future whose result may stay in a file until somebody asks for it."""

    _load: "Callable[[], tuple[Any, BaseException | None]] | None" = None
    _taken: "Callable[[], object] | None" = None
    interrupted: "Callable[[], None] | None" = None  # is told of a KeyboardInterrupt while somebody waits for it
    _kept: "tuple[Callable[[LateFuture, int], bool], int] | None" = None
    _cancelling = False  # It is not handed over from then on.

    def cancel(self) -> bool:
        """Cancels the call if it is not on its way: it never runs then, also where this process is killed.

        A call that has waited for some tenths of a second is kept by the daemon, which is asked: that takes some
        milliseconds, and up to 5 minutes where the daemon does not answer, since nobody could promise it before. What
        must not wait, such as an event loop, calls it in a thread. ``shutdown(cancel_futures=True)`` of the executor
        cancels all that wait with one request."""
        with self._condition:
            kept = self._kept
            self._cancelling = self._cancelling or kept is None
        return super().cancel() if kept is None else kept[0](self, kept[1])

    def cancel_here(self) -> bool:
        """Cancels the call in this process alone."""
        return super().cancel()

    def keep(self, cancel: "Callable[[LateFuture, int], bool]", number: int) -> bool:
        """Notes that the daemon keeps the call under a number, and how it is cancelled then. False if it is cancelled
        already, or just being."""
        with self._condition:
            if self._cancelling or self.cancelled():
                return False
            self._kept = cancel, number
            return True

    def keep_no_more(self) -> None:
        """Notes that the daemon does not keep the call any more."""
        self._kept = None

    def set_later(
        self, load: "Callable[[], tuple[Any, BaseException | None]]", taken: "Callable[[], object] | None" = None
    ) -> None:
        """Settles the future; load gives the result, or the exception, when somebody asks for it, and taken is told
        that it did. Where load itself raises, the next one who asks has it try again."""
        self._load, self._taken = load, taken
        self.set_result(None)

    def result(self, timeout: float | None = None) -> Any:
        try:
            value = super().result(timeout)
            if self._load is None:
                return value
            self._read()
            return super().result()
        except KeyboardInterrupt:
            if self.interrupted is not None and not self.done():
                self.interrupted()
            raise
        finally:
            self = None  # type: ignore[assignment]  # An exception refers to this frame, as in the standard library.

    def exception(self, timeout: float | None = None) -> BaseException | None:
        error = super().exception(timeout)
        if self._load is None:
            return error
        try:
            self._read()
        except Exception as e:
            return e
        return super().exception()

    def _read(self) -> None:
        with self._condition:
            if self._load is None:
                return
            self._result, self._exception = self._load()
            self._load = None
            taken, self._taken = self._taken, None
        if taken is not None:
            taken()
