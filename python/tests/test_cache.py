"""The cache that calls find on their node, in processes of this host."""

import os
import pickle
import subprocess
import sys
from collections.abc import MutableMapping

import awkward
import numpy
import pytest

from dtpnode import _worker
from dtpnode._worker import Cache, fingerprint


@pytest.fixture
def cache(tmp_path):
    return Cache(str(tmp_path / "cache" / "me"), str(tmp_path / "cache"))


def file_of(cache, key):
    return cache._path(key)


def test_values(cache):
    """What is stored is what is read, of any kind, and a copy of it."""
    record = awkward.Array([{"pt": [1.5, 2.5], "n": 2}, {"pt": [], "n": 0}])
    values = {
        "array": numpy.arange(1000.0).reshape(10, 100),
        ("a", 1): [1, {"two": None}],
        b"bytes": b"x" * 100_000,
        "fortran": numpy.asfortranarray(numpy.arange(12).reshape(3, 4)),
        "empty": numpy.zeros(0),
        "nothing": None,
        "several": (numpy.arange(5), numpy.arange(7, dtype="int8")),
    }
    for key, value in values.items():
        cache[key] = value
    cache["awkward"] = record
    assert len(cache) == len(values) + 1
    for key, value in values.items():
        numpy.testing.assert_equal(cache[key], value)
        assert key in cache
    assert cache["awkward"].to_list() == record.to_list()
    assert isinstance(cache, MutableMapping)
    assert cache.get("other") is None and "other" not in cache
    with pytest.raises(KeyError):
        cache["other"]
    cache["array"] = 3
    assert cache["array"] == 3
    del cache["array"]
    assert "array" not in cache
    with pytest.raises(TypeError, match="cannot be listed"):
        list(cache)
    cache.clear()
    assert len(cache) == 0


def test_mapped(cache):
    """An array is mapped and not copied, and what a process writes to it is that process's alone."""
    cache["array"] = numpy.zeros(1 << 20)
    array = cache["array"]
    with open("/proc/self/maps") as f:
        assert file_of(cache, "array") in f.read()
    array[5] = 1
    assert array[5] == 1 and cache["array"][5] == 0


def test_code_of_the_user(cache):
    """Values of classes that other processes do not have."""
    scope = {"__name__": "__main__"}
    exec("class Box:\n    def __init__(self, x): self.x = x\n", scope)
    cache["box"] = scope["Box"](7)
    assert cache["box"].x == 7
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        cache["thread"] = sys._getframe()
    assert "thread" not in cache


def test_damaged(cache):
    """A file that is cut at any place, or has a wrong byte anywhere, is as one that is not there."""
    value = {"a": numpy.arange(300), "b": "text"}
    cache["key"] = value
    path = file_of(cache, "key")
    whole = open(path, "rb").read()
    damaged = [whole[:n] for n in range(0, len(whole), 61)] + [whole + b"\0"]
    for at in range(0, len(whole), 37):
        # The bytes that align the head and buffers are no part of any value, and yet are summed.
        damaged.append(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
    for content in damaged:
        with open(path + ".new", "wb") as f:  # as another file, as everything that writes here does
            f.write(content)
        os.replace(path + ".new", path)
        got = cache.get("key")
        if got is not None:  # The four bytes behind the checksum mean nothing.
            assert content[28:32] != whole[28:32] and content[32:] == whole[32:]
            numpy.testing.assert_equal(got, value)
    cache["key"] = value
    numpy.testing.assert_equal(cache["key"], value)


def test_bound(tmp_path):
    """The least recently used leave, all submitters together stay within the limit, and too large ones are not kept."""
    root = str(tmp_path / "cache")
    one, two = (Cache(os.path.join(root, who), root, limit=100_000) for who in ("one", "two"))
    for i in range(20):
        one[i] = b"%d" % i * 2000 * (2 if i < 10 else 1)
        two[i] = numpy.full(500, i)
        assert one.get(0) is not None, "it is used all the time"
        assert sum(s.st_size for _, s in _worker._files(root)) <= 100_000
    assert 1 not in one or 1 not in two
    assert one[19] == b"19" * 2000 and two[19][0] == 19
    one["large"] = b"x" * 60_000
    assert "large" not in one
    one[19] = b"y" * 60_000
    assert 19 not in one, "neither the new value nor the old one"


def test_namespaces(tmp_path):
    root = str(tmp_path / "cache")
    one, two = (Cache(os.path.join(root, who), root) for who in ("one", "two"))
    one["key"] = 1
    assert "key" not in two
    two["key"] = 2
    assert one["key"] == 1
    two.clear()
    assert one["key"] == 1


def test_no_room(tmp_path, monkeypatch):
    """A disk without room, and a folder that may not be written to, are a cache that keeps nothing."""
    cache = Cache(str(tmp_path / "me"), str(tmp_path))
    cache["key"] = 1

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache["key"] = 2
    assert "key" not in cache, "not an old value in place of a new one"
    assert [f for _, _, names in os.walk(tmp_path) for f in names] == ["bytes"]
    cache = Cache("/proc/nowhere", "/proc/nowhere")
    cache["key"] = 1
    assert "key" not in cache and len(cache) == 0


ALONE = {**os.environ, "PYTHONPATH": os.path.dirname(_worker.__file__)}  # the module alone, as on nodes

HAMMER = """
import os, sys
from _worker import Cache, _files
root, me = sys.argv[1], int(sys.argv[2])
cache = Cache(os.path.join(root, "all"), root, limit=400_000)
worst = 0
for i in range(150):
    key = (i * 7 + me) % 23
    got = cache.get(key)
    assert got is None or got == bytes([key]) * (1000 * key), (key, len(got))
    cache[key] = bytes([key]) * (1000 * key)
    worst = max(worst, sum(s.st_size for _, s in _files(root)))
    if i % 50 == 0:
        cache.pop(key, None)
print(worst)
"""


def test_many_processes(tmp_path):
    """Four processes that write the same keys at a time never read a wrong value, nor pass the limit."""
    command = [sys.executable, "-c", HAMMER, str(tmp_path)]
    all_ = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True, env=ALONE) for i in range(4)]
    worst = [int(p.communicate()[0]) for p in all_]
    assert [p.returncode for p in all_] == [0] * 4
    assert max(worst) <= 400_000


def test_fingerprints():
    """Equal values have equal ones, however they came to be, in any process."""
    name = "".join(["fi", "le"])
    assert fingerprint(("file", "file")) == fingerprint((name, "file"))
    different = [1, 1.0, "1", b"1", (1,), [1], {1: 1}, None, True, numpy.arange(3), "('file',)", ("file",)]
    assert len({fingerprint(d) for d in different}) == len(different)
    assert fingerprint(numpy.arange(3)) == fingerprint(numpy.arange(3))


def test_slots(tmp_path):
    """Processes that run at a time have different numbers, and the number of one that has ended is another's."""
    code = "from _worker import current; import sys; print(current().slot, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]

    def start():
        env = {**ALONE, "DTPNODE_KEPT": str(tmp_path)}
        p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        return p, int(p.stdout.readline())

    (p, one), (q, two) = start(), start()
    assert {one, two} == {0, 1}
    p.communicate()
    r, three = start()
    assert three == one
    for x in q, r:
        x.communicate()
