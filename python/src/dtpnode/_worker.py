"""What a call finds on its node: the process that it runs in, and a cache that outlasts it.

This module is shipped to the nodes as a file of its own, named ``dtpnode_worker``, so that they need not have the
package: it imports nothing of it. See ``dtpnode.get_worker`` for how it is used.
"""

import contextlib
import fcntl
import getpass
import hashlib
import mmap
import os
import pickle
import resource
import shutil
import struct
import time
import zlib
from collections.abc import Iterator, MutableMapping
from typing import Any

CACHE_BYTES = 8_000_000_000  # that a node's cache has at most
OF_DISK = 0.25  # of the room that there is on its disk, with what the cache has already
_PLAIN = frozenset((int, float, complex, str, bytes, bool, type(None)))


def fingerprint(value: Any) -> bytes:
    """A hash of a value that is the same in all processes and on all hosts. Equal values of plain types, and tuples,
    lists and dictionaries of them, have equal ones. Of others it goes by their pickles."""
    text = repr(value).encode() if _is_plain(value) else pickle.dumps(value, 5)
    return hashlib.sha256(b"%d %b" % (_is_plain(value), text)).digest()


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is tuple or kind is list:
        return all(map(_is_plain, value))
    return kind is dict and all(_is_plain(k) and _is_plain(v) for k, v in value.items())


_HEAD = struct.Struct("<8sQQI4x")  # magic, bytes of the index, bytes of the whole file, CRC-32 of all that follows
_MAGIC = b"dtpcache"
_ALIGN = 64  # bytes: where each buffer begins


class Cache(MutableMapping[Any, Any]):
    """A mapping that outlasts its process, and is shared by all processes of a submitter on a node.

        >>> cache["numbers"] = numpy.arange(10)
        >>> cache["numbers"].sum()
        45

    Keys are what can be pickled, and are the same if their pickles or, of plain types, what they show by ``repr`` are;
    so are tuples of these. What a key stands for must not change: put the time or the size of a file that may be
    written anew into the key of what was read from it. Values are what can be pickled. Arrays of numpy and awkward are
    mapped into memory where they are read, and not copied; what is written to one is seen by its process alone.

    It is a cache: a value that was stored may be gone at any time, and is a ``KeyError`` then, so that one asks with
    ``get``. All values of a node have at most 8 GB and a quarter of the room on its disk, those that were used the
    longest ago leave first, and one that is larger than half of that, or for which the disk has no room, is not kept.
    A file that is damaged is as one that is not there. uproot takes it as ``array_cache``.

    ``folder`` is that of the submitter, and ``root`` one above it, whose bytes are bounded by ``limit``; the disk's
    share is taken where that is None.
    """

    def __init__(self, folder: str, root: str | None = None, limit: int | None = None) -> None:
        self.folder, self.root, self._limit = folder, root or folder, limit
        self._sound: dict[tuple[int, int, int], None] = {}  # files whose checksum this process has compared

    def limit(self) -> int:
        """How many bytes all values of the node may have now."""
        if self._limit is not None:
            return self._limit
        try:
            disk = shutil.disk_usage(self.root)
        except OSError:
            return CACHE_BYTES
        return int(min(CACHE_BYTES, OF_DISK * (disk.free + self._counted())))

    def _path(self, key: Any) -> str:
        name = fingerprint(key).hex()
        return os.path.join(self.folder, name[:2], name)

    def __getitem__(self, key: Any) -> Any:
        path = self._path(key)
        try:
            with open(path, "rb") as f:
                stat = os.fstat(f.fileno())
                memory = _mapped(f.fileno())
        except (OSError, ValueError):
            raise KeyError(key) from None
        try:
            value = self._read(memory, (stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except Exception:  # It is damaged, or what its pickle refers to is not there any more.
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise KeyError(key) from None
        with contextlib.suppress(OSError):
            os.utime(path, ns=(time.time_ns(), stat.st_mtime_ns))  # when it was last used
        return value

    def _read(self, memory: mmap.mmap, file: tuple[int, int, int]) -> Any:
        view = memoryview(memory)
        magic, size, whole, checksum = _HEAD.unpack_from(view)
        if magic != _MAGIC or whole != len(view):
            raise ValueError("it is not whole")
        if file not in self._sound:
            if zlib.crc32(view[_HEAD.size :]) != checksum:
                raise ValueError("it is damaged")
            if len(self._sound) >= 4096:
                self._sound.clear()
            self._sound[file] = None
        pickled, spans = pickle.loads(view[_HEAD.size : _HEAD.size + size])
        return pickle.loads(pickled, buffers=[view[first:last] for first, last in spans])

    def __setitem__(self, key: Any, value: Any) -> None:
        pickled, buffers = _pickled(value)
        spans: list[tuple[int, int]] = []
        # Where the buffers begin depends on the size of the index, which has that: so there is room for any.
        start = at = _aligned(_HEAD.size + len(pickled) + 64 + 32 * len(buffers))
        for b in buffers:
            spans.append((at, at + b.nbytes))
            at = _aligned(at + b.nbytes)
        index = pickle.dumps((pickled, spans), 5)
        whole = spans[-1][1] if spans else _HEAD.size + len(index)
        if spans and start < _HEAD.size + len(index):
            raise ValueError("the index of a value is larger than was foreseen")
        if not self._reserve(whole):
            self.pop(key, None)  # What was there is not what was stored last.
            return
        parts: list[Any] = [index]
        end = _HEAD.size + len(index)
        for (first, last), b in zip(spans, buffers):
            parts += [bytes(first - end), b]
            end = last
        checksum = 0
        for p in parts:
            checksum = zlib.crc32(p, checksum)
        self._write(self._path(key), [_HEAD.pack(_MAGIC, len(index), whole, checksum), *parts])

    def _write(self, path: str, parts: list[Any]) -> None:
        """Writes a file, which appears whole or not at all. A disk without room keeps none."""
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            with open(temporary, "wb") as f:
                f.writelines(parts)
            os.replace(temporary, path)
        except OSError:
            for p in temporary, path:
                with contextlib.suppress(OSError):
                    os.unlink(p)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def __delitem__(self, key: Any) -> None:
        try:
            os.unlink(self._path(key))
        except OSError:
            raise KeyError(key) from None

    def __contains__(self, key: Any) -> bool:
        return os.path.exists(self._path(key))

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("the keys of a cache cannot be listed: it has hashes of them alone")

    def __len__(self) -> int:
        return sum(1 for _ in _files(self.folder))

    def clear(self) -> None:
        """Forgets all that this submitter has stored on this node."""
        for path, _ in _files(self.folder):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def __repr__(self) -> str:
        return f"<dtpnode cache of {len(self)} values in {self.folder}>"

    # --- its bound

    def _reserve(self, size: int) -> bool:
        """Makes room for so many bytes, and reports whether there can be."""
        soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if soft != resource.RLIM_INFINITY and size > soft:
            return False  # The job may write no such file; to try would end the process.
        limit = self.limit()
        if size > limit // 2:
            return False
        try:
            os.makedirs(self.root, 0o700, exist_ok=True)
            with open(self._count_path(), "a+b") as f:
                fcntl.flock(f, fcntl.LOCK_EX)
                total = self._counted()
                if total + size > limit:
                    total = self._evict(max(int(0.9 * limit) - size, 0))
                # Counted before it is written: what is never written is found out when the files are next looked at.
                f.truncate(0)
                f.write(struct.pack("<q", total + size))
        except OSError:
            return False
        return True

    def _count_path(self) -> str:
        return os.path.join(self.root, "bytes")

    def _counted(self) -> int:
        """How many bytes all files have, or a little more."""
        try:
            with open(self._count_path(), "rb") as f:
                return max(int(struct.unpack("<q", f.read(8))[0]), 0)
        except (OSError, struct.error):
            return sum(stat.st_size for _, stat in _files(self.root))

    def _evict(self, most: int) -> int:
        """Removes what was used the longest ago until so many bytes are left, and returns how many are. The count is
        locked."""
        found = sorted(((stat.st_atime_ns, stat.st_size, path) for path, stat in _files(self.root)))
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= most:
                break
            if path.endswith(".tmp") and _is_running(path.split(".")[-2]):
                continue
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
        return total


def _mapped(fd: int) -> mmap.mmap:
    """A file in memory, private to this process: pages that are written to are its own from then on. Such pages count
    against the memory of the process, and where that has no room for them the file can be read alone."""
    try:
        return mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
    except OSError:
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)


def _pickled(value: Any) -> tuple[bytes, list[memoryview]]:
    """The pickle of a value, and the buffers that are apart from it."""
    out: list[pickle.PickleBuffer] = []
    try:
        pickled = pickle.dumps(value, 5, buffer_callback=out.append)
    except Exception:
        import cloudpickle  # for what has code of the user's

        out.clear()
        pickled = cloudpickle.dumps(value, 5, buffer_callback=out.append)
    return pickled, [b.raw() for b in out]


def _aligned(n: int) -> int:
    return -(-n // _ALIGN) * _ALIGN


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """The files of values below a folder."""
    for at, _, names in os.walk(folder):
        for name in names:
            if len(name) < 64:
                continue
            path = os.path.join(at, name)
            with contextlib.suppress(OSError):
                yield path, os.stat(path)


def _is_running(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}")


class Worker:
    """The process that a call runs in.

    ``name``
        is ``user__node__slot``: of two processes that run at the same time no two have the same one.
    ``node``, ``node_name``
        are the id and the name of its node, empty outside of one.
    ``cache``
        is the ``Cache`` of this node for the submitter of the job.
    ``tree``
        opens a tree by uproot, with that cache.
    ``worker_meta``
        counts what this process has run: ``worker_name``, ``total_tasks``, ``total_read_bytes``,
        ``total_write_bytes`` and ``total_time_elapsed`` in seconds.
    ``classads``
        is what HTCondor says of the job in which the node runs, empty where it runs in none.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.node = os.environ.get("DTPNODE_NODE", "")
        self.node_name = os.environ.get("DTPNODE_NODE_NAME", "") or os.uname().nodename
        kept = os.environ.get("DTPNODE_KEPT") or _own_folder()
        root = os.path.join(kept, "cache")
        self.cache = Cache(os.path.join(root, os.environ.get("DTPNODE_SUBMITTER") or "local"), root)
        self.slot = _slot(os.path.join(kept, "slots"))
        self.user = user()
        self.name = self.worker_name = f"{self.user}__{self.node_name}__{self.slot}"
        self.worker_meta: dict[str, Any] = {
            "worker_name": self.name, "total_tasks": 0, "total_read_bytes": 0, "total_write_bytes": 0,
            "total_time_elapsed": 0.0,
        }

    def tree(self, path: str, name: str = "Events", **options: Any) -> Any:
        """A tree of a ROOT file, as uproot opens it, whose arrays are kept in the cache, and so is what it takes to
        open it: of a file that is far away nothing is asked for that a process of this node has had before.

            >>> muons = dtpnode.get_worker().tree(path).arrays(["Muon_pt"], entry_start=first, entry_stop=last)

        ``options`` are further ones of ``uproot.open``. A file of this host that is written anew is another one. A
        remote file has to stay as it is.
        """
        import uproot

        try:
            stat = os.stat(path)
            version = stat.st_size, stat.st_mtime_ns
        except OSError:
            version = 0, 0
        key = "tree of uproot", uproot.__version__, path, name, version
        tree = self.cache.get(key)
        if tree is None:
            tree = uproot.open({path: name}, object_cache=None, array_cache=None, **options)
            self.cache[key] = tree
        tree.file.array_cache = self.cache
        return tree

    @property
    def classads(self) -> dict[str, str]:
        out: dict[str, str] = {}
        path = os.environ.get("_CONDOR_JOB_AD", "")
        with contextlib.suppress(OSError):
            with open(path, errors="replace") as f:
                for line in f:
                    name, equals, value = line.partition("=")
                    if equals:
                        out[name.strip()] = value.strip().strip('"')
        return out

    def __repr__(self) -> str:
        return f"<dtpnode worker {self.name}>"


def _own_folder() -> str:
    """A folder for what is kept outside of any node."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "dtpnode", "python", "kept")


def user() -> str:
    """The name of this process's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # A container may know no name.
        return str(os.getuid())


def _slot(folder: str) -> int:
    """The first number that no other process of the node has. A lock keeps it until this process ends."""
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        for slot in range(1 << 16):
            fd = os.open(os.path.join(folder, str(slot)), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return slot
            except OSError:
                os.close(fd)
    except OSError:
        pass
    return os.getpid()


_worker: Worker | None = None


def current() -> Worker:
    """That of this process."""
    global _worker
    if _worker is None or _worker.pid != os.getpid():
        _worker = Worker()
    return _worker


def counts() -> tuple[int, int]:
    """How many bytes this process has read and written, as the kernel counts them; zeros where it does not."""
    try:
        with open("/proc/self/io", "rb") as f:
            found = dict(line.split(b": ") for line in f.read().splitlines())
        return max(int(found[b"rchar"]), int(found[b"read_bytes"])), int(found[b"wchar"])
    except (OSError, KeyError, ValueError):
        return 0, 0
