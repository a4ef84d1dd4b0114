"""What runs on the nodes of a graph of dask: units of tasks, and the values that these hand to each other.

It is shipped by value, so that nodes need dask and not this package, and so it imports nothing of it.

An item is, behind the links that the daemon reads (exec/items.go), a byte and what it says:

    S  what units of the same append share, each as a pickle: four bytes, how many there are, little-endian, eight bytes
       for each with where it ends, counted from the end of this list, and the pickles. Nothing is run. It is the first
       item of its append.
    U  a unit: the pickle of its number in the job and of its program (_graph.py), in which persistent ids are places in
       what is shared

A value that another unit takes is kept by the node's daemon, which this process tells over a socket (the environment
variable DTPNODE_VALUES) in which file the value is. It is laid out so that what is large in it is read where it lies:

    1 byte          0, or 1 for an exception in the place of a value: its unit has ended so, and each that takes it
                    does; the value is what Raised.sent gives then
    3 bytes         nothing
    4 bytes         n, how many buffers there are, little-endian as all numbers
    8 bytes         bytes of the pickle
    n times 8 bytes bytes of each buffer
                    the pickle, then each buffer, which begins at a multiple of 64 bytes

Values may be lost with the nodes that have them. Whoever needs one then makes it again, by its unit, with what that
needs in turn.

A unit may take values of another job, whose graph was persisted. They are that job's still: the daemon is told its name
with each request, and what is made again is kept for it.

A task that raises ends its unit, and with it the graph that was to be computed. In a graph that is persisted it ends
nothing but what takes its value: its exception stands in the place of that value, and all other values are kept.
"""

import contextlib
import hashlib
import io
import mmap
import os
import pickle
import socket
import struct
import sys
import time
import traceback
from collections import OrderedDict
from typing import Any, Callable, Iterable, Iterator

from ._excepted import pickled, with_notes  # which are shipped by value, too
from ._unpicklable import unpicklable as in_the_way
from ._wrapped import dumps

SHARED, UNIT = b"S", b"U"
ALIGNED = 64  # bytes, at a multiple of which values and buffers begin
APART = 4096  # bytes of a buffer that is not copied into the pickle
MAPPED = 64 << 10  # bytes of a value that is mapped and not read
RECENT = 128 << 20  # bytes of values that a process has at hand
SHARES = 32 << 20  # bytes of pickles of what is shared, that a process has at hand as objects
PACK = 64 << 20  # bytes of a file of values, behind which another one is begun
MAX_FRAME = 64 << 20  # bytes
TRIES, PAUSE = 5, 0.5  # attempts to have what nobody had a moment ago, and seconds between them
UNKNOWN = 20  # attempts to find an earlier job: a node that has just come back hears of its jobs soon

FRAMES = 100  # of the traceback of a task in a persisted graph, the last

_HEAD = "<BxxxIQ"  # of a value

Where = tuple[int, int] | tuple[int, int, str]  # a unit, which of its exports, and its job, if that is another one


def on_node() -> bool:
    """Whether this is a process of a node, and not one of a user."""
    return "DTPNODE_VALUES" in os.environ


def stored(job: str, unit: int, slot: int, key: Any) -> Any:
    """A Stored (_stored.py) that has come from another process; on a node, where it is."""
    if on_node():
        return unit, slot, job
    from dtpnode import _persisted  # This function itself may have been sent by value.

    return _persisted.known(job, unit, slot, key)


def persisted(value: Any) -> Any:
    """The value of a Stored. It is the task that stands for it in a graph, which our own scheduler does not run: units
    take the value from where it is."""
    if on_node():
        return process().take([value], (), 0)[0]
    from dtpnode import _persisted

    return _persisted.bring(value)


def same(value: Any) -> Any:
    """What it is given."""
    return value


def pack_shared(pickles: list[bytes]) -> bytes:
    """The item of what units of an append share."""
    ends, at = [], 0
    for p in pickles:
        at += len(p)
        ends.append(at)
    return b"".join((SHARED, struct.pack("<I", len(pickles)), struct.pack(f"<{len(ends)}Q", *ends), *pickles))


def body(item: Any) -> memoryview:
    """An item without its links."""
    view = memoryview(item)
    return view[4 + 8 * int.from_bytes(view[:4], "little") :]


class Remembered:
    """Things that were used lately, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._things: "OrderedDict[Any, tuple[Any, int]]" = OrderedDict()

    def get(self, key: Any) -> tuple[Any] | None:
        found = self._things.get(key)
        if found is None:
            return None
        self._things.move_to_end(key)
        return (found[0],)

    def add(self, key: Any, thing: Any, size: int) -> None:
        self.drop(key)
        if size > self._most:
            return
        self._things[key] = thing, size
        self._size += size
        while self._size > self._most:
            self._size -= self._things.popitem(last=False)[1][1]

    def drop(self, key: Any) -> None:
        found = self._things.pop(key, None)
        if found is not None:
            self._size -= found[1]


class Raised:
    """An exception in the place of a value, and its traceback, if it was raised in this unit."""

    def __init__(self, error: BaseException, trace: str = "") -> None:
        self.error, self.trace = error, trace

    def sent(self) -> tuple[bytes | str, str]:
        """Its pickle, or in words why there is none, and itself in words."""
        if isinstance(self.error, Unreadable):
            return self.error.sent, self.error.words
        return pickled(self.error, dumps), with_notes(self.error)

    @classmethod
    def of(cls, sent: bytes | str, words: str) -> "Raised":
        """What another process has sent."""
        if not isinstance(sent, bytes):
            return cls(Unreadable(words, sent))
        try:
            error = pickle.loads(sent)
        except MemoryError:
            raise
        except BaseException:
            return cls(Unreadable(words, sent))
        return cls(error if isinstance(error, BaseException) else Unreadable(words, sent))

    def told(self, key: Any) -> bytes:
        """It as the client is told of it, which reads it with _receiver.remade."""
        sent, words = self.sent()
        return pickle.dumps((sent, words, self.trace or words, f"in the task {key!r}"), 5)


class Unreadable(Exception):
    """Stands for an exception of another process that cannot be made again in this one. It travels on as what that has
    sent, and to a client it is what that comes to there."""

    def __init__(self, words: str, sent: bytes | str) -> None:
        super().__init__(words)
        self.words, self.sent = words, sent

    def __reduce__(self) -> tuple[Any, ...]:
        return unreadable, (self.words, self.sent)


def unreadable(words: str, sent: bytes | str) -> BaseException:
    """An Unreadable that has come from another process."""
    if on_node():
        return Unreadable(words, sent)
    from dtpnode import _errors  # This function itself may have been sent by value.

    return _errors.unpickled(sent, words)


class Blob:
    """All items of an append in a file, as exec/items.go has them."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as f:
            self._view = memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ))
        self._n = int.from_bytes(self._view[8:16], "little")

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> memoryview:
        base = 16 + 8 * self._n
        first = int.from_bytes(self._view[8 + 8 * i : 16 + 8 * i], "little") if i else 0
        last = int.from_bytes(self._view[16 + 8 * i : 24 + 8 * i], "little")
        return self._view[base + first : base + last]


class Reader(pickle.Unpickler):
    """Reads a unit."""

    def __init__(self, data: Any, shared: Callable[[int], Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._shared = shared

    def persistent_load(self, pid: int) -> Any:
        return self._shared(pid)


class Unread(Exception):
    """The daemon does not do what it was asked for."""


class Over(Exception):
    """The job whose values are asked for is not known to the daemon, or is over."""


class Daemon:
    """The daemon's side of the values, over its socket."""

    def __init__(self, path: str) -> None:
        import msgpack

        self._packed, self._unpacked = msgpack.packb, msgpack.unpackb
        self._path = path
        self._socket: socket.socket | None = None

    def ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Sends a request, and returns the answer. A connection that has broken off is made anew once."""
        data = self._packed(frame)
        for again in (True, False):
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    self._socket.connect(self._path)
                self._socket.sendall(struct.pack(">I", len(data)) + data)
                size = int.from_bytes(self._read(4), "big")
                if size > MAX_FRAME:
                    raise OSError(f"the daemon sends a frame of {size} bytes")
                answer: dict[str, Any] = self._unpacked(self._read(size), strict_map_key=False)
                break
            except OSError as e:
                if self._socket is not None:
                    self._socket.close()
                self._socket = None
                if not again:
                    raise Unread(f"the daemon of this node does not answer: {e}") from e
        if answer.get("op") == "failed":
            raise (Over if answer.get("over") else Unread)(str(answer.get("why")))
        return answer

    def _read(self, n: int) -> bytearray:
        assert self._socket is not None
        out = bytearray(n)
        view, have = memoryview(out), 0
        while have < n:
            got = self._socket.recv_into(view[have:])
            if got == 0:
                raise OSError("it has closed the connection")
            have += got
        return out


class Pack:
    """A file of values in the working folder, to whose end they are written."""

    def __init__(self, folder: str, name: str) -> None:
        self.path = os.path.join(folder, name)
        self._fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_APPEND, 0o600)
        self.size = 0

    def write(self, parts: list[Any]) -> tuple[int, int, bytes]:
        """Writes a value of some parts, and returns where it is, its bytes and their hash."""
        if pad := -self.size % ALIGNED:
            self._put(bytes(pad))
        at, told = self.size, hashlib.sha256()
        for part in parts:
            told.update(part)
            self._put(part)
        return at, self.size - at, told.digest()

    def _put(self, part: Any) -> None:
        view = memoryview(part).cast("B")
        while view.nbytes:
            try:
                n = os.write(self._fd, view[: 1 << 30])
            except OSError as e:
                raise Unread(f"could not write a value to {self.path}: {e.strerror}") from None
            self.size += n
            view = view[n:]

    def close(self) -> None:
        os.close(self._fd)


def parts_of(value: Any, kind: int = 0) -> list[Any]:
    """A value as it is written. What is large in it is not copied."""
    import cloudpickle

    buffers: list[memoryview] = []

    def within(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < APART:
            return True
        buffers.append(raw)
        return False

    out = io.BytesIO()
    cloudpickle.Pickler(out, 5, buffer_callback=within).dump(value)
    pickled = out.getbuffer()
    sizes = struct.pack(f"<{len(buffers)}Q", *(b.nbytes for b in buffers))
    parts: list[Any] = [struct.pack(_HEAD, kind, len(buffers), pickled.nbytes) + sizes, pickled]
    at = len(parts[0]) + pickled.nbytes
    for b in buffers:
        parts += (bytes(-at % ALIGNED), b)
        at += -at % ALIGNED + b.nbytes
    return parts


def value_of(data: memoryview) -> Any:
    """A value as it was written, or a Raised. Its buffers are parts of data."""
    kind, n, size = struct.unpack_from(_HEAD, data)
    sizes = struct.unpack_from(f"<{n}Q", data, struct.calcsize(_HEAD))
    at = struct.calcsize(_HEAD) + 8 * n
    pickled = data[at : at + size]
    at += size
    buffers = []
    for b in sizes:
        at += -at % ALIGNED
        buffers.append(data[at : at + b])
        at += b
    value = pickle.loads(pickled, buffers=buffers)
    return Raised.of(*value) if kind else value


def read(path: str, at: int, size: int) -> Any:
    """A value in a file. A task that writes into what it takes, which none may, writes into its own copy."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if size < MAPPED:
            data = bytearray(size)
            if os.preadv(fd, [data], at) < size:
                raise Unread(f"the file {path} lacks a value")
            return value_of(memoryview(data))
        before = at % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(fd, before + size, access=mmap.ACCESS_COPY, offset=at - before)
        return value_of(memoryview(mapped)[before:])
    finally:
        os.close(fd)


def made_by(w: Where) -> tuple[int, str]:
    """The unit that makes a value, and its job, which is empty for this process's own."""
    return w[0], w[2] if len(w) > 2 else ""


class Process:
    """What a process that runs units keeps between them."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        path = os.environ.get("DTPNODE_VALUES")
        self.daemon = Daemon(path) if path else None
        self.recent = Remembered(RECENT)  # values, by where they are
        self.shared = Remembered(SHARES)  # by their pickles
        self._open: dict[str, Pack] = {}  # by the jobs whose values are written there; "" is this process's own
        self._packs = 0
        self.ran = 0  # units
        self.theirs: BaseException | None = None  # what a task has raised, and not this process for the want of memory

    # --- units

    def run(self, item: Any, blob: Any, at: int) -> dict[Any, Any] | None:
        """Runs a unit, and returns the values that were asked for."""
        if body(item)[:1] == SHARED:
            return None
        number, program = self.program(item, blob)
        run = Run(self, number, program)
        self.ran += 1
        try:
            try:
                return run.run(self.found(program[0], blob, number - at))
            except BaseException as e:
                for where in program[0]:  # A task may have begun to change what it takes, and the unit may run again.
                    self.recent.drop(where)
                if isinstance(e, Unread):
                    raise not_written(str(e)) from None
                if not self.is_own(e):
                    run.keep_raised(e)
                raise
        except MemoryError as e:
            if self.is_own(e):
                raise no_memory() from None
            raise
        finally:
            self.theirs = None

    def is_own(self, e: BaseException) -> bool:
        """Whether it is this process that has no memory for values, and not a task that has asked for too much."""
        return isinstance(e, MemoryError) and e is not self.theirs

    def is_full(self, e: BaseException) -> bool:
        """Whether a task had no memory since units before it have left little, as the child has it (workers.keep):
        another process runs the unit then."""
        hoards = getattr(sys.modules.get("_dtpnode_child.workers"), "hoards", None)
        return isinstance(e, MemoryError) and self.ran > 1 and hoards is not None and bool(hoards())

    def program(self, item: Any, blob: Any) -> Any:
        """The number of a unit, and its program."""
        shares: list[Any] = []  # the shared item, once something of it is needed
        own: dict[int, Any] = {}  # what is shared and each unit has for itself

        def shared(i: int) -> Any:
            if i < 0:
                i = -1 - i
                if i not in own:
                    own[i] = pickle.loads(pickle_of(i))
                return own[i]
            pickled = pickle_of(i)
            found = self.shared.get(pickled)
            if found is None:
                found = (pickle.loads(pickled),)
                self.shared.add(pickled, found[0], len(pickled))
            return found[0]

        def pickle_of(i: int) -> bytes:
            if not shares:
                shares.append(body(blob[0])[1:])
            n = int.from_bytes(shares[0][:4], "little")
            first = int.from_bytes(shares[0][8 * i - 4 : 8 * i + 4], "little") if i else 0
            last = int.from_bytes(shares[0][4 + 8 * i : 12 + 8 * i], "little")
            return bytes(shares[0][4 + 8 * n + first : 4 + 8 * n + last])

        return Reader(body(item)[1:], shared).load()

    # --- values

    def take(self, want: list[Where], blob: Any, base: int) -> list[Any]:
        """As found; where a task has raised in the place of a value, this raises the same."""
        out = self.found(want, blob, base)
        self.raise_first(out)
        return out

    def found(self, want: list[Where], blob: Any, base: int) -> list[Any]:
        """The values of other units, of which those from base on are in a blob, or what stands in their place. Values
        that no node has any more are made again."""
        if not want:
            return []
        found = self.look(want)
        if len(found) < len(want):
            found |= self.remake([w for w in want if w not in found], blob, base)
        return [found[w] for w in want]

    def raise_first(self, values: list[Any]) -> None:
        """Raises what stands in the place of the first value that has none."""
        for value in values:
            if isinstance(value, Raised):
                self.theirs = value.error
                raise value.error.with_traceback(None)

    def look(self, want: Iterable[Where]) -> dict[Where, Any]:
        """Those values of other units that are anywhere."""
        out: dict[Where, Any] = {}
        ask: list[Where] = []
        for w in want:
            recent = self.recent.get(w)
            if recent is None:
                ask.append(w)
            else:
                out[w] = recent[0]
        if not ask:
            return out
        by_job: dict[str, list[Where]] = {}
        for w in ask:
            by_job.setdefault(made_by(w)[1], []).append(w)
        for job, some in by_job.items():
            for w, where in zip(some, self.ask({"op": "get", "want": [w[:2] for w in some]}, job)["values"]):
                if where is None:
                    continue
                path, at, size = where
                try:
                    value = read(path, at, size)
                except FileNotFoundError:  # It has just gone, which is as if it had been gone before.
                    continue
                out[w] = value
                self.recent.add(w, value, size)
        return out

    def sure(self, w: Where) -> Any:
        """A value that was just made again."""
        found = self.look([w])
        if w not in found:
            raise Unread(f"the daemon of this node lacks the value {w[1]} of the unit {w[0]}, which it was given")
        return found[w]

    def remake(self, lost: list[Where], blob: Any, base: int) -> dict[Where, Any]:
        """Makes values of units again, and before them what these take and is lost, too. Each value is held from when
        it is made until it is taken: nodes may remove it at any moment, as one that nobody else needs."""
        todo = list(dict.fromkeys(map(made_by, lost)))
        # Of units that are to be made: their values that are needed, each with the units that are to take it.
        needed: dict[tuple[int, str], dict[Where, set[tuple[int, str] | None]]] = {}
        have: dict[Where, Any] = {}
        for w in lost:
            needed.setdefault(made_by(w), {})[w] = {None}
        while todo:
            unit, job = todo[-1]
            mine = needed[unit, job]
            if all(w in have for w in mine):
                todo.pop()
                continue
            if not job and base <= unit < base + len(blob):
                own, first = blob, base
            else:
                told = self.item(unit, job)
                own, first = Blob(told["path"]), unit - told["at"]
            number, program = self.program(own[unit - first], own)
            if number != unit:
                raise Unread(f"the item of the unit {unit} is that of the unit {number}")
            want = [w if len(w) > 2 or not job else (w[0], w[1], job) for w in program[0]]
            found = {w: have[w] for w in want if w in have}
            found |= self.look(w for w in want if w not in found)
            gone = [w for w in want if w not in found]
            if gone:
                for w in gone:
                    needed.setdefault(made_by(w), {}).setdefault(w, set()).add((unit, job))
                todo += dict.fromkeys(map(made_by, gone))
                continue
            self.again(Run(self, unit, program, job), [found[w] for w in want])
            have.update((w, self.sure(w)) for w in mine)
            for w in want:
                takers = needed.get(made_by(w), {}).get(w)
                if takers is not None:
                    takers.discard((unit, job))
                    if not takers:
                        del needed[made_by(w)][w]
                        have.pop(w, None)
            todo.pop()
        return have

    def again(self, run: "Run", taken: list[Any]) -> None:
        """Makes the values of a unit again. What it raises is for whoever takes them."""
        try:
            run.run(taken)
        except Unread:
            raise
        except BaseException as e:
            if self.is_own(e):
                raise
            run.keep_raised(e)

    def item(self, unit: int, job: str) -> dict[str, Any]:
        """Where the item of a unit is. It may be on its way still, where nodes have come and gone."""
        for left in reversed(range(TRIES)):
            try:
                return self.ask({"op": "item", "unit": unit}, job)
            except Unread:
                if not left:
                    raise
            time.sleep(PAUSE)
        raise AssertionError

    def ask(self, frame: dict[str, Any], job: str = "") -> dict[str, Any]:
        """Asks the daemon of values of this process's own job, or of another one."""
        if self.daemon is None:
            raise RuntimeError(
                f"the daemon on {os.uname().nodename} keeps no values for the tasks of graphs: it is older than the "
                "dtpnode that has sent this graph"
            )
        if not job:
            return self.daemon.ask(frame)
        for left in reversed(range(UNKNOWN)):
            try:
                return self.daemon.ask({**frame, "job": job})
            except Over as e:
                if not left:
                    raise RuntimeError(
                        f"what was persisted is gone: the job {job[:12]}, whose values the nodes have kept, has ended "
                        f"with its client, or was cancelled ({e}): persist it again"
                    ) from None
            time.sleep(PAUSE)
        raise AssertionError

    @contextlib.contextmanager
    def pack(self, folder: str, job: str, own: bool) -> Iterator[Pack]:
        """The file that takes the next values of a unit of a job: one of its own, or one of several units."""
        pack = self._open.get(job) if not own else None
        if pack is None:
            self._packs += 1
            pack = Pack(folder, f".dtpnode-graph-{self.pid}-{self._packs}")
        try:
            yield pack
        finally:
            if own or pack.size > PACK:
                pack.close()
                with contextlib.suppress(OSError):
                    os.unlink(pack.path)  # The daemon has another name for it, if it has anything of it.
                if not own:
                    self._open.pop(job, None)
            else:
                self._open[job] = pack

    def keep(self, unit: int, pack: Pack, values: list[tuple[int, int, bytes]], hold: bool, job: str) -> None:
        """Hands the exports of a unit over, which are written. With hold they stay when all that take them have run."""
        frame: dict[str, Any] = {"op": "keep", "unit": unit, "path": pack.path, "values": values}
        if hold:
            frame["hold"] = True
        self.ask(frame, job)


class Run:
    """A unit that runs."""

    def __init__(self, process: Process, unit: int, program: Any, job: str = "") -> None:
        self._process, self._unit, self._job = process, unit, job
        _, self._constants, self._steps, self._exports, self._wanted, self._kept = program
        self._registers: list[Any] = []
        self._raised: dict[int, Raised] = {}  # by the registers in which they are, or were
        self._folder = os.getcwd()

    def keep_raised(self, e: BaseException) -> None:
        """Has all exports be an exception, for whoever takes them."""
        if not self._exports:
            return
        with self._pack() as pack:
            self._hand_over(pack, [pack.write(parts_of(Raised(e).sent(), 1))] * len(self._exports))

    def _pack(self) -> contextlib.AbstractContextManager[Pack]:
        """The file for the unit's exports. What is persisted is in one of its own, since it is removed on its own."""
        return self._process.pack(self._folder, self._job, bool(self._kept))

    def _hand_over(self, pack: Pack, values: list[tuple[int, int, bytes]]) -> None:
        self._process.keep(self._unit, pack, values, bool(self._kept), self._job)

    def run(self, taken: list[Any]) -> dict[Any, Any] | None:
        """Runs the tasks, with what the unit takes, and keeps what others take of it. Returns the values that were
        asked for, or, of keys that are persisted, which of its exports they are, on which node, and their bytes, or the
        exceptions in their place."""
        if self._kept is None:
            self._process.raise_first(taken)
        self._registers = [*taken, *self._constants]
        self._raised = {n: value for n, value in enumerate(taken) if isinstance(value, Raised)}
        if not self._exports:
            return self._run(None)
        with self._pack() as pack:
            return self._run(pack)

    def _run(self, pack: Pack | None) -> dict[Any, Any] | None:
        registers = self._registers
        first = len(registers)
        last, exports = self._last_uses(), set(self._exports)
        written: dict[int, tuple[int, int, bytes]] = {}
        for n, step in enumerate(self._steps, first):
            value = self._value(step)
            if pack is not None and n in exports:
                value, written[n] = self._export(pack, n, step[0], value)
            if isinstance(value, Raised):
                self._raised[n] = value
            registers.append(value)
            del value
            for register in last.get(n, ()):
                registers[register] = None
        if pack is not None:
            self._hand_over(pack, [written[register] for register in self._exports])
        if self._kept:
            return {key: self._told(key, slot, written[self._exports[slot]][1]) for key, slot in self._kept}
        return {key: registers[register] for key, register in self._wanted} or None

    def _value(self, step: tuple[Any, ...]) -> Any:
        """What a task gives. In a graph that is persisted that may be what the task, or one that it takes, raised. That
        may be what ends a program, as sys.exit raises it: there is no program that it would end."""
        for register in self._uses(step) if self._raised else ():
            if register in self._raised:
                return self._raised[register]
        try:
            return self._step(step)
        except BaseException as e:
            self._process.theirs = e
            if isinstance(e, MemoryError) and not self._process.is_full(e):
                explain_memory(e)
            noted(e, f"in the task {step[0]!r}")
            if self._kept is None or isinstance(e, Unread) or self._process.is_full(e):
                raise
            return raised(e)

    def _export(self, pack: Pack, n: int, key: Any, value: Any) -> tuple[Any, tuple[int, int, bytes]]:
        """Writes the value of a register for whoever takes it. Returns it, or what stands in the place of one that has
        no pickle, and where it is written."""
        try:
            parts = parts_of(value.sent(), 1) if isinstance(value, Raised) else self._parts(key, value)
        except pickle.PicklingError as e:
            if self._kept is None:
                raise
            noted(e, f"in the task {key!r}")
            value = raised(e)
            parts = parts_of(value.sent(), 1)
        written = pack.write(parts)
        if not isinstance(value, Raised):
            where: Where = (self._unit, self._exports.index(n))
            self._process.recent.add((*where, self._job) if self._job else where, value, written[1])
        return value, written

    def _told(self, key: Any, slot: int, size: int) -> tuple[int, str, int | bytes]:
        """What the client is told of a key that is persisted: which export it is, on which node, and its bytes, or else
        what was raised in its place, as a pickle."""
        failed = self._raised.get(self._exports[slot])
        return slot, os.environ.get("DTPNODE_NODE", ""), size if failed is None else failed.told(key)

    @staticmethod
    def _parts(key: Any, value: Any) -> list[Any]:
        try:
            return parts_of(value)
        except MemoryError:
            raise
        except Exception as e:
            why = unpicklable({key: value}, "") or f"{type(value).__qualname__}: {e}"
            raise pickle.PicklingError(f"could not hand on {why}") from e

    def _step(self, step: tuple[Any, ...]) -> Any:
        registers = self._registers
        if len(step) == 3:
            _, node, names = step
            return node({name: registers[r] for name, r in names})
        _, function, args, keywords, places = step
        args = list(args)
        for place in places:
            if type(place) is int:
                args[place] = registers[args[place]]
                continue
            at, inner = place
            within = args[at] = list(args[at])
            for p in inner:
                within[p] = registers[within[p]]
        return function(*args, **keywords)

    def _last_uses(self) -> dict[int, list[int]]:
        """For the tasks of the unit, by their registers, which registers nothing needs behind them."""
        stays = {register for _, register in self._wanted}
        seen: set[int] = set(stays)
        out: dict[int, list[int]] = {}
        n = len(self._registers) + len(self._steps)
        for step in reversed(self._steps):
            n -= 1
            for r in [n, *self._uses(step)]:
                if r not in seen:
                    seen.add(r)
                    out.setdefault(n, []).append(r)
        return out

    @staticmethod
    def _uses(step: tuple[Any, ...]) -> list[int]:
        """The registers whose values a task takes."""
        if len(step) == 3:
            return [r for _, r in step[2]]
        uses = []
        for place in step[4]:
            if type(place) is int:
                uses.append(step[2][place])
            else:
                uses += [step[2][place[0]][p] for p in place[1]]
        return uses


def raised(e: BaseException) -> Raised:
    """What stands in the place of a value whose task has raised. It refers to no frames, and so to no other values."""
    try:
        trace = "".join(traceback.format_exception(type(e), e, e.__traceback__, limit=-FRAMES))
    except Exception:
        trace = ""
    BaseException.with_traceback(e, None)  # Its class may not let attributes be set.
    return Raised(e, trace)


def noted(e: BaseException, note: str) -> None:
    """Adds a note to an exception, which travels with it, if there are notes, from Python 3.11 on, and it takes one."""
    with contextlib.suppress(Exception):
        e.add_note(note)


def explain_memory(e: MemoryError) -> None:
    """Has the child say in it how much memory there is."""
    explain = getattr(sys.modules.get("_dtpnode_child.workers"), "explain_memory", None)
    if explain is not None:
        explain(e)


def not_written(why: str) -> BaseException:
    """What has the child blame the host, and not the unit, which others try."""
    module = sys.modules.get("_dtpnode_child.partial")
    kind: type[BaseException] = getattr(module, "NotWritten", OSError)
    return kind(why)


def no_memory() -> BaseException:
    """What has the child fail, so that another process runs the unit."""
    module = sys.modules.get("_dtpnode_child.partial")
    kind: type[BaseException] = getattr(module, "NoMemory", MemoryError)
    return kind("Python could get no more memory for the values of tasks")


_process: Process | None = None


def process() -> Process:
    """What this process keeps between units."""
    global _process
    if _process is None or _process.pid != os.getpid():
        _process = Process()
    return _process


def unit(item: Any, blob: Any, at: int) -> Any:
    """Runs the unit that is item number ``at`` of a blob."""
    return process().run(item, blob, at)


def show(item: Any, blob: Any, at: int) -> str:
    """A unit as its user recognises it."""
    if body(item)[:1] == SHARED:
        return "what units share"
    _, program = (_process or Process()).program(item, blob)
    steps = program[2]
    more = f", with {len(steps) - 1:,} tasks behind it" if len(steps) > 1 else ""
    return f"the task {steps[0][0]!r}{more}"


def joined(*parts: bytes) -> Any:
    """A constant of a graph that was too large for one item."""
    return pickle.loads(b"".join(parts))


def unpicklable(value: Any, root: str) -> str:
    """Which value of a task has no pickle, and what in it is in the way."""
    for key, v in (value or {}).items():
        why: str = in_the_way(v, f"the value of the task {key!r}")
        if why:
            return why
    return ""
