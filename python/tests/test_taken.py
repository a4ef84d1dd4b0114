"""Large results that were taken are not kept for ever."""

import pytest

import dtpnode

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
