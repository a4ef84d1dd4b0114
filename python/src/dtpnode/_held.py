"""Values that lie in files of this host, and the futures that read them when they are asked for."""

import contextlib
import errno
import io
import logging
import os
import tempfile
import threading
import weakref
from concurrent.futures import Future
from typing import Any, Callable

logger = logging.getLogger("concurrent.futures")  # as that of the standard library's futures

LAZY = 1 << 20  # bytes from which on a value stays in its file until it is asked for
MAX_FILES = 64  # that are kept open for values which wait
AT_ONCE = 8 << 20  # bytes of small values that are read at once
BUFFER = 64 << 10  # bytes
IN_MEMORY = 256 << 20  # bytes of values for which there is no file, at most


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
        self.values: "list[weakref.ref[Value]]" = []  # those that may wait in it

    def __del__(self) -> None:
        os.close(self.fd)

    def waiting(self) -> "list[Value]":
        """The values that wait in it."""
        return [v for v in (known() for known in self.values) if v is not None and v.file is self]

    def size_waiting(self) -> int:
        """The bytes of the values that wait in it."""
        return sum(v.size for v in self.waiting())

    def read(self, at: int, size: int) -> bytes:
        """Bytes from some byte on, all of which there must be."""
        out = io.BufferedReader(_Part(self, at, size)).read(size)
        if len(out) < size:
            raise Truncated(errno.EIO, "a file with results is cut off")
        return out


def has_no_name(file: "File") -> bool:
    """Whether only this process keeps a file on its disk. It has lost one whose descriptor something else has closed."""
    try:
        return os.fstat(file.fd).st_nlink == 0
    except OSError:
        return False


class Files:
    """The files of values that wait, each open once. It may be used by several threads."""

    def __init__(self) -> None:
        self._open: "weakref.WeakValueDictionary[tuple[int, int], File]" = weakref.WeakValueDictionary()
        self._moved: "weakref.WeakSet[File]" = weakref.WeakSet()  # those that values were moved to
        self._memory: "weakref.WeakSet[File]" = weakref.WeakSet()  # those of them that take memory
        self._moving = threading.Lock()
        self.short = False  # a node lacks room on its disk

    def known(self, file: File) -> File:
        """A file, which is the one that is open already if it is the same."""
        return self._open.setdefault(file.key, file)

    @property
    def many(self) -> bool:
        """Whether no more are to be kept open."""
        return len(self._open) > MAX_FILES

    def make_room(self) -> None:
        """Moves the values that wait out of files which only this process keeps on a disk, if a node lacks room, or if
        they take more of that disk than is free there: what has no room on it may be just what is asked for before
        them. They go to temporary files on another disk, or to memory, up to IN_MEMORY, where there is no other disk
        with room."""
        with self._moving:
            by_disk: dict[int, list[File]] = {}
            for known in self._open.valuerefs():
                file = known()
                if file is not None and file not in self._moved and has_no_name(file):
                    by_disk.setdefault(file.key[0], []).append(file)
            for files in by_disk.values():
                disk = os.fstatvfs(files[0].fd)
                if self.short or sum(f.size_waiting() for f in files) > disk.f_bavail * disk.f_frsize:
                    for file in files:
                        self._move(file)

    def _move(self, file: File) -> None:
        values = file.waiting()
        with contextlib.suppress(OSError), tempfile.TemporaryFile(buffering=0) as other:
            if os.fstat(other.fileno()).st_dev != file.key[0]:
                self._move_to(File(os.dup(other.fileno())), values)
                return
        if sum(f.size for f in self._memory) + file.size_waiting() <= IN_MEMORY:
            with contextlib.suppress(OSError):
                memory = File(os.memfd_create("dtpnode-results", os.MFD_CLOEXEC))
                self._memory.add(memory)
                self._move_to(memory, values)

    def _move_to(self, to: File, values: "list[Value]") -> None:
        self._moved.add(to)
        self._open[to.key] = to
        for value in values:
            value.move(to)


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
        self._where, self.size = (file, at), size
        file.values.append(weakref.ref(self))

    @property
    def file(self) -> File:
        """The file in which it is."""
        return self._where[0]

    def open(self) -> io.BufferedReader:
        """The value, to be read from its first byte on. What reads much of it at once gets that without a copy."""
        file, at = self._where
        return io.BufferedReader(_Part(file, at, self.size), BUFFER)

    def move(self, to: File) -> None:
        """Copies the value to the end of another file, and has it read there from then on."""
        file, at = self._where
        done = 0
        while done < self.size:
            done += os.write(to.fd, file.read(at + done, min(self.size - done, AT_ONCE)))
        self._where = to, to.size
        to.size += done


class LateFuture(Future[Any]):
    """A future whose result may stay in a file until somebody asks for it."""

    _load: "Callable[[], tuple[Any, BaseException | None]] | None" = None
    _taken: "Callable[[], object] | None" = None
    _late = False  # It has had a _load, which is gone once somebody has called it.
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

    def _invoke_callbacks(self) -> None:
        """Calls all done callbacks. What one raises is logged, as in the standard library, and here that of a sys.exit,
        too: it would end the thread that settles the futures of the whole session."""
        for callback in self._done_callbacks:  # type: ignore[attr-defined]
            try:
                callback(self)
            except KeyboardInterrupt:
                raise
            except BaseException:
                logger.exception("exception calling callback for %r", self)

    def set_later(
        self, load: "Callable[[], tuple[Any, BaseException | None]]", taken: "Callable[[], object] | None" = None
    ) -> None:
        """Settles the future; load gives the result, or the exception, when somebody asks for it, and taken is told
        that it did. Where load itself raises, the next one who asks has it try again."""
        self._load, self._taken, self._late = load, taken, True
        self.set_result(None)

    def result(self, timeout: float | None = None) -> Any:
        try:
            value = super().result(timeout)
            if not self._late:
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
        if not self._late:
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
