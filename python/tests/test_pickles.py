"""Pickles of functions are kept, and are as if they were not."""

import pickle
import types

import numpy
import pytest

from dtpnode import _modules, _pickles

NUMBER = 1
LIST = [1]


def scaled(x):
    return x * NUMBER


def listed(x):
    return LIST + [x]


def plain(x: int, y: int = 2, *, z: int = 3) -> int:
    return x + y + z


def _set(fn, **values):
    for name, value in values.items():
        setattr(fn, name, value)


def called(fn, *args):
    """What comes of a call that goes through a pickle."""
    return pickle.loads(_pickles.function(fn))(*args)


def test_kept(monkeypatch):
    """The pickle of a function that refers to nothing is made once, unless a session of this process sends modules as
    files, as other tests do."""
    monkeypatch.setattr(_modules, "_as_files", set())
    assert _pickles.function(plain) is _pickles.function(plain)
    assert called(plain, 1) == 6


@pytest.mark.parametrize(
    "change, result",
    [
        (lambda fn: _set(fn, __defaults__=(20,)), 24),
        (lambda fn: _set(fn, __kwdefaults__={"z": 30}), 33),
        (lambda fn: _set(fn, __code__=(lambda x, y=0, *, z=0: x - y - z).__code__), -4),
    ],
)
def test_changed_functions(change, result):
    fn = types.FunctionType(plain.__code__, globals(), "plain", plain.__defaults__)
    fn.__kwdefaults__ = dict(plain.__kwdefaults__)
    assert called(fn, 1) == 6
    change(fn)
    assert called(fn, 1) == result


def test_changed_globals(monkeypatch):
    assert called(scaled, 2) == 2
    monkeypatch.setitem(globals(), "NUMBER", 10)
    assert called(scaled, 2) == 20
    monkeypatch.setitem(globals(), "NUMBER", True)
    assert called(scaled, 2) == 2
    monkeypatch.delitem(globals(), "NUMBER")
    with pytest.raises(NameError):
        called(scaled, 2)
    assert called(listed, 2) == [1, 2]
    LIST.append(5)
    try:
        assert called(listed, 2) == [1, 5, 2]
    finally:
        LIST.remove(5)


def test_changed_cells():
    n, some = 1, []

    def number(x):
        return x + n

    def append(x):
        return [*some, x]

    assert called(number, 1) == 2
    n = 5
    assert called(number, 1) == 6
    assert called(append, 1) == [1]
    some.append(0)
    assert called(append, 1) == [0, 1]


def test_attributes():
    def counts():
        return counts.n

    counts.n = [1]
    assert called(counts) == [1]
    counts.n.append(2)
    assert called(counts) == [1, 2]
    assert pickle.loads(_pickles.function(counts)).n == [1, 2]


def test_functions_go():
    """Who has submitted a function keeps nothing of it."""
    before = len(_pickles._kept)
    for i in range(10):
        called(eval(f"lambda x: x + {i}"), 1)
    assert len(_pickles._kept) == before


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("n", [8_000, 9_000, 3_000_000])
def test_arrays(pool, n, order):
    array = numpy.arange(float(n)).reshape((-1, 4), order=order)
    assert pool.submit(numpy.sum, array).result() == array.sum()
    assert pool.submit(lambda: array.sum()).result() == array.sum()
