"""Measures dask's graphs on dtpnode beside dask.distributed and scheduler="processes", with two workers each.

Each round runs every case once with every system, in turn, so that what else the host does meets all of them alike.
Printed are medians with minimum and maximum, and the ratio of the medians to that of dask.distributed.

    python graphs.py [--rounds 3] [--binary PATH] [--scale 1.0] [--only CASE] [--json FILE]

The interpreter needs dask, distributed, pandas and pyarrow, beside this package. PATH is the dtpnode program that a
cluster of one daemon with two slots is started with, the installed one by default. Scale makes the cases smaller.

    noop     a tree of 100,000 tasks that do nothing, each of which takes the values of eight
    sum      10,000 tasks that each make 1 MB, which are added in a tree, eight at a time
    groupby  the mean of a column by another one, over 1 GB of parquet in 16 files
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask._task_spec import List, Task, TaskRef

import dtpnode
import dtpnode.dask

WORKERS = 2
FAN_IN = 8
FILES = 16
ROWS = 3_500_000  # of a file, in all 1 GB of parquet

Get = Callable[..., Any]


def nothing(*_: object) -> None:
    pass


def made(i: int) -> Any:
    return np.full(1 << 17, float(i))


def added(arrays: list[Any]) -> Any:
    return sum(arrays)


def tree(n: int, leaf: Callable[[str], Task], node: Callable[[str, list[str]], Task]) -> tuple[dict[str, Task], str]:
    """A graph with n leaves, and the key of its root."""
    dsk = {f"leaf-{i}": leaf(f"leaf-{i}") for i in range(n)}
    level = list(dsk)
    depth = 0
    while len(level) > 1:
        depth += 1
        parts = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
        level = [f"node{depth}-{i}" for i in range(len(parts))]
        dsk.update((key, node(key, part)) for key, part in zip(level, parts))
    return dsk, level[0]


def noop(get: Get, scale: float, _: Path) -> int:
    dsk, root = tree(
        int(87_500 * scale), lambda key: Task(key, nothing), lambda key, keys: Task(key, nothing, *map(TaskRef, keys))
    )
    assert get(dsk, [root])[0] is None
    return len(dsk)


def total(get: Get, scale: float, _: Path) -> int:
    n = int(10_000 * scale)
    dsk, root = tree(
        n,
        lambda key: Task(key, made, int(key.partition("-")[2])),
        lambda key, keys: Task(key, added, List(*map(TaskRef, keys))),
    )
    dsk["first"] = Task("first", lambda a: float(a[0]), TaskRef(root))
    assert get(dsk, ["first"])[0] == n * (n - 1) / 2
    return len(dsk)


def group_by(get: Get, scale: float, folder: Path) -> int:
    out = dd.read_parquet(folder).groupby("key").x.mean().compute(scheduler=get)
    assert len(out) == 1000
    return int(FILES * ROWS * scale)


CASES: dict[str, Callable[[Get, float, Path], int]] = {"noop": noop, "sum": total, "groupby": group_by}


def parquet(folder: Path, scale: float) -> None:
    for i in range(FILES):
        rng = np.random.default_rng(i)
        n = int(ROWS * scale)
        frame = pd.DataFrame({"key": rng.integers(0, 1000, n), "x": rng.random(n), "y": rng.random(n)})
        frame.to_parquet(folder / f"{i:02}.parquet")


@contextlib.contextmanager
def systems(binary: str | None) -> Iterator[dict[str, Get]]:
    from dask.multiprocessing import get as processes
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        # The interpreter of this process runs the tasks, as with the others.
        args = ["--python", f"here={sys.executable}"]
        own = stack.enter_context(dtpnode.LocalCluster(nodes=1, slots=WORKERS, binary=binary, args=args))
        client = stack.enter_context(own.client())
        theirs = stack.enter_context(LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None))
        distributed = stack.enter_context(Client(theirs, set_as_default=False))
        yield {
            "dtpnode": dtpnode.dask.get(client, progress=False),
            "distributed": distributed.get,
            "processes": lambda dsk, keys, **more: processes(dsk, keys, num_workers=WORKERS, **more),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", choices=list(CASES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = {name: case for name, case in CASES.items() if options.only in (None, name)}
    took: dict[str, dict[str, list[float]]] = {case: {} for case in cases}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as temp, systems(options.binary) as gets:
        folder = Path(temp)
        if "groupby" in cases:
            parquet(folder, options.scale)
        for get in gets.values():  # Processes begin, and import what they need, before anything is measured.
            dask.delayed(sum)([1, 2]).compute(scheduler=get)
        for number in range(options.rounds):
            for case, run in cases.items():
                for name, get in gets.items():
                    since = time.perf_counter()
                    sizes[case] = run(get, options.scale, folder)
                    took[case].setdefault(name, []).append(time.perf_counter() - since)
                    print(f"{number + 1}: {case} {name} {took[case][name][-1]:.2f} s", file=sys.stderr, flush=True)
    report(took, sizes)
    if options.json is not None:
        options.json.write_text(json.dumps({"seconds": took, "sizes": sizes}, indent=1) + "\n")


def report(took: dict[str, dict[str, list[float]]], sizes: dict[str, int]) -> None:
    for case, by_system in took.items():
        unit = "rows" if case == "groupby" else "tasks"
        print(f"{case}: {sizes[case]:,} {unit}")
        base = statistics.median(by_system["distributed"])
        for name, seconds in by_system.items():
            median = statistics.median(seconds)
            print(
                f"  {name:12} {median:8.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
                f" {sizes[case] / median:12,.0f} {unit}/s   {base / median:5.2f} x distributed"
            )


if __name__ == "__main__":
    main()
