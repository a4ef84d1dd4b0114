"""Reads the outputs of jobs in Python, which ``dtpnode get JOB -o FILE`` writes; pyexec/partial.go has their form."""

import bisect
import mmap
import os
import struct
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, BinaryIO, Iterator

from . import _unpickle
from ._errors import Error, ItemLost
from ._receiver import settle
from ._reduction import HEAD, Incomplete, exception, read

MAGIC, VERSION = b"dtppypar", 2
VALUES, SUM = 0, 1
RUN = struct.Struct("<qqQQ")  # first and last unit, where its values begin, how many bytes they have


def load(path: str | os.PathLike[str], *, partial: bool = False) -> Any:
    """What is in the output of a job in Python, the file that ``dtpnode get JOB -o FILE`` writes.

    Of a job that keeps a value of each item, as executors do, it is a mapping from the number of an item, from 0, to
    its future, which is settled; values are read when they are asked for. Items that were lost are not in it. Of a
    reduction it is the total: if items are missing in it the exception of the first is raised, or ``Incomplete``, unless
    ``partial`` says that the total of the others will do. Of a source with ``reduce`` it is what that has given. Values
    are pickles: load files only of jobs whose code you trust. A file that is no such output is an ``Error``.
    """
    with open(path, "rb") as f:
        head = f.read(HEAD)
        if len(head) < HEAD or head[:8] != MAGIC or head[8] != VERSION or head[9] not in (VALUES, SUM):
            raise Error(f"{os.fspath(path)} is no output of a job in Python that this version of the package reads",
                        "`dtpnode get JOB -o FILE` writes one")
        if head[9] == VALUES:
            return Loaded(f, struct.unpack_from("<Q", head, 16)[0], struct.unpack_from("<Q", head, 32)[0])
        f.seek(0)
        found = read(f)
    return total(found, partial) if is_sum(found) else found


def is_sum(found: Any) -> bool:
    """Whether a value is the sum of a reduction, of which _sums.py has the form."""
    if not isinstance(found, tuple) or len(found) != 4:
        return False
    value, counted, ends, raised = found
    return (
        (value is None or isinstance(value, tuple) and len(value) == 1)
        and type(counted) is int
        and (ends is None or isinstance(ends, tuple) and len(ends) == 2 and isinstance(ends[1], bytes))
        and (raised is None or isinstance(raised, tuple) and len(raised) == 2 and isinstance(raised[0], dict))
    )


def total(found: Any, partial: bool) -> Any:
    """The total of a reduction's sum."""
    value, counted, ends, raised = found
    if raised is not None and not (partial and value is not None):
        raise exception(raised[1][0])
    if (ends is None or counted != ends[0]) and not partial:
        of = "" if ends is None else f" of {ends[0]:,}"
        raise Incomplete(f"the total is that of {counted:,} items{of}", "load(..., partial=True) returns it")
    tail: tuple[Any, ...] = _unpickle.loads(ends[1]) if ends is not None else ()  # (op,) or (op, initial)
    if value is None:
        if len(tail) < 2:
            raise ItemLost("there is no total: no item has a value")
        return tail[1]
    return tail[0](tail[1], value[0]) if len(tail) == 2 else value[0]


class Loaded(Mapping[int, "Future[Any]"]):
    """The futures of the items in an output, by their numbers, all of them settled."""

    def __init__(self, f: BinaryIO, units: int, runs: int) -> None:
        self._units = units
        self._mem = memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ))
        (self._at,) = struct.unpack_from("<Q", self._mem, len(self._mem) - 8)
        if self._at + runs * RUN.size + 8 * units + 8 != len(self._mem):
            raise Error("the file is cut off, or was changed", "get it again")
        self._runs: list[tuple[int, int, int, int, int]] = []  # as RUN, and how many units are before it
        before = 0
        for i in range(runs):
            first, last, at, size = RUN.unpack_from(self._mem, self._at + i * RUN.size)
            self._runs.append((first, last, at, size, before))
            before += last - first
        self._ends = self._at + runs * RUN.size

    def __getitem__(self, number: int) -> "Future[Any]":
        i = bisect.bisect_right(self._runs, number, key=lambda run: run[0]) - 1
        if i < 0 or number >= self._runs[i][1]:
            raise KeyError(number)
        first, _, at, _, before = self._runs[i]
        index = self._ends + 8 * (before + number - first)
        (end,) = struct.unpack_from("<Q", self._mem, index)
        begin = struct.unpack_from("<Q", self._mem, index - 8)[0] if number > first else 0
        future: Future[Any] = Future()
        settle(future, bytes(self._mem[at + begin : at + end]))
        return future

    def __iter__(self) -> Iterator[int]:
        for first, last, *_ in self._runs:
            yield from range(first, last)

    def __len__(self) -> int:
        return self._units

    def __repr__(self) -> str:
        return f"<dtpnode.Loaded: {self._units:,} items>"
