"""Measures executors beside each other: dtpnode's, the standard library's, loky's, dask.distributed's and ray's.

Each round runs every case once with every system, in turn, so that what else the host does meets all of them alike.
Printed are medians with minimum and maximum, and the ratio of the medians to that of the standard library. Cases that
take long run once at the end, each system in a process of its own.

    python futures.py [--rounds 3] [--state FOLDER] [--binary PATH] [--items 200000] [--json FILE]

FOLDER is the state folder of a daemon with two slots, beside which nothing else should run. Without it one is started
for the time of the measurement, with the program at PATH or the installed one.

dask.distributed and ray get a fiftieth of the items and a tenth of the calls, so that a round does not take minutes:
their rates do not depend on how many there are.
"""

import argparse
import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any, Callable, Iterator

WORKERS = 2
SLOW = ("dask.distributed", "ray")


def nothing(x: int) -> int:
    return x


def big(n: int) -> bytes:
    return b"x" * n


class Pool:
    """An executor that is measured. Subclasses say what differs."""

    name = ""
    chunk = 1000  # calls that travel together, where the system asks its user for that

    def __init__(self) -> None:
        self.executor: Executor

    def map(self, f: Callable[[Any], Any], items: "range | list[Any]") -> Iterator[Any]:
        return self.executor.map(f, items, chunksize=self.chunk)

    def submit(self, f: Callable[[Any], Any], x: Any) -> Any:
        return self.executor.submit(f, x)

    def result(self, future: Any) -> Any:
        return future.result()

    def processes(self) -> list[int]:
        """The processes that belong to it, but for this one."""
        return descendants(os.getpid())

    def close(self) -> None:
        self.executor.shutdown()


class Dtpnode(Pool):
    name = "dtpnode"
    chunk = 1

    def __init__(self, state: str) -> None:
        import dtpnode

        self.client = dtpnode.Client(state)
        self.executor = self.client.executor()
        self.daemon = int(self.client.control.call("GET", "/v1/status")["pid"])

    def processes(self) -> list[int]:
        return [self.daemon, *descendants(self.daemon)]

    def zygotes(self) -> list[float]:
        """What the interpreter from which programs are forked has of its own, and then what each program has, MB."""
        base = [p for p in children(self.daemon) if "python" in os.path.basename(os.readlink(f"/proc/{p}/exe"))]
        return [memory(p, "Private_Clean", "Private_Dirty") for b in base for p in (b, *children(b))]

    def close(self) -> None:
        super().close()
        self.client.close()


class Processes(Pool):
    name = "ProcessPoolExecutor"

    def __init__(self) -> None:
        self.executor = ProcessPoolExecutor(WORKERS)


class Loky(Pool):
    name = "loky"

    def __init__(self) -> None:
        import loky

        self.executor = loky.ProcessPoolExecutor(WORKERS)


class Dask(Pool):
    name = "dask.distributed"

    def __init__(self) -> None:
        import distributed

        self.client = distributed.Client(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None)
        self.executor = self.client.get_executor(pure=False)

    def map(self, f: Callable[[Any], Any], items: "range | list[Any]") -> Iterator[Any]:
        # Its own map has a batch_size, and is what its users are told to call for many small items.
        return iter(self.client.gather(self.client.map(f, items, pure=False, batch_size=self.chunk)))

    def close(self) -> None:
        super().close()
        self.client.shutdown()


class Ray(Pool):
    name = "ray"

    def __init__(self) -> None:
        import ray

        ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        self.ray = ray
        self.remote = {f: ray.remote(f) for f in (nothing, big)}

    def map(self, f: Callable[[Any], Any], items: "range | list[Any]") -> Iterator[Any]:
        remote = self.remote[f]
        return iter(self.ray.get([remote.remote(x) for x in items]))

    def submit(self, f: Callable[[Any], Any], x: Any) -> Any:
        remote = self.remote.get(f) or self.ray.remote(f)
        return remote.remote(x)

    def result(self, future: Any) -> Any:
        return self.ray.get(future)

    def close(self) -> None:
        self.ray.shutdown()


def many(pool: Pool, items: int) -> float:
    """No-op map, items a second."""
    began = time.perf_counter()
    n = sum(1 for _ in pool.map(nothing, range(items)))
    assert n == items
    return n / (time.perf_counter() - began)


def singles(pool: Pool, calls: int) -> float:
    """Single no-op submits whose results are then taken, calls a second."""
    began = time.perf_counter()
    futures = [pool.submit(nothing, i) for i in range(calls)]
    assert [pool.result(f) for f in futures] == list(range(calls))
    return calls / (time.perf_counter() - began)


def trips(pool: Pool, calls: int) -> list[float]:
    """Times of a submit whose result is taken before the next one, ms."""
    out = []
    for i in range(calls):
        began = time.perf_counter()
        assert pool.result(pool.submit(nothing, i)) == i
        out.append(1e3 * (time.perf_counter() - began))
    return out


def large(pool: Pool, n: int, size: int) -> float:
    """Results of a size, MB a second."""
    began = time.perf_counter()
    futures = [pool.submit(big, size) for _ in range(n)]
    for i, f in enumerate(futures):
        assert len(pool.result(f)) == size
        futures[i] = None
        del f
    return n * size / 1e6 / (time.perf_counter() - began)


def children(pid: int) -> list[int]:
    out = []
    with contextlib.suppress(OSError):  # It may have ended.
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as f:
                out += map(int, f.read().split())
    return out


def descendants(pid: int) -> list[int]:
    out = children(pid)
    for child in list(out):
        out += descendants(child)
    return out


def memory(pid: int, *kinds: str) -> float:
    """MB that a process has, of some kinds as the kernel calls them."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f if line.split(":")[0] in kinds) / 1e3
    return 0.0


class Watch:
    """The most memory that this process and those of a pool have, while it is watched, MB."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._over = pool, threading.Event()
        self.client = self.pool = 0.0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while True:
            self.client = max(self.client, memory(os.getpid(), "Pss"))
            self.pool = max(self.pool, sum(memory(p, "Pss") for p in self._pool.processes()))
            if self._over.wait(0.25):
                return

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def functions(pool: Pool, n: int) -> None:
    """Calls functions of different code, once each."""
    made = [eval(f"lambda x: x + {i}") for i in range(n)]
    futures = [pool.submit(f, 1) for f in made]
    assert [pool.result(f) for f in futures] == list(range(1, n + 1))


Note = Callable[[str, float], None]


def short(pool: Pool, a: argparse.Namespace, note: Note) -> None:
    """The cases of a round."""
    few = pool.name in SLOW
    if a.items:
        note("map, items/s", many(pool, a.items // 50 if few else a.items))
    if a.calls:
        note("submit, calls/s", singles(pool, a.calls // 10 if few else a.calls))
    if a.trips:
        times = sorted(trips(pool, a.trips))
        note("round trip p50, ms", times[len(times) // 2])
        note("round trip p99, ms", times[int(len(times) * 0.99)])


def long(pool: Pool, a: argparse.Namespace, note: Note) -> None:
    """The cases that run once."""
    if a.functions and pool.name != Processes.name:  # It takes no functions that cannot be imported.
        functions(pool, a.functions // 2)
        before = sum(memory(p, "Pss") for p in pool.processes())
        began = time.perf_counter()
        functions(pool, a.functions // 2)
        note("functions of different code, calls/s", a.functions / 2 / (time.perf_counter() - began))
        after = sum(memory(p, "Pss") for p in pool.processes())
        note(f"the pool's memory after {a.functions:,} of them against half as many, MB", after - before)
    if isinstance(pool, Dtpnode):
        base, *programs = pool.zygotes()
        note("own memory of the base interpreter, MB", base)
        note("own memory of an idle program's process, median, MB", statistics.median(programs))
    if a.memory and pool.name not in SLOW:
        gc.collect()
        before = memory(os.getpid(), "Pss")
        with Watch(pool) as watch:
            n = sum(1 for _ in pool.map(nothing, range(a.memory)))
        assert n == a.memory
        note(f"map of {a.memory:,}: the client's memory grows by, MB", watch.client - before)
        note(f"map of {a.memory:,}: most memory of the pool's processes, MB", watch.pool)
        if isinstance(pool, Dtpnode):
            note(f"map of {a.memory:,}: memory of the daemon after it, MB", memory(pool.daemon, "Pss"))
    if a.large:
        with Watch(pool) as watch:
            note(f"{a.large} results of 50 MB, MB/s", large(pool, a.large, 50_000_000))
        note("results of 50 MB: most memory of the client, MB", watch.client)


Rows = dict[str, list[float]]


def rounds(a: argparse.Namespace, makers: dict[str, Callable[[], Pool]], got: dict[str, Rows]) -> None:
    for _ in range(a.rounds):
        for system in a.systems.split(","):
            measure(makers[system], short, a, got.setdefault(system, {}))


def measure(
    make: Callable[[], Pool], what: "Callable[[Pool, argparse.Namespace, Note], None]", a: argparse.Namespace,
    rows: dict[str, list[float]],
) -> None:
    pool = make()

    def note(what: str, value: float) -> None:
        rows.setdefault(what, []).append(value)
        print(f"{pool.name}: {what}: {value:.4g}", file=sys.stderr, flush=True)

    try:
        many(pool, 200)  # starts what starts with the first calls
        what(pool, a, note)
        began = time.perf_counter()
    finally:
        pool.close()
    if what is long:
        note("to end after all that, in which dtpnode has the results on disk and commits them, s",
             time.perf_counter() - began)


def once(a: argparse.Namespace, got: dict[str, dict[str, list[float]]]) -> None:
    """Runs the long cases of each system in a process of its own."""
    for system in a.systems.split(","):
        args = [sys.executable, __file__, "--once", system, "--state", a.state]
        args += [f"--{name}={getattr(a, name)}" for name in ("large", "memory", "functions")]
        rows = json.loads(subprocess.run(args, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
        for what, values in rows.items():
            got.setdefault(system, {}).setdefault(what, []).extend(values)


def table(got: dict[str, dict[str, list[float]]]) -> None:
    cases = list(dict.fromkeys(what for rows in got.values() for what in rows))
    print("| case | " + " | ".join(got) + " |")
    print("| --- |" + " --- |" * len(got))
    for what in cases:
        cells = []
        base = statistics.median(got.get(Processes.name, {}).get(what, [float("nan")]))
        for rows in got.values():
            values = rows.get(what)
            if not values:
                cells.append("")
                continue
            m = statistics.median(values)
            cell = number(m)
            if len(values) > 1:
                cell += f" ({number(min(values))}–{number(max(values))})"
            cells.append(cell if base != base or not base else f"{cell}, {m / base:.2g} ×")
        print(f"| {what} | " + " | ".join(cells) + " |")


def number(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--state", help="of a daemon with two slots; by default one is started")
    arguments.add_argument("--binary", help="the program dtpnode that is started")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--items", type=int, default=200_000, help="of a map")
    arguments.add_argument("--calls", type=int, default=10_000, help="single submits")
    arguments.add_argument("--trips", type=int, default=300, help="submits whose results are taken one by one")
    arguments.add_argument("--large", type=int, default=100, help="results of 50 MB, once")
    arguments.add_argument("--memory", type=int, default=1_000_000, help="items of a map whose memory is watched, once")
    arguments.add_argument("--functions", type=int, default=1_000, help="of different code, once")
    arguments.add_argument("--systems", default="dtpnode,ProcessPoolExecutor,loky,dask.distributed,ray")
    arguments.add_argument("--once", help=argparse.SUPPRESS)
    arguments.add_argument("--json")
    a = arguments.parse_args()
    makers: dict[str, Callable[[], Pool]] = {
        "dtpnode": lambda: Dtpnode(a.state), Processes.name: Processes, Loky.name: Loky, Dask.name: Dask, Ray.name: Ray,
    }
    got: dict[str, dict[str, list[float]]] = {}
    if a.once:
        measure(makers[a.once], long, a, got.setdefault(a.once, {}))
        print(json.dumps(got[a.once]))
        return
    with contextlib.ExitStack() as stack:
        if not a.state and "dtpnode" in a.systems:
            import dtpnode

            cluster = dtpnode.LocalCluster(nodes=1, slots=WORKERS, binary=a.binary)
            a.state = str(stack.enter_context(cluster).states[0])
        rounds(a, makers, got)
        if a.large or a.memory or a.functions:
            once(a, got)
    table(got)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(got, f, indent=1)


if __name__ == "__main__":
    main()
