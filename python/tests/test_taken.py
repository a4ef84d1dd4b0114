"""Large results that were taken are not kept for ever."""

from concurrent.futures import Future, wait

import pytest

import dtpnode
from dtpnode import _unpickle
from dtpnode._held import LateFuture
from dtpnode._taken import Takings

SIZE, CALLS = 24 << 20, 24
KEPT = 256 << 20  # bytes that stay of those that were taken


def test_what_was_taken_goes(client):
    """What the program has is not kept beyond a bound, and what it has not is."""
    with client.executor() as pool:
        pool.submit(lambda: b"kept" * (SIZE // 4))
        for i in range(CALLS):
            assert pool.submit(lambda i: bytes([i]) * SIZE, i).result() == bytes([i]) * SIZE
    with client.attach(pool.name) as session:
        got = [future.exception() for future in session]
        gone = [e for e in got if isinstance(e, dtpnode.ResultTaken)]
        assert len(session) == CALLS + 1 and [e for e in got if e is not None] == gone
        assert SIZE * (CALLS - len(gone)) > KEPT // 2
        assert gone, "nothing has gone"
        with pytest.raises(dtpnode.ResultTaken, match="256 MiB"):
            raise gone[0]
        assert session[0].result() == b"kept" * (SIZE // 4)


def test_what_could_not_be_read_is_not_taken(pool, monkeypatch):
    """The nodes keep it, and result() tries again."""
    taken = []
    monkeypatch.setattr(Takings, "add", lambda self, *value: taken.append(value))
    future = pool.submit(bytes, 2 << 20)
    wait([future])
    with monkeypatch.context() as m:
        m.setattr(_unpickle, "load", raising(MemoryError()))
        with pytest.raises(dtpnode.RemoteError, match="could not read the result: MemoryError") as e:
            future.result()
        assert "it has 2,097," in e.value.hint and "the nodes keep it" in e.value.hint
        assert "MemoryError" in str(future.exception())
        with pytest.raises(dtpnode.RemoteError, match="MemoryError"):
            list(pool.map(bytes, [2 << 20]))
        m.setattr(_unpickle, "load", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            future.result()
    assert not taken
    assert future.result() == bytes(2 << 20) and future.exception() is None
    assert len(taken) == 1


def test_results_that_another_thread_has_just_read(monkeypatch):
    """A result that another thread reads between two steps of this one is not taken for None."""
    for name, late in ("result", ("value", None)), ("exception", (None, ValueError("raised"))):
        really = getattr(Future, name)

        def interrupted(self, timeout=None):
            found = really(self, timeout)
            self._read()
            return found

        future = LateFuture()
        future.set_later(lambda: late)
        with monkeypatch.context() as m:
            m.setattr(Future, name, interrupted)
            assert getattr(future, name)() == (late[0] or late[1])


def test_large_outcomes_wait_on_disk(client, monkeypatch):
    """Of a remote_map, too: what its user has not been given was not read, and is kept on the nodes."""
    taken = []
    monkeypatch.setattr(Takings, "add", lambda self, *value: taken.append(value))
    outcomes = client.remote_map(bytes, [2 << 20] * 3, progress=False)
    wait(list(outcomes._map._futures.values()))
    assert not taken
    assert [outcome.value for outcome in outcomes] == [bytes(2 << 20)] * 3
    assert len(taken) == 3


def raising(error):
    def load(_file):
        raise error

    return load
