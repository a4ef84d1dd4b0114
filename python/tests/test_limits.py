"""What a call may take of its node, by which interface it is submitted, and what is said where that is not enough."""

import re
import sys

import dask
import numpy as np
import pytest

import dtpnode.dask

def by_executor(client, function, **options):
    with client.executor(**options) as pool:
        return pool.submit(function, 1).result()


def by_remote_map(client, function, **options):
    return next(client.remote_map(function, [1], progress=False, **options)).result()


def by_dask(client, function, **options):
    return dask.delayed(function)(1).compute(scheduler=dtpnode.dask.get(client, progress=False, **options))


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
