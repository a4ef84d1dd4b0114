"""A program that package child drives in its tests: it speaks the protocol of exec/child/doc.go in Python, with nothing
but the standard library. The user's code is a Python source with any of the functions begin(), start(input),
process(unit) and finish(), and a partial is JSON: units, canary, and how often process returned each value."""

import array
import collections
import ctypes
import json
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import traceback

PROTOCOL = 1
MAX_FRAME = 256 << 20
PHASES = ["idle", "load", "begin", "start", "open", "process", "seal", "merge", "finish", "plan"]
CODE_PHASES = ("load", "begin", "start", "finish")
libc = ctypes.CDLL(None)


# --- msgpack, as much of it as frames need


def pack(v):
    if v is None:
        return b"\xc0"
    if v is True or v is False:
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        return b"\xd3" + struct.pack(">q", v) if v < 1 << 63 else b"\xcf" + struct.pack(">Q", v)
    if isinstance(v, str):
        b = v.encode(errors="replace")
        return b"\xdb" + struct.pack(">I", len(b)) + b
    if isinstance(v, (bytes, bytearray)):
        return b"\xc6" + struct.pack(">I", len(v)) + bytes(v)
    if isinstance(v, list):
        return b"\xdd" + struct.pack(">I", len(v)) + b"".join(map(pack, v))
    return b"\xdf" + struct.pack(">I", len(v)) + b"".join(pack(k) + pack(x) for k, x in v.items())


FIXED = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
         0xCA: ">f", 0xCB: ">d"}
SIZED = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I",
         0xDE: ">H", 0xDF: ">I"}


class Unpacker:
    def __init__(self, b):
        self.b, self.at = b, 0

    def take(self, n):
        self.at += n
        return self.b[self.at - n:self.at]

    def value(self):
        c = self.take(1)[0]
        if c <= 0x7F:
            return c
        if c >= 0xE0:
            return c - 256
        if c in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[c]
        if c in FIXED:
            return struct.unpack(FIXED[c], self.take(struct.calcsize(FIXED[c])))[0]
        if c <= 0x8F:
            return self.mapping(c & 0x0F)
        if c <= 0x9F:
            return [self.value() for _ in range(c & 0x0F)]
        if c <= 0xBF:
            return self.take(c & 0x1F).decode()
        n = struct.unpack(SIZED[c], self.take(struct.calcsize(SIZED[c])))[0]
        if c <= 0xC6:
            return bytes(self.take(n))
        if c <= 0xDB:
            return self.take(n).decode()
        return [self.value() for _ in range(n)] if c <= 0xDD else self.mapping(n)

    def mapping(self, n):
        return {self.value(): self.value() for _ in range(n)}


class Channel:
    """One end of a socket pair that carries frames, and descriptors beside them."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.fds = []

    def read_bytes(self, n):
        out = b""
        while len(out) < n:
            b, more, _, _ = self.sock.recvmsg(n - len(out), socket.CMSG_SPACE(32), socket.MSG_CMSG_CLOEXEC)
            for level, kind, data in more:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    got = array.array("i")
                    got.frombytes(data[:len(data) - len(data) % got.itemsize])
                    self.fds += got
            if not b:
                raise EOFError
            out += b
        return out

    def read(self):
        n = struct.unpack(">I", self.read_bytes(4))[0]
        if n > MAX_FRAME:
            raise EOFError
        return Unpacker(self.read_bytes(n)).value()

    def write(self, frame):
        b = pack(frame)
        self.sock.sendall(struct.pack(">I", len(b)) + b)


class Page:
    """The shared page."""

    def __init__(self, fd):
        self.mem = mmap.mmap(fd, 4096)
        self.words = memoryview(self.mem).cast("Q")
        self.signed = memoryview(self.mem).cast("q")
        self.halves = memoryview(self.mem).cast("I")
        self.entry = -1

    def packet(self, n):
        self.words[0] = n

    @property
    def entry(self):
        return self.signed[1]

    @entry.setter
    def entry(self, n):
        self.signed[1] = n

    def progress(self):
        self.words[2] += 1

    def stop(self):
        return self.words[3]

    @property
    def phase(self):
        return PHASES[self.halves[8]]

    @phase.setter
    def phase(self, name):
        self.halves[8] = PHASES.index(name)
        self.progress()


class Failed(Exception):
    def __init__(self, kind, msg, **more):
        super().__init__(msg)
        self.kind, self.more = kind, more


# --- the canary of tasks.Canary


def mix(x):
    mask = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return x ^ x >> 31


def canary(job, first, last):
    return mix(mix(mix(job) ^ first) ^ last)


# --- what forks do


class Worker:
    """A fork that answers requests, each with the method that its op names."""

    goes_on = False

    def __init__(self, channel, page, code):
        self.channel, self.page, self.code = channel, page, code
        self.over = False

    def call(self, name, *args):
        f = self.code.get(name)
        return f(*args) if f else None

    def run(self):
        while not self.over:
            try:
                request = self.channel.read()
            except EOFError:
                return
            reply = self.answer(request)
            sys.stdout.flush()
            self.channel.write(reply)
            if reply["op"] == "failed" and not self.goes_on:
                return

    def answer(self, request):
        try:
            reply = getattr(self, "do_" + request["op"])(request)
            self.page.phase = "idle"
            return reply
        except Failed as e:
            return self.failed(e.kind, str(e), **e.more)
        except SystemExit as e:
            return self.failed("exit", f"called exit({e.code})", exit=e.code or 0)
        except MemoryError:
            return self.failed("memory", "MemoryError")
        except OSError as e:
            if self.page.phase in ("seal", "merge"):
                return self.failed("disk", str(e))
            return self.thrown(e)
        except BaseException as e:
            return self.thrown(e)

    def thrown(self, e):
        traceback.print_exc(file=sys.stdout)
        return self.failed("code" if self.page.phase in CODE_PHASES else "exception", f"{type(e).__name__}: {e}")

    def failed(self, kind, msg, **more):
        return {"op": "failed", "kind": kind, "what": self.page.phase, "entry": self.page.entry, "msg": msg, **more}

    def write(self, path, out):
        temp = f"{path}.tmp{os.getpid()}"
        with open(temp, "w") as f:
            json.dump(out, f)
        os.rename(temp, path)
        return {"op": "sealed", "units": out["units"], "canary": out["canary"]}


def read_input(path):
    """Inputs of the tests are JSON: entries."""
    try:
        with open(path) as f:
            return json.load(f)["entries"]
    except OSError as e:
        raise Failed("open", e.strerror, errno=e.errno, file=path)
    except (ValueError, KeyError, TypeError):
        raise Failed("open", "not a file of the tests", file=path)


def read_partials(paths):
    out = {"units": 0, "canary": 0, "counts": {}}
    for path in paths:
        with open(path) as f:
            p = json.load(f)
        out["units"] += p["units"]
        out["canary"] = (out["canary"] + p["canary"]) % (1 << 64)
        for k, n in p["counts"].items():
            out["counts"][k] = out["counts"].get(k, 0) + n
    return out


class Planner(Worker):
    goes_on = True

    def do_plan(self, r):
        self.page.phase = "open"
        return {"op": "planned", "entries": read_input(r["file"])}


class Generation(Worker):
    def do_begin(self, r):
        if r["dir"]:
            os.chdir(r["dir"])
        if r["memory"] > 0:
            resource.setrlimit(resource.RLIMIT_DATA, (r["memory"], r["memory"]))
        if r["filesize"] > 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (r["filesize"], resource.RLIM_INFINITY))
        self.job, self.file, self.units, self.canary = r["job"], None, 0, 0
        self.counts = collections.Counter()
        self.page.phase = "start"
        given = b""
        if r.get("input"):
            with open(r["input"], "rb") as f:
                given = f.read()
        self.call("start", given)
        return {"op": "ready"}

    def do_packet(self, p):
        self.page.packet(p["id"])
        opened = p["file"] != self.file
        try:
            if opened and p["file"]:
                self.open(p)
        except Failed as e:
            self.page.phase = "idle"
            return {**self.failed(e.kind, str(e), **e.more), "op": "refused", "id": p["id"], "what": "open"}
        self.page.phase = "process"
        last = p["last"]
        if p["clip"] and p["file"]:
            last = min(last, self.entries)
        at = p["first"]
        while at < last and self.page.stop() < p["seq"]:
            self.page.entry = at
            self.page.progress()
            self.counts[str(self.call("process", p["base"] + at))] += 1
            at += 1
        self.page.entry = -1
        if at > p["first"]:
            self.units += at - p["first"]
            self.canary = (self.canary + canary(self.job, p["base"] + p["first"], p["base"] + at)) % (1 << 64)
        return {"op": "done", "id": p["id"], "last": p["last"] if at == last else at, "opened": opened}

    def open(self, p):
        self.page.phase = "open"
        entries = read_input(p["file"])
        if p["total"] > 0 and p["total"] != entries:
            raise Failed("open", f"it has {entries} entries, not {p['total']}", errno=-2, file=p["file"])
        self.file, self.entries = p["file"], entries

    def do_seal(self, r):
        self.page.phase = "seal"
        self.over = True
        return self.write(r["path"], {"units": self.units, "canary": self.canary, "counts": dict(self.counts)})


class Merger(Worker):
    def do_merge(self, r):
        self.page.phase = "merge"
        return self.write(r["path"], read_partials(r["inputs"]))


class Session(Worker):
    def do_enter(self, r):
        for v in r["env"] or []:
            name, _, value = v.partition("=")
            os.environ[name] = value
        if r["dir"]:
            os.chdir(r["dir"])
        self.page.phase = "begin"
        out = self.call("begin")
        return {"op": "begun", "input": out or b""}

    def do_finish(self, r):
        self.page.phase = "merge"
        out = read_partials(r["partials"])
        if r["user"]:
            self.page.phase = "finish"
            self.call("finish")
            self.page.phase = "merge"
        if r["path"]:
            self.write(r["path"], out)
        return {"op": "finished", "units": out["units"], "canary": out["canary"], "keys": 1}


class Loader(Worker):
    """Loads the user's code and then forks."""

    def do_load(self, r):
        self.page.phase = "load"
        code = {}
        exec(compile(r["source"], "code.py", "exec"), code)
        self.code, self.over = code, True
        return {"op": "loaded"}

    def run(self):
        super().run()
        if self.over:
            Zygote(self.channel, {"generation": Generation, "merger": Merger, "session": Session}, self.code).serve()


class Zygote:
    def __init__(self, channel, roles, code):
        self.channel, self.roles, self.code, self.children = channel, roles, code, set()
        libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
        self.wake, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes.fileno())
        self.wakes = wakes

    def serve(self):
        while True:
            ready, _, _ = select.select([self.channel.sock, self.wake], [], [])
            if self.wake in ready:
                self.wake.recv(4096)
                self.reap()
            if self.channel.sock in ready and not self.frame():
                break
        for pid in self.children:
            self.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.children.clear()
        while self.orphans():
            os.waitpid(-1, 0)

    def frame(self):
        try:
            r = self.channel.read()
        except EOFError:
            return False
        if r["op"] == "fork":
            self.fork(r)
        elif r["op"] == "signal" and r["pid"] in self.children:
            self.kill(r["pid"], r["sig"])
        return True

    def kill(self, pid, sig):
        if sig == signal.SIGKILL:
            try:
                os.killpg(pid, sig)
            except OSError:
                pass
        os.kill(pid, sig)

    def fork(self, r):
        fds, self.channel.fds = self.channel.fds[:3], self.channel.fds[3:]
        worker = self.roles.get(r["role"])
        if worker is None or len(fds) < 3:
            self.channel.write({"op": "error", "id": r["id"], "msg": "no role " + r["role"] + " here"})
            return
        sys.stdout.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.become(worker, parent, *fds)
        for fd in fds:
            os.close(fd)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        self.children.add(pid)
        self.channel.write({"op": "forked", "id": r["id"], "pid": pid})

    def become(self, worker, parent, sock, log, page):
        status = 1
        try:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                return
            libc.prctl(36, 1)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self.channel.sock.close()
            self.wake.close()
            self.wakes.close()
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            worker(Channel(sock), Page(page), self.code).run()
            status = 0
        except (EOFError, BrokenPipeError, ConnectionError):
            pass
        finally:
            sys.stdout.flush()
            os._exit(status)

    def reap(self):
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            if pid not in self.children:
                continue
            self.children.discard(pid)
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass
            self.channel.write({"op": "exited", "pid": pid, "status": status, "maxrss": usage.ru_maxrss})
        self.orphans()

    def orphans(self):
        """Kills what forks have left behind, and reports whether there was something."""
        some = False
        with open(f"/proc/self/task/{os.getpid()}/children") as f:
            for pid in map(int, f.read().split()):
                if pid not in self.children:
                    some = True
                    os.kill(pid, signal.SIGKILL)
        return some


def main():
    os.set_inheritable(3, False)
    sys.stdout.reconfigure(line_buffering=True)
    channel = Channel(3)
    channel.write({"op": "hello", "protocol": PROTOCOL, "version": sys.version.split()[0]})
    Zygote(channel, {"planner": Planner, "loader": Loader}, None).serve()


main()
