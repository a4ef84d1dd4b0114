"""The connection over which items go to a job and values come back; node/api/exchange.go describes it."""

import contextlib
import json
import struct
from typing import Any, Iterator, Mapping, Sequence

import httpx
import msgpack

from ._control import Control
from ._errors import Error
from ._held import File

PROTOCOL = "dtpnode-exchange"
MAX_APPEND = 256 << 20  # bytes of a frame with an append
READ = 1 << 20  # bytes that are read at once
_LENGTH = struct.Struct(">I")


class Exchange:
    """An exchange with one job, of results from the unit ``first`` on. One thread may send while another receives.
    With ``appends`` the job stays open for as long as this does, and a while longer."""

    def __init__(self, control: Control, job: str, first: int, appends: bool = True) -> None:
        self._stack = contextlib.ExitStack()
        try:
            path = f"/v1/jobs/{job}/exchange"
            asked = control.upgrade(path, PROTOCOL, first=first, held=1, appends="1" if appends else "")
            self._stream = self._stack.enter_context(asked)
        except BaseException:
            self._stack.close()
            raise
        try:
            self.send(0, [])  # From here on no descriptor is lost.
        except httpx.WriteError:  # What is to be read may say why.
            pass

    def send(
        self,
        seq: int,
        items: list[bytes],
        close: bool = False,
        near: Sequence[Mapping[str, Any]] = (),
        upto: int = 0,
        depends: bool = False,
    ) -> None:
        """Appends items, or closes the job. Seq counts the appends of the job from 1. Near says which nodes are faster
        with some of the items (NearItems of the schema), and upto is the number behind the last call, where calls have
        numbers. With depends each item begins with the units whose values it takes (exec/items.go)."""
        append: dict[str, Any] = {"seq": seq, "data": items, "close": close}
        if depends:
            append["depends"] = True
        if near:
            append["near"] = near
        if upto:
            append["upto"] = upto
        self._write(append)

    def keep(self, calls: Mapping[str, Any]) -> None:
        """Hands calls over that the daemon is to keep (ExchangeKeep of node/api/exchange.go)."""
        self._write({"seq": 0, "data": [], "close": False, "keep": calls})

    def _write(self, frame: Mapping[str, Any]) -> None:
        body = msgpack.packb(frame)
        self._stream.write(_LENGTH.pack(len(body)) + body)

    def answers(self) -> Iterator[dict[str, Any]]:
        """What the daemon tells, until the connection ends."""
        head, start, have = memoryview(bytearray(READ)), 0, 0  # head[start:have] was read and not used yet
        while True:
            if have - start < _LENGTH.size:
                head[: have - start] = head[start:have]
                start, have = 0, have - start
                n = self._stream.read_into(head[have:])
                if n == 0:
                    return
                have += n
                continue
            size = _LENGTH.unpack_from(head, start)[0]
            start += _LENGTH.size
            if have - start >= size:
                body = head[start : start + size]
                start += size
            else:  # a large one gets memory of its own, and is read there at once
                body = memoryview(bytearray(size))
                at = have - start
                body[:at] = head[start:have]
                start = have
                while at < size:
                    n = self._stream.read_into(body[at:])
                    if n == 0:
                        return
                    at += n
            answer: dict[str, Any] = msgpack.unpackb(body)
            for name in ("rest", "failed", "unkept"):
                if answer.get(name):
                    answer[name] = json.loads(answer[name])
            if answer.get("held"):
                answer["held"]["file"] = self._file(answer["held"]["inode"])
            yield answer

    def _file(self, inode: int) -> File:
        """The file that has come with a frame."""
        fd = self._stream.descriptor()
        if fd < 0:
            raise httpx.ReadError("the daemon has sent no file with its values")
        file = File(fd)
        if file.inode != inode:
            raise httpx.ReadError("the daemon has sent another file than that of its values")
        return file

    def shut(self) -> None:
        """Ends reading and sending, also for a thread that reads, which is then to close it."""
        with contextlib.suppress(Exception):
            self._stream.shut()

    def close(self) -> None:
        """Ends the connection, also for a thread that reads it. The job goes on."""
        self.shut()
        self._stack.close()


def refusal(said: dict[str, Any]) -> Error:
    """An error of the daemon, of its JSON."""
    return Error(str(said.get("error") or "the daemon refused"), str(said.get("hint") or ""))
