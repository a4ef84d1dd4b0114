"""What forks do: generations, merges and sessions. Each answers requests, with the method that their op names."""

import contextlib
import copy
import errno
import io
import os
import pickle
import resource
import signal
import sys
import traceback
import zipfile
from types import TracebackType
from typing import Any, Callable, Iterator

from . import partial
from .code import BadCode, Code, lay, load, small
from .frames import CODE_PHASES, Channel, Page
from .imports import Imported
from .items import BadItems, Items
from .versions import advice

Frame = dict[str, Any]

NOT_THE_FILE = -2  # an errno of the protocol: the file is not the one that was planned
SHOWN = 200  # characters of an item that are shown where it fails
MEMORY = "dtpnode up --memory"  # what sets how much memory processes may have
FRAMES = 1000  # of a traceback that are shown, the last
EARLY = 256 << 10  # bytes of the values that are told with a packet, before the partial is written
RESERVED = 4  # descriptors, which are enough to open a blob, or to write a partial


class Streams:
    """Standard output and error, as they are to be before each item, whatever the one before has done to them."""

    def __init__(self) -> None:
        self.files = sys.stdout, sys.stderr
        self.log = os.fstat(1)
        self.kept = os.dup(1)  # both are the log; not inherited by programs that items start

    def restore(self) -> None:
        try:
            for fd in 1, 2:
                if not is_inode(fd, self.log.st_ino):
                    os.dup2(self.kept, fd)
        except OSError:
            return  # All descriptors are closed, which the process does not outlive.
        for name, fd, file in ("stdout", 1, self.files[0]), ("stderr", 2, self.files[1]):
            if getattr(file, "closed", False):
                file = open(fd, "w", buffering=1, closefd=False)
            setattr(sys, name, file)
        self.files = sys.stdout, sys.stderr


class Reserve:
    """Descriptors for the files that a process opens itself: items may leave so many open that there are no others."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._inode = os.stat(os.devnull).st_ino
        self._take()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._fds) < RESERVED:
                self._fds.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Has the descriptors free, and as many more as the host allows. Behind it all is as the items have it."""
        for fd in self._fds:
            if is_inode(fd, self._inode):  # An item may have closed it, and opened a file of its own in its place.
                os.close(fd)
        self._fds.clear()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            yield
        finally:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            self._take()


def own(value: Any) -> Any:
    """A copy of what an item has returned. It may be an object that the next item returns again, as a buffer or a
    histogram that was booked once, and the sum may be changed in place: as values that travel apart, those that are
    added are each of their own. What has no copy is taken as it is, and has no pickle either as a rule."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


class Failed(Exception):
    """A failure that is told as it is."""

    def __init__(self, kind: str, msg: str, **more: Any) -> None:
        super().__init__(msg)
        self.kind, self.more = kind, more


class Worker:
    """A fork that answers requests."""

    goes_on = False  # after a request that has failed

    def __init__(self, channel: Channel, page: Page, code: Code) -> None:
        self.channel, self.page, self.code = channel, page, code
        self.over = False
        self.added = False  # results were added here

    def run(self) -> None:
        while not self.over:
            try:
                request = self.channel.read()
            except EOFError:
                return
            reply = self.answer(request)
            flush()
            self.channel.write(reply)
            if reply["op"] == "failed" and not self.goes_on:
                return

    def answer(self, request: Frame) -> Frame:
        try:
            do: Callable[[Frame], Frame] = getattr(self, "do_" + request["op"])
            reply = do(request)
            self.page.phase = "idle"
            return reply
        except Failed as e:
            return self.failed(e.kind, str(e), **e.more)
        except SystemExit as e:
            return self.failed("exit", self.starts() + f"called sys.exit({e.code!r})", exit=status_of(e.code))
        except MemoryError as e:
            return self.failed("memory", no_memory(e))
        except BadCode as e:
            return self.failed("code", str(e))
        except partial.NotWritten as e:
            return self.failed("disk", str(e))
        except OSError as e:
            if e.errno in (errno.EMFILE, errno.ENFILE) and self.page.phase in ("open", "seal", "merge"):
                return self.failed("limit", no_descriptors(e))
            if self.page.phase in ("seal", "merge"):
                folder = os.path.dirname(request.get("path") or "") or os.getcwd()
                return self.failed("disk", partial.refused(e, folder))
            return self.raised(e)
        except BaseException as e:
            return self.raised(e)

    def add(self, total: tuple[Any] | None, value: Any) -> tuple[Any]:
        """Adds a value to a sum, which is None as long as there is no value: one that is None itself is a sum of its
        own. What fails the first time that this process adds may fail by the host; what fails later fails anywhere."""
        if total is None:
            return (value,)
        self.page.phase = "add" if self.added else "reduce"
        try:
            out = self.code.reduce(total[0], value)
        except MemoryError as e:
            sys.stdout.write(trace(e))
            raise
        except BaseException as e:
            if self.code.told is None:
                raise
            words, cause = self.code.told(e, value)
            raise Failed("abort" if self.added else "exception", words, adds=True, cause=cause) from None
        self.added = True
        return (out,)

    def place(self, path: str, units: int, checks: int, total: tuple[Any] | None) -> None:
        """Writes a file with a sum. One that has no pickle has none on any node."""
        try:
            partial.place(path, lambda f: partial.write_sum(f, units, checks, total, self.code.dump))
        except (MemoryError, OSError):
            raise
        except Exception as e:
            assert total is not None
            why = self.code.unpicklable(total[0], "the sum") or f"{type(total[0]).__qualname__}: {described(e)}"
            raise Failed("code", f"could not send the sum: {why}\n{what_to_return(why)}") from e

    def raised(self, e: BaseException) -> Frame:
        """An exception has left the user's code: its traceback goes with the failure, which is told once, and not to
        the output of each process that fails by it."""
        kind = "code" if self.page.phase in CODE_PHASES else "exception"
        starts = self.starts()
        return self.failed(kind, (starts and f"{starts}has raised ") + described(e), stack=trace(e).rstrip())

    def starts(self) -> str:
        """What is being called as a process begins, in its user's words and with a blank behind them; else nothing."""
        return f"{self.code.starts} " if self.page.phase == "start" and self.code.starts else ""

    def failed(self, kind: str, msg: str, **more: Any) -> Frame:
        return {"op": "failed", "kind": kind, "what": self.page.phase, "entry": self.page.entry, "msg": msg, **more}


class Generation(Worker):
    """Runs packets of items, and writes what they come to."""

    def do_begin(self, r: Frame) -> Frame:
        if r["dir"]:
            os.chdir(r["dir"])
        if r["memory"] > 0:
            resource.setrlimit(resource.RLIMIT_DATA, (r["memory"], r["memory"]))
        if r["filesize"] > 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (r["filesize"], resource.RLIM_INFINITY))
        self.job: int = r["job"]
        self.units = self.checks = 0
        self.blob: tuple[str | bytes, Items] | None = None
        self.values = partial.Values(os.getcwd()) if self.code.mode == "values" else None
        self.total: Any = None
        self.full = ""  # why the disk takes no more values
        self.left = self.code.most  # items that may run here; None for any number
        self.folder = os.getcwd()
        self.reserve = Reserve()
        lay(self.code)
        reseed()
        os.environ.update(surroundings(r))
        self.page.phase = "start"
        if self.code.start is not None:
            self.code.start(given(r.get("input")))
        self.streams = Streams()  # which start may have exchanged for all items
        return {"op": "ready"}

    def do_packet(self, p: Frame) -> Frame:
        self.page.packet(p["id"])
        if self.full or self.left == 0:
            undone = {"op": "done", "id": p["id"], "last": p["first"], "opened": False}
            return {**undone, "full": self.full} if self.full else {**undone, "worn": True}
        try:
            items, opened = self.open(p)
        except Failed as e:
            self.page.phase = "idle"
            return {**self.failed(e.kind, str(e), **e.more), "op": "refused", "id": p["id"], "what": "open"}
        last: int = p["last"]
        if items is not None and p["clip"]:
            last = min(last, items.n)
        end = last if self.left is None else min(last, p["first"] + self.left)
        self.page.phase = "process"
        self.early: dict[str, Any] = {}  # what is told of values with the packet
        run = self.keep if self.values is not None else self.reduce
        at = run(p, items, p["first"], end)
        self.page.entry = -1
        if at > p["first"]:
            self.units += at - p["first"]
            self.checks = (self.checks + partial.canary(self.job, p["base"] + p["first"], p["base"] + at)) & partial.MASK
        if self.left is not None:
            self.left -= at - p["first"]
        return {
            "op": "done", "id": p["id"], "last": p["last"] if at == last else at, "opened": opened,
            "worn": self.left == 0, **self.early,
        }

    def open(self, p: Frame) -> tuple[Items | None, bool]:
        """The blob of a packet's items, None for items that are only numbers, and whether it was opened anew."""
        path: str = p["file"] or p.get("items", "")
        blob: str | bytes = path or p.get("small", "")
        if not blob:
            return None, False
        if self.blob is not None and self.blob[0] == blob:
            return self.blob[1], False
        self.page.phase = "open"
        if self.blob is not None:
            self.blob[1].close()
            self.blob = None
        try:
            with self.reserve.lent() if path else contextlib.nullcontext():
                items = Items(blob)
        except OSError as e:
            if e.errno in (errno.EMFILE, errno.ENFILE):
                raise  # The file is not to blame.
            raise Failed("open", os.strerror(e.errno or 0), errno=e.errno or 0, file=path) from None
        except BadItems as e:
            raise Failed("open", str(e), errno=-1, file=path) from None
        if p["total"] > 0 and p["total"] != items.n:
            n = items.n
            items.close()
            raise Failed("open", f"it has {n} items, not {p['total']}", errno=NOT_THE_FILE, file=path)
        self.blob = blob, items
        return items, True

    def item(self, p: Frame, items: Items | None, at: int) -> Any:
        if items is None:
            return p["base"] + at
        if self.code.items == "blob":
            return items[at]
        if self.code.items == "pickle":
            return pickle.loads(items[at])
        return bytes(items[at])

    def shown(self, item: Any, items: Items | None, at: int) -> str:
        """An item as a user recognises it, on one line."""
        try:
            text = self.code.show(item, items, at) if self.code.items == "blob" else self.code.show(item)
        except BaseException as e:
            kind = "call" if self.code.items == "blob" else type(item).__name__
            text = f"a {kind} (to show it raised {type(e).__name__})"
        text = " ".join(text.split("\n"))
        return text if len(text) <= SHOWN else text[:SHOWN] + "…"

    def process(self, items: Items | None) -> Callable[[Any, int], Any]:
        """The user's process, for an item and its place in the blob."""
        process: Callable[..., Any] = self.code.process
        blob, pid, sock = self.code.items == "blob", os.getpid(), self.channel.sock.fileno()
        inode = os.fstat(sock).st_ino
        home, streams = self.go_home, self.streams

        def run(item: Any, at: int) -> Any:
            try:
                return process(item, items, at) if blob else process(item)
            finally:
                home()
                streams.restore()
                if os.getpid() != pid:  # The user's code has forked: what it has made ends where that does.
                    flush()
                    os._exit(0)
                if not is_inode(sock, inode):  # Without this all items of the packet would be to blame.
                    self.page.phase = "closed"  # There may be no other way left to say so.
                    flush()
                    os._exit(1)

        return run

    def go_home(self) -> None:
        """Goes back to the working folder, which the user's code may have left, or removed, so that the next item
        begins there too."""
        try:
            os.chdir(self.folder)
        except OSError:
            os.makedirs(self.folder, exist_ok=True)
            os.chdir(self.folder)
            lay(self.code)

    def write(self, result: Any, run: partial.Run) -> None:
        """Writes the value of an item's result. What is large in it is not copied on its way."""
        try:
            if small(result):
                run.write(b"\0" + pickle.dumps(result, 5))
                return
            run.write(b"\0")
            self.code.dump(result, run)
        except MemoryError as e:
            raise partial.NoMemory(no_memory(e)) from None
        except partial.NotWritten:
            raise
        except Exception as e:
            instead = self.code.instead(result, lambda part: self.unsent(part, e))
            if instead is None:
                raise self.unsent(result, e) from e
            run.back()
            self.write(instead, run)

    def unsent(self, value: Any, e: Exception) -> pickle.PicklingError:
        """Says why a result was not sent, of e by which it has no pickle."""
        why = self.code.unpicklable(value, "the result") or f"{type(value).__qualname__}: {described(e)}"
        return pickle.PicklingError(f"could not send the result: {why}\n{what_to_return(why)}")

    def keep(self, p: Frame, items: Items | None, at: int, last: int) -> int:
        """Runs items, of which each has a value, and returns where it stopped. What an item raises is its value, also
        where it asks for more memory than it may have. The process fails if it has none to write values, or if items
        before have left little: another one then runs the item."""
        assert self.values is not None
        run = self.values.run(p["base"] + at)
        process, page, seq = self.process(items), self.page, p["seq"]
        early: list[bytes] = []
        run.room = EARLY
        try:
            while at < last and page.stop() < seq:
                page.entry = at
                item = None
                try:
                    item = self.item(p, items, at)
                    self.write(process(item, at), run)
                except (partial.NoMemory, partial.NotWritten):
                    raise
                except BaseException as e:
                    run.back()
                    short = no_memory(e) if isinstance(e, MemoryError) else ""
                    explain_memory(e)
                    value = raised_value(e, self.shown(item, items, at), self.code)
                    if short and (self.units or at > p["first"]) and hoards():
                        raise partial.NoMemory(short) from None  # Items before may be to blame for it.
                    run.write(b"\1" + value)
                early.append(run.next())
                at += 1
            if run.room < 0:
                self.values.flush()
            run.end()
        except partial.NotWritten as e:
            n = run.close()
            if n == 0 and self.units == 0:
                raise  # There is nothing that could be committed.
            at, early[n:], self.full = p["first"] + n, [], str(e)
            self.early["full"] = self.full
        self.early |= {"early": early} if run.room >= 0 else {"held": run.held()}
        return at

    def reduce(self, p: Frame, items: Items | None, at: int, last: int) -> int:
        """Runs items and adds what they give to the sum."""
        process, page, seq = self.process(items), self.page, p["seq"]
        while at < last and page.stop() < seq:
            page.entry = at
            item = self.item(p, items, at)
            try:
                value = process(item, at)
            except MemoryError as e:
                sys.stdout.write(trace(e))
                raise
            except SystemExit:
                raise
            except BaseException as e:
                ends = getattr(e, "ends_job", None)
                if isinstance(ends, tuple):
                    raise Failed("abort", ends[0], cause=ends[1]) from None
                sys.stdout.write(trace(e))
                raise Failed("exception", f"{described(e)}; the item is {self.shown(item, items, at)}") from None
            self.total = self.add(self.total, own(value))
            page.phase = "process"
            at += 1
        return at

    def do_seal(self, r: Frame) -> Frame:
        self.page.phase = "seal"
        self.over = True
        with self.reserve.lent():
            if self.values is not None:
                self.values.seal(r["path"], self.checks)
            else:
                self.place(r["path"], self.units, self.checks, self.total)
        return {"op": "sealed", "units": self.units, "canary": self.checks}


class Reader(pickle.Unpickler):
    """Reads a sum that another process has written."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as e:
            raise Failed(
                "exception",
                f"could not read a sum, for {name} of the module {module} cannot be imported where sums are merged: "
                f"{described(e)}, in {sys.executable} on {os.uname().nodename}; have the module go along (modules="
                f"[{module.partition('.')[0]!r}] in the Python package), import it in the function's own module, and "
                "not from a path that items add, or return what needs no such class",
            ) from None


class Merger(Worker):
    """Makes one sum of several. Values are merged by the node itself, without Python."""

    def do_merge(self, r: Frame) -> Frame:
        units, checks, total = self.total(r["inputs"])
        self.page.phase = "merge"
        self.place(r["path"], units, checks, total)
        return {"op": "sealed", "units": units, "canary": checks}

    def total(self, paths: list[str]) -> tuple[int, int, tuple[Any] | None]:
        """The sum of partials, with their units and canary. One sum beside the total is in memory at a time."""
        units = checks = 0
        total: tuple[Any] | None = None
        for path in paths:
            self.page.phase = "merge"
            with open(path, "rb", buffering=1 << 20) as f:
                n, c, some = partial.read_sum(f, path)
                units, checks = units + n, (checks + c) & partial.MASK
                if not some:
                    continue
                self.page.phase = "read"
                value = Reader(f).load()
            total = self.add(total, value)
        return units, checks, total


class Session(Merger):
    """The submitting side of a job."""

    def do_enter(self, r: Frame) -> Frame:
        for v in r["env"] or []:
            name, _, value = v.partition("=")
            os.environ[name] = value
        if r["dir"]:
            os.chdir(r["dir"])
        self.page.phase = "begin"
        if self.code.begin is None:
            return {"op": "begun"}
        made = self.code.begin()
        if made is None:
            return {"op": "begun"}
        with open(r["path"], "wb") as f:
            f.write(self.code.dumps(made))
        return {"op": "begun", "made": True}

    def do_finish(self, r: Frame) -> Frame:
        """Merges sums and has the user's code finish; values are merged by the node, which asks with no partials."""
        units, checks, total = self.total(r["partials"] or [])
        if r["user"] and self.code.finish is not None:
            self.page.phase = "finish"
            out = self.code.finish(None if total is None else total[0])
            if self.code.mode == "sum":
                total = (out,)
        self.page.phase = "merge"
        if r["path"]:
            self.place(r["path"], units, checks, total)
        return {"op": "finished", "units": units, "canary": checks, "keys": 0 if total is None else 1}


class Importer(Worker):
    """Imports modules, and has no code; what it has imported is then what a zygote forks loaders from."""

    def do_import(self, r: Frame) -> Frame:
        self.page.phase = "load"
        self.imported = Imported(r["names"])
        self.over = True
        return {"op": "imported", "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}


class Loader(Worker):
    """Loads the user's code; what it has loaded is then what a zygote forks from. Where its parent has imported modules
    it has none if the code would find others by itself."""

    imported: Imported | None = None

    def do_load(self, r: Frame) -> Frame:
        self.page.phase = "load"
        if self.imported is not None:
            with zipfile.ZipFile(io.BytesIO(r["code"])) as z:
                stale = "changed" if self.imported.changed() else "shadowed" if self.imported.shadowed(z) else ""
            if stale:
                return {"op": "loaded", "stale": stale}
        files = {f["name"]: f["path"] for f in r.get("files") or ()}
        self.code = load(r["form"], r["name"], r["code"], r["folder"], files)
        self.over = True
        return {"op": "loaded", "mode": self.code.mode, "finishes": self.code.finish is not None,
                "reducer": self.code.adds, "notes": self.code.notes}


def surroundings(r: Frame) -> dict[str, str]:
    """What user code may know of the node, as the environment of its process: the node's peer id and its name, the peer
    id of who has submitted the job, a folder for what the code keeps on the node from one job to another, and the socket
    at which units find what others have made for them (node/values)."""
    names = {
        "DTPNODE_NODE": "node",
        "DTPNODE_NODE_NAME": "name",
        "DTPNODE_SUBMITTER": "submitter",
        "DTPNODE_KEPT": "kept",
        "DTPNODE_VALUES": "values",
    }
    return {variable: r.get(name) or "" for variable, name in names.items()}


def reseed() -> None:
    """Gives this fork random numbers of its own, where libraries have a state that all forks of a zygote would share.
    Python's own module random does so by itself."""
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(int.from_bytes(os.urandom(4), "big"))
    root = sys.modules.get("ROOT")
    if root is not None:
        root.gRandom.SetSeed(0)  # which takes one from the host


def given(path: str | None) -> Any:
    """What the session's begin has returned; None if that was nothing."""
    if not path:
        return None
    with open(path, "rb") as f:
        return pickle.load(f)


def status_of(code: Any) -> int:
    """The status with which a process leaves that calls sys.exit(code)."""
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def described(e: BaseException) -> str:
    """An exception in words: its class, named as in tracebacks, and its own text. The last line of a traceback is not
    the same: it may be that of a note, or the end of a text of several lines."""
    kind = type(e)
    name = kind.__qualname__
    if kind.__module__ not in ("__main__", "builtins"):
        name = f"{kind.__module__}.{name}"
    try:
        text = str(e)
    except Exception:  # of its own __str__
        return name
    return f"{name}: {text}" if text else name


def no_memory(e: MemoryError) -> str:
    """What was short of memory, in one line: Python itself raises MemoryError without words."""
    words = described(e)
    return words if words != "MemoryError" else "MemoryError: Python could get no more memory"


def explain_memory(e: BaseException) -> None:
    """Says in a MemoryError, which is to be raised to the user, how much memory there is and how to allow more. Python
    itself raises it without words; to one that has some, such as numpy's, a note is added from Python 3.11 on."""
    if not isinstance(e, MemoryError) or MEMORY in str(e):
        return
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    node = os.environ.get("DTPNODE_NODE_NAME") or os.uname().nodename
    if limit == resource.RLIM_INFINITY:
        words = f"the node {node} has no more memory: hold less at a time"
    else:
        words = (
            f"a process may have {limit >> 20:,} MiB on the node {node}: hold less at a time, or allow more ({MEMORY}, "
            "where the daemon of that node is started)"
        )
    if type(e) is MemoryError and not e.args:
        e.args = (f"Python could get no more memory; {words}",)
    elif not any(words in str(note) for note in getattr(e, "__notes__", ())):
        with contextlib.suppress(Exception):
            e.add_note(words)


def hoards() -> bool:
    """Whether most of the memory that this process may have is in use."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if limit == resource.RLIM_INFINITY:
        return False
    try:
        with open("/proc/self/statm", "rb") as f:
            return int(f.read().split()[5]) * resource.getpagesize() > limit // 2
    except OSError:
        return True  # as one that also has no descriptor left


def no_descriptors(e: OSError) -> str:
    """Why a process cannot open a file that may well be there."""
    if e.errno == errno.ENFILE:
        return f"the host may open no more files: {os.strerror(errno.ENFILE)}"
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"this process may open no more files (limit {limit}): its items leave files open, which they are to close"


def what_to_return(why: str) -> str:
    """What to do about a result that cannot be pickled, in words that say why it cannot."""
    if "async_generator" in why:
        return "return what it yields, as a list, from a function that runs it: asyncio.run(...)"
    if "coroutine" in why:
        return (
            "the function is async, and nothing has run what calling it gives: send a function that does, as "
            "lambda *args: asyncio.run(f(*args)), or one that is not async"
        )
    if "generator" in why:
        return "return list(...) of what it yields"
    if "_io." in why:
        return "return what is to be read of the file, or its path where all hosts see it"
    return "return what is in it that can be pickled, such as numbers, arrays, lists and dictionaries of them"


def deep(tb: TracebackType | None) -> bool:
    """Whether a traceback has so many frames that only the last are shown: to format a million takes minutes."""
    n = 0
    while tb is not None and n <= FRAMES:
        tb, n = tb.tb_next, n + 1
    return n > FRAMES


def trace(e: BaseException) -> str:
    """A traceback that begins in the user's code: frames of the child are left out."""
    here = os.path.dirname(os.path.abspath(__file__))
    tb = e.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(here):
        tb = tb.tb_next
    try:
        return "".join(traceback.format_exception(type(e), e, tb, limit=-FRAMES if deep(tb) else None))
    except Exception:
        return described(e) + "\n"


def raised_value(e: BaseException, item: str, code: Code) -> bytes:
    """The value of an item whose call has raised: the exception as a pickle, which is None, or says in words why, where
    there is none, and words for whoever cannot read the pickle, with the notes that the traceback has."""
    text = trace(e)
    if isinstance(e, ModuleNotFoundError):
        text += advice(e) + "\n"
    if isinstance(e, FileNotFoundError) and isinstance(e.filename, str) and not os.path.isabs(e.filename):
        text += f"{e.filename} was looked for in {os.getcwd()} on {os.uname().nodename}: give its whole path, or send it "
        text += "along (files=[…] in the Python package)\n"
    if isinstance(e, pickle.PicklingError) and ("attribute lookup " in str(e) or "import of module " in str(e)):
        text += "the processes that a call starts by multiprocessing find functions in modules alone, and those of a "
        text += "script are in none here: have a module with them go along (modules=[…] in the Python package), or use "
        text += "threads\n"
    BaseException.with_traceback(e, None)  # Its class may not let attributes be set.
    try:
        pickled = code.exception(e, code.dumps)
    except MemoryError:
        raise
    except BaseException:
        pickled = None
    notes = getattr(e, "__notes__", None)
    words = "\n".join([described(e), *map(str, notes if isinstance(notes, list) else ())])
    return pickle.dumps((pickled, words, text, item), 5)


def is_inode(fd: int, inode: int) -> bool:
    """Whether a descriptor is open, and of the file with that number."""
    try:
        return os.fstat(fd).st_ino == inode
    except OSError:
        return False


def flush() -> None:
    for f in (sys.stdout, sys.stderr):
        try:
            f.flush()
        except (OSError, ValueError):
            pass  # The user's code has closed it.
