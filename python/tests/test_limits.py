"""What a call may take of its node, by which interface it is submitted, and what is said where that is not enough."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import dask
import joblib
import numpy as np
import pytest

import dtpnode
import dtpnode.dask
import dtpnode.joblib

HOUR = 3600.0


def endless(_=None):
    while True:
        pass


def by_executor(client, function, **options):
    with client.executor(**options) as pool:
        return pool.submit(function, 1).result()


def by_class(client, function, **options):
    with dtpnode.Executor(client.control, **options) as pool:
        return list(pool.map(function, [1]))[0]


def by_remote_map(client, function, **options):
    return next(client.remote_map(function, [1], progress=False, **options)).result()


def by_joblib(client, function, **options):
    with joblib.parallel_config(backend="dtpnode", client=client, **options):
        try:
            return joblib.Parallel()([joblib.delayed(function)(1)])[0]
        finally:
            for _, executor in dtpnode.joblib._shared._executors.pop(client, {}).values():
                executor.shutdown()


def by_dask(client, function, **options):
    return dask.delayed(function)(1).compute(scheduler=dtpnode.dask.get(client, progress=False, **options))


def by_persist(client, function, **options):
    with dtpnode.dask.get(client, progress=False, **options):
        return dask.delayed(function)(1).persist().compute()


def by_reduce(client, function, **options):
    return client.reduce(function, [1], **options).result()


def by_reduce_of_an_executor(client, function, **options):
    with client.executor() as pool:
        return pool.reduce(function, [1], **options).result()


ANY = [by_executor, by_class, by_remote_map, by_joblib, by_dask, by_persist]
TOTALS = [by_reduce, by_reduce_of_an_executor]


@pytest.fixture
def asked(client, monkeypatch):
    """The titles and limits of time of the jobs that the daemon is asked for."""
    found = []
    call = type(client.control).call

    def spy(self, method, path, body=None, *args, **options):
        if (method, path) == ("POST", "/v1/jobs"):
            found.append((body["title"], body.get("stall_seconds")))
        return call(self, method, path, body, *args, **options)

    monkeypatch.setattr(type(client.control), "call", spy)
    return found


@pytest.mark.parametrize("by", [
    by if by in (by_executor, by_dask, by_reduce) else pytest.param(by, marks=pytest.mark.long) for by in ANY + TOTALS
])
def test_limit_of_time(client, asked, by):
    """Calls have no limit by default, as users of these interfaces expect; pieces of a total have an hour. What is no
    limit is refused before anything begins."""
    for wrong, error in (0, ValueError), (-1, ValueError), (float("nan"), ValueError), ("5m", TypeError):
        with pytest.raises(error, match="stall"):
            by(client, abs, stall=wrong)
    began = [title for title, _ in asked]
    assert began == (["executor"] * 4 if by is by_reduce_of_an_executor else [])
    assert by(client, abs, stall=77) == 1
    assert asked[-1][1] == 77
    assert by(client, abs) == 1
    assert asked[-1][1] == (HOUR if by in TOTALS else -1)
    assert by(client, abs, stall=None) == 1
    assert asked[-1][1] == -1


def test_endless_loops(client, capfd):
    """They are blamed, and their users told what to set, once each."""
    ways = by_executor, by_remote_map, by_dask, by_reduce
    with ThreadPoolExecutor() as threads:
        errors = [f.exception() for f in [threads.submit(by, client, endless, stall=1) for by in ways]]
    for by, error in zip(ways, errors):
        assert isinstance(error, dtpnode.ItemLost), error
        assert "no progress for 1s: an endless loop" in str(error) and "stall= in Python" in str(error)
        if by is not by_reduce:
            assert "tried 3 times" in str(error) and "in endless" in str(error)
            assert error.hint.startswith("stall=SECONDS, or None for no limit, ")
            assert re.search("`dtpnode logs [0-9a-f]{12}` has the last 256 KiB ", error.hint)
    told = [line for line in capfd.readouterr().err.splitlines() if "a process has failed on local-0" in line]
    assert len(told) == len(ways)
    for line in told:
        assert "no progress for 1s" in line and line.endswith("; it is tried again, 3 times in all")


def hoards(_):
    return bytearray(1 << 45)


def reads(_):
    raise MemoryError("the file is too large")


@pytest.mark.parametrize("by", [by_executor, by_remote_map, by_dask])
def test_memory_error(client, by):
    """Python raises it without words. Those of others stay, and a note has the limit."""
    limit = r"a process may have [\d,]+ MiB on the node local-0: hold less at a time, or allow more \(dtpnode up --mem"
    with pytest.raises(MemoryError, match=rf"^Python could get no more memory; {limit}"):
        by(client, hoards)
    with pytest.raises(MemoryError, match="^the file is too large") as e:
        by(client, reads)
    assert e.value.args == ("the file is too large",)
    if sys.version_info >= (3, 11):
        assert [bool(re.match(limit, note)) for note in e.value.__notes__].count(True) == 1


def test_memory_error_of_numpy(pool):
    with pytest.raises(MemoryError, match="Unable to allocate 71.1 PiB") as e:
        pool.submit(np.zeros, 10**16).result()
    if sys.version_info >= (3, 11):
        assert "MiB on the node local-0" in e.value.__notes__[0]
