"""The file format of partials and results, which pyexec/partial.go reads and describes."""

import array
import errno
import os
import struct
from pickle import PickleBuffer
from typing import Any, BinaryIO, Callable

MAGIC = b"dtppypar"
VERSION = 2
VALUES, SUM = 0, 1  # what is in a file: a value of each unit, or one sum of all
HEAD = struct.Struct("<8sBB6xQQQ")  # magic, version, mode, units, canary, how many runs of units, or sums

MASK = (1 << 64) - 1


def _mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


def canary(job: int, first: int, last: int) -> int:
    """tasks.Canary: the checksum of a packet of the units [first, last)."""
    return _mix(_mix(_mix(job) ^ first) ^ last)


LARGE = 64 << 10  # bytes: what has as many is written at once, and what has fewer is gathered
GATHERED = 1 << 20  # bytes that are gathered before they are written


class NotWritten(Exception):
    """The disk does not take a value."""


class NoMemory(MemoryError):
    """There is no memory for what the process does with a value itself: nothing that the user's code has raised."""


def refused(e: OSError, folder: str) -> str:
    """Why the disk of a folder takes no more, in words that name the disk by where it is mounted."""
    why = os.strerror(e.errno or 0)
    disk = os.path.realpath(folder)
    while not os.path.ismount(disk):
        disk = os.path.dirname(disk)
    if e.errno != errno.ENOSPC:
        return f"the disk of {disk} takes no values: {why}"
    try:
        have = os.statvfs(disk)
    except OSError:
        return f"the disk of {disk} is full: {why}"
    free, whole = have.f_bavail * have.f_frsize >> 20, have.f_blocks * have.f_frsize >> 20
    return f"the disk of {disk} is full, with {free} of {whole} MiB free: {why}"


class Values:
    """Values of units as they come. They are in a file, since they may be more than memory holds, and that file becomes
    the partial as it is: values are written once."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._fd, self._linked = _nameless(folder)
        self._gathered = bytearray(HEAD.size)
        self._written = 0  # bytes in the file
        self._runs: list[tuple[int, int, int, int, array.array]] = []  # first, last, at, bytes, ends of the values
        self.closed = False  # nothing is written any more

    @property
    def at(self) -> int:
        """How many bytes there are."""
        return self._written + len(self._gathered)

    def run(self, first: int) -> "Run":
        """Begins values of consecutive units, from first on."""
        return Run(self, first)

    def write(self, data: Any) -> int:
        """Writes bytes behind all others: of a pickler, which hands over large buffers as they are."""
        if isinstance(data, PickleBuffer):
            data = data.raw()
        n = len(data)
        if n >= LARGE:
            self.flush()
            self._put(data)
        else:
            self._gathered += data
            if len(self._gathered) >= GATHERED:
                self.flush()
        return n

    def flush(self) -> None:
        """Has all in the file."""
        if self._gathered:
            self._put(self._gathered)
            self._gathered = bytearray()

    def cut(self, at: int) -> None:
        """Takes back what was written from some byte on, also what the disk took of it before it took no more."""
        del self._gathered[max(at - self._written, 0) :]
        self._written = min(self._written, at)
        os.ftruncate(self._fd, self._written)

    def _put(self, data: Any) -> None:
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                try:
                    done += os.pwrite(self._fd, view[done:], self._written + done)
                except OSError as e:
                    raise NotWritten(refused(e, self._folder)) from None
            self._written += done

    def end(self, first: int, at: int, ends: "array.array[int]") -> None:
        """Makes the values of a run count."""
        self._runs.append((first, first + len(ends), at, ends[-1], ends))

    def back(self) -> None:
        """Has the values of the last run not count."""
        self._runs.pop()

    def held(self) -> int:
        """The descriptor of the file, in which all is that was written."""
        self.flush()
        return self._fd

    def close(self) -> None:
        """Ends the values: their index is written, and nothing behind it. Where the disk does not take the index there
        is none, and more can be written."""
        if self.closed:
            return
        runs = sorted(self._runs, key=lambda r: r[0])
        index = self.at
        try:
            self._index(runs, index)
        except NotWritten:
            self.cut(index)
            raise
        self.closed = True

    def _index(self, runs: "list[tuple[int, int, int, int, array.array[int]]]", index: int) -> None:
        for first, last, at, size, _ in runs:
            self.write(struct.pack("<qqqq", first, last, at, size))
        for r in runs:
            self.write(r[4].tobytes())
        self.write(struct.pack("<Q", index))
        self.flush()

    def seal(self, path: str, checks: int) -> int:
        """Makes a partial at path, with the canary of the units, and returns how many these are."""
        self.close()
        units = sum(r[1] - r[0] for r in self._runs)
        os.pwrite(self._fd, HEAD.pack(MAGIC, VERSION, VALUES, units, checks, len(self._runs)), 0)
        if not self._link(path):
            place(path, lambda f: _copy(self._fd, f.fileno(), 0, self._written))
        return units

    def _link(self, path: str) -> bool:
        """Gives the file a name, where that can be done."""
        if not self._linked:
            return False
        temp = f"{path}.tmp{os.getpid()}"
        try:
            # Only with a folder given does Python ask the system to follow the link, which has no name to follow to.
            fds = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.link(str(self._fd), temp, src_dir_fd=fds, follow_symlinks=True)
            finally:
                os.close(fds)
        except OSError:  # Such as another file system, or one that has no such files.
            return False
        os.rename(temp, path)
        return True


class Run:
    """Values of consecutive units that are being written. What is written is of the value that is next."""

    def __init__(self, values: Values, first: int) -> None:
        self._values, self.first = values, first
        self._first_at = self._at = values.at  # where the run begins, and where the next value does
        self._ends = array.array("Q")
        self.room = 0  # for bytes of values that are wanted in memory, too
        self._parts: list[bytes] = []  # of the next value, as long as there is room

    def write(self, data: Any) -> int:
        n = self._values.write(data)
        self.room -= n
        if self.room >= 0:
            self._parts.append(bytes(data))
        return n

    def back(self) -> None:
        """Takes back what was written of a value."""
        self.room += self._values.at - self._at
        self._values.cut(self._at)
        self._parts.clear()

    def next(self) -> bytes:
        """Ends a value. It is returned if there was room for it."""
        self._at = self._values.at
        self._ends.append(self._at - self._first_at)
        value = b"".join(self._parts)
        self._parts.clear()
        return value

    def held(self) -> dict[str, Any]:
        """Where the values are, for whoever reads them while this process still has them."""
        return {"fd": self._values.held(), "at": self._first_at, "ends": self._ends.tolist()}

    def end(self) -> None:
        """Makes the values count; those of a run that is given up do not."""
        if self._ends:
            self._values.end(self.first, self._first_at, self._ends)

    def close(self) -> int:
        """Ends all values where the disk takes no more, and returns how many of this run there are. The last of them
        are given up as far as the disk needs that to take the index."""
        while True:
            self._values.cut(self._at)
            self.end()
            try:
                self._values.close()
                return len(self._ends)
            except NotWritten:
                if not self._ends:
                    raise
                self._values.back()
                del self._ends[-max(len(self._ends) // 8, 1) :]
                self._at = self._first_at + (self._ends[-1] if self._ends else 0)


def _nameless(folder: str) -> tuple[int, bool]:
    """Opens a file in a folder that goes with the process, however that ends, and says whether it can get a name."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), True
    except OSError as e:
        if e.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    path = os.path.join(folder, f".dtpnode-values-{os.getpid()}")
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd, False


def _copy(src: int, dst: int, offset: int, size: int) -> None:
    while size > 0:
        n = os.copy_file_range(src, dst, min(size, 1 << 30), offset_src=offset)
        if n == 0:
            raise OSError("the values that a process has kept are cut off")
        offset, size = offset + n, size - n


def write_sum(
    f: BinaryIO, units: int, checks: int, total: tuple[Any] | None, dump: Callable[[Any, BinaryIO], None]
) -> None:
    """Writes a sum, or none where no unit was run."""
    f.write(HEAD.pack(MAGIC, VERSION, SUM, units, checks, 0 if total is None else 1))
    if total is not None:
        dump(total[0], f)


def read_sum(f: BinaryIO, path: str) -> tuple[int, int, bool]:
    """The units and the canary of a file, and whether there is a pickled sum, at which f stands then; there is none
    where no unit was run."""
    head = f.read(HEAD.size)
    if len(head) < HEAD.size:
        raise ValueError(f"{path} is no partial: it has {len(head)} bytes")
    magic, version, mode, units, checks, n = HEAD.unpack(head)
    if magic != MAGIC or version != VERSION or mode != SUM or n > 1:
        raise ValueError(f"{path} is no partial with a sum")
    return units, checks, bool(n)


def place(path: str, fill: Callable[[BinaryIO], Any]) -> None:
    """Writes a file at path that appears there whole or not at all."""
    temp = f"{path}.tmp{os.getpid()}"
    try:
        with open(temp, "wb", buffering=1 << 20) as f:
            fill(f)
        os.rename(temp, path)
    except BaseException:
        try:
            os.unlink(temp)
        except OSError:
            pass
        raise

