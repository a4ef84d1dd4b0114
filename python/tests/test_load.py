"""Outputs of jobs in Python, as ``dtpnode get`` writes them."""

import subprocess

import pytest

import dtpnode
from dtpnode._cluster import binary


@pytest.fixture
def get(cluster, tmp_path):
    def get(job):
        path = tmp_path / job
        command = [binary(), "get", job, "-o", str(path), "--state", str(cluster.states[0])]
        subprocess.run(command, check=True, capture_output=True, timeout=900)
        return path

    return get


def test_values(client, get):
    with client.executor() as pool:
        for n in range(1000):
            pool.submit(lambda n: 100 // (n - 7) if n < 10 else bytes(n), n)
    found = dtpnode.load(get(pool.name))
    assert len(found) == 1000 and list(found) == list(range(1000))
    assert found[3].result() == -25 and found[999].result() == bytes(999)
    assert "n - 7" in str(found[7].exception().__cause__)
    with pytest.raises(KeyError):
        found[1000]


def test_totals(client, get):
    whole = client.reduce(int, range(100), initial=1000)
    holes = client.reduce(lambda n: 1 // (n % 50), range(100), output=None)
    assert whole.result() == 1000 + sum(range(100))
    assert dtpnode.load(get(whole.name)) == whole.result()
    with pytest.raises(ZeroDivisionError):
        holes.result()
    path = get(holes.name)
    with pytest.raises(ZeroDivisionError):
        dtpnode.load(path)
    assert dtpnode.load(path, partial=True) == holes.total == 2


def test_no_output(tmp_path):
    (tmp_path / "other").write_bytes(b"something else" * 10)
    with pytest.raises(dtpnode.Error, match="no output of a job"):
        dtpnode.load(tmp_path / "other")
