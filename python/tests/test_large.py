"""Results that are large: they stay on disk until they are asked for."""

import gc
import os
import threading
from concurrent.futures import wait

import pytest

import dtpnode

MB = 1 << 20


def rss():
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_large_results_wait_on_disk(pool):
    """24 results of 8 MiB are no 192 MiB in the memory of who has submitted the calls."""
    before = rss()
    futures = [pool.submit(lambda i: bytes([i]) * (8 * MB), i) for i in range(24)]
    wait(futures)
    most = 0
    for i, f in enumerate(futures):
        value = f.result()
        assert len(value) == 8 * MB and value[:1] == value[-1:] == bytes([i])
        futures[i] = None
        del value, f
        most = max(most, rss())
    gc.collect()
    assert most - before < 80 * MB


def test_large_results_of_many_kinds(pool):
    """What is written as it is pickled comes back as it was, also beside small values and errors of the same packet."""
    import numpy

    def make(i):
        if i % 5 == 0:
            return numpy.full((256, 1024), i)
        if i % 5 == 1:
            return {"text": "é" * MB, "bytes": bytearray(MB), "n": i}
        if i % 5 == 2:
            raise ValueError(i, bytes(2 * MB))
        if i % 5 == 3:  # Its pickle breaks off behind what has been written of it.
            return [bytes(2 * MB), threading.Lock()]
        return i

    futures = [pool.submit(make, i) for i in range(20)]
    for i, f in enumerate(futures):
        if i % 5 == 0:
            assert (f.result() == i).all() and f.result().shape == (256, 1024)
        elif i % 5 == 1:
            assert f.result() == {"text": "é" * MB, "bytes": bytearray(MB), "n": i}
        elif i % 5 == 2:
            with pytest.raises(ValueError) as e:
                f.result()
            assert e.value.args == (i, bytes(2 * MB)) and isinstance(e.value.__cause__, dtpnode.RemoteTraceback)
        elif i % 5 == 3:
            with pytest.raises(Exception, match="the result.1., a _thread.lock"):
                f.result()
        else:
            assert f.result() == i


def test_many_values_of_some_size(pool):
    """Values that are not small together, and not large each."""
    values = list(pool.map(lambda i: bytes([i % 256]) * 5_000, range(20_000)))
    assert values == [bytes([i % 256]) * 5_000 for i in range(20_000)]


def test_disk_that_takes_no_value(pool, client):
    """A disk that does not take a result is not the call's error: the call is tried again."""

    def full(path):
        import os
        import resource
        import signal

        if not os.path.exists(path):
            open(path, "w").close()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        return bytes(1 << 20)

    path = os.path.join(client_folder(client), "tried")
    assert pool.submit(full, path).result() == bytes(MB)
    assert os.path.exists(path)


def client_folder(client):
    """A folder that the nodes of this host can write to."""
    import tempfile

    return tempfile.mkdtemp(prefix="dtpnode-test-")
