"""Blobs of items, of which exec/items.go has the layout: any item is read without the others."""

import contextlib
import mmap
import os
import struct

MAGIC = b"dtpitems"
HEAD = len(MAGIC) + 8  # bytes before the list of ends


class BadItems(Exception):
    """A file is no blob of items, or not the one that was appended."""


class Items:
    """An open blob of items: of a file at a path, or of bytes."""

    def __init__(self, blob: str | bytes) -> None:
        if isinstance(blob, bytes):
            self._mem: mmap.mmap | None = None
            self._view = memoryview(blob)
        else:
            self._mem = _map(blob)
            self._view = memoryview(self._mem)
        size = len(self._view)
        if size < HEAD:
            self.close()
            raise BadItems(f"it has {size} bytes, and is no blob of items")
        self.n = struct.unpack_from("<Q", self._view, len(MAGIC))[0]
        room = size - HEAD
        if self._view[: len(MAGIC)] != MAGIC or self.n > room // 8:
            self.close()
            raise BadItems(f"it has {size} bytes, and is no blob of {self.n} items")
        self._first = HEAD + 8 * self.n
        if self.n and self._end(self.n - 1) != size - self._first:
            self.close()
            raise BadItems(f"its {self.n} items do not end where the file does")

    def __len__(self) -> int:
        return self.n

    def _end(self, i: int) -> int:
        return struct.unpack_from("<Q", self._view, HEAD + 8 * i)[0]

    def __getitem__(self, i: int) -> memoryview:
        """The bytes of item i, from 0."""
        first, last = self._end(i - 1) if i else 0, self._end(i)
        if not 0 <= first <= last <= len(self._view) - self._first:
            raise BadItems(f"item {i} lies outside of the blob")
        return self._view[self._first + first : self._first + last]

    def close(self) -> None:
        """Lets go of the file. Where somebody still has the bytes of an item it stays in memory until nobody does: the
        frames of a call have them, and those outlast the call where its user keeps an exception, with its traceback,
        that was raised in it."""
        self._view.release()
        if self._mem is not None:
            with contextlib.suppress(BufferError):
                self._mem.close()


def _map(path: str) -> mmap.mmap:
    with open(path, "rb") as f:
        if os.fstat(f.fileno()).st_size == 0:
            raise BadItems("it has 0 bytes, and is no blob of items")
        return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
