"""Measures executors beside each other: dtpnode's, the standard library's, loky's, dask.distributed's and ray's.

Each round runs every case once with every system, in turn, so that what else the host does meets all of them alike.
Printed are medians with minimum and maximum, and the ratio of the medians to that of the standard library.

    python futures.py --rounds 5 --state FOLDER [--items 200000] [--json FILE]

FOLDER is the state folder of a daemon with two slots, beside which nothing else should run.
"""

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any, Callable, Iterator

WORKERS = 2


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

    def close(self) -> None:
        self.executor.shutdown()


class Dtpnode(Pool):
    name = "dtpnode"
    chunk = 1

    def __init__(self, state: str) -> None:
        import dtpnode

        self.client = dtpnode.Client(state)
        self.executor = self.client.executor()

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
        return self.remote[f].remote(x)

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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--state", required=True)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--items", type=int, default=200_000)
    arguments.add_argument("--calls", type=int, default=10_000)
    arguments.add_argument("--trips", type=int, default=500)
    arguments.add_argument("--large", type=int, default=100, help="results of 50 MB")
    arguments.add_argument("--systems", default="dtpnode,ProcessPoolExecutor,loky,dask.distributed,ray")
    arguments.add_argument("--json")
    a = arguments.parse_args()
    makers: dict[str, Callable[[], Pool]] = {
        "dtpnode": lambda: Dtpnode(a.state), Processes.name: Processes, Loky.name: Loky, Dask.name: Dask, Ray.name: Ray,
    }
    got: dict[str, dict[str, list[float]]] = {}
    for _ in range(a.rounds):
        for system in a.systems.split(","):
            pool = makers[system]()
            try:
                many(pool, 200)  # starts what starts with the first calls
                rows = got.setdefault(system, {})

                def note(what: str, value: float) -> None:
                    rows.setdefault(what, []).append(value)
                    print(f"{system}: {what}: {value:.4g}", file=sys.stderr)

                if a.items:
                    note("map, items/s", many(pool, a.items if system != Ray.name else a.items // 10))
                if a.calls:
                    note("submit, calls/s", singles(pool, a.calls))
                if a.trips:
                    times = sorted(trips(pool, a.trips))
                    note("round trip p50, ms", times[len(times) // 2])
                    note("round trip p99, ms", times[int(len(times) * 0.99)])
                if a.large:
                    note("results of 50 MB, MB/s", large(pool, a.large, 50_000_000))
            finally:
                pool.close()
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
            cells.append(f"{m:.3g} ({min(values):.3g}–{max(values):.3g}), {m / base:.2f} ×")
        print(f"| {what} | " + " | ".join(cells) + " |")
    if a.json:
        with open(a.json, "w") as f:
            json.dump(got, f, indent=1)


if __name__ == "__main__":
    main()
