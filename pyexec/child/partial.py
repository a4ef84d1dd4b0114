"""The file format of partials and results, which pyexec/partial.go reads and describes."""

import array
import os
import struct
from typing import Any, BinaryIO, Callable

MAGIC = b"dtppypar"
VERSION = 1
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


class Values:
    """Values of units as they come, kept in a file, since they may be more than memory holds."""

    def __init__(self, folder: str) -> None:
        path = os.path.join(folder, f".dtpnode-values-{os.getpid()}")
        self._file = open(path, "w+b", buffering=1 << 20)
        os.unlink(path)  # It goes with the process, however that ends.
        self._at = 0
        self._runs: list[tuple[int, int, int, array.array]] = []  # first, last, offset in the file, ends of the values

    def run(self, first: int) -> "Run":
        """Begins values of consecutive units, from first on."""
        return Run(self, first)

    def seal(self, f: BinaryIO, checks: int) -> int:
        """Writes all to f in the order of units, with their canary, and returns how many units these are."""
        self._file.flush()
        runs = sorted(self._runs, key=lambda r: r[0])
        units = sum(last - first for first, last, _, _ in runs)
        f.write(HEAD.pack(MAGIC, VERSION, VALUES, units, checks, len(runs)))
        for first, last, _, _ in runs:
            f.write(struct.pack("<qq", first, last))
        at = 0
        for _, _, _, ends in runs:
            f.write(array.array("Q", (at + e for e in ends)).tobytes())
            at += ends[-1] if ends else 0
        f.flush()
        for _, _, offset, ends in runs:
            _copy(self._file.fileno(), f.fileno(), offset, ends[-1] if ends else 0)
        return units


class Run:
    """Values of consecutive units that are being written."""

    def __init__(self, values: Values, first: int) -> None:
        self._values, self.first = values, first
        self._offset = values._at
        self._ends = array.array("Q")

    def add(self, value: bytes | memoryview) -> None:
        v = self._values
        v._file.write(value)
        v._at += len(value)
        self._ends.append(v._at - self._offset)

    def held(self) -> dict[str, Any]:
        """Where the values are, for whoever reads them while this process still has them."""
        self._values._file.flush()
        return {"fd": self._values._file.fileno(), "at": self._offset, "ends": self._ends.tolist()}

    def end(self) -> None:
        """Makes the values count; those of a run that is given up do not."""
        if self._ends:
            self._values._runs.append((self.first, self.first + len(self._ends), self._offset, self._ends))


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

