"""Frames on a socket, and the page that a process shares with the node: what exec/child/doc.go describes, in Python."""

import array
import faulthandler
import mmap
import os
import socket
import struct
from typing import Any

import msgpack

PROTOCOL = 1
MAX_FRAME = 256 << 20  # bytes

# The phases of a process, by the number that stands for each in its page. pyexec/runtime.go has the same list.
PHASES = (
    "idle",
    "load",
    "begin",
    "start",
    "open",
    "process",
    "reduce",
    "seal",
    "merge",
    "finish",
    "read",
    "add",
    "closed",
)

# An error of the user's code in one of these is the same on every node, so that it is the whole job's.
CODE_PHASES = frozenset(("load", "begin", "start", "finish"))


class Channel:
    """One end of a socket that carries frames, and descriptors beside them."""

    def __init__(self, fd: int) -> None:
        self.sock = socket.socket(fileno=fd)
        self.fds: list[int] = []  # that have come beside frames, and were not taken yet

    def _read(self, n: int) -> bytes:
        out = bytearray()
        while len(out) < n:
            part, more, _, _ = self.sock.recvmsg(min(n - len(out), 1 << 20), socket.CMSG_SPACE(32), socket.MSG_CMSG_CLOEXEC)
            for level, kind, data in more:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    got = array.array("i")
                    got.frombytes(data[: len(data) - len(data) % got.itemsize])
                    self.fds += got
            if not part:
                raise EOFError
            out += part
        return bytes(out)

    def read(self) -> dict[str, Any]:
        """The next frame; EOFError when the node is gone."""
        n = struct.unpack(">I", self._read(4))[0]
        if n > MAX_FRAME:
            raise EOFError
        return msgpack.unpackb(self._read(n), strict_map_key=False, unicode_errors="surrogateescape")

    def write(self, frame: dict[str, Any]) -> None:
        body = msgpack.packb(frame, unicode_errors="replace")
        self.sock.sendall(struct.pack(">I", len(body)) + body)


class Page:
    """The page that a process shares with the node, which reads it while the process runs and after it has crashed."""

    def __init__(self, fd: int) -> None:
        self._mem = mmap.mmap(fd, 4096)
        os.lseek(fd, 4096, os.SEEK_SET)
        faulthandler.enable(fd, all_threads=False)  # The stack of a crash is written behind the page.
        self._words = memoryview(self._mem).cast("Q")
        self._signed = memoryview(self._mem).cast("q")
        self._halves = memoryview(self._mem).cast("I")
        self.entry = -1

    def packet(self, number: int) -> None:
        self._words[0] = number

    @property
    def entry(self) -> int:
        return self._signed[1]

    @entry.setter
    def entry(self, n: int) -> None:
        self._signed[1] = n
        self._words[2] += 1

    def progress(self) -> None:
        self._words[2] += 1

    def stop(self) -> int:
        return self._words[3]

    @property
    def phase(self) -> str:
        return PHASES[self._halves[8]]

    @phase.setter
    def phase(self, name: str) -> None:
        self._halves[8] = PHASES.index(name)
        self.progress()
