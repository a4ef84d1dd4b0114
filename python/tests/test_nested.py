"""Clients inside of calls."""

import os
import subprocess
import sys

import pytest

import dtpnode


def test_client_in_a_call(client):
    """It would be that of the node's owner, whoever has submitted the call, and calls that wait for calls may never
    end: so it is refused, also in programs that a call starts, with what to do."""

    def inner():
        import dtpnode

        return dtpnode.Client().executor().submit(abs, -1).result()

    def started():
        command = [sys.executable, "-c", "import dtpnode; dtpnode.Client()"]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stderr

    with client.executor() as pool:
        with pytest.raises(dtpnode.Error, match="a call cannot make a client: .* of the owner of this node, local-0") as e:
            pool.submit(inner).result()
        assert "return what the next calls are to do" in e.value.hint
        status, said = pool.submit(started).result()
        assert status == 1 and "a call cannot make a client" in said


def test_executor_in_a_call(client):
    """Who names the daemon gets it; what goes along of the package there is sent as elsewhere."""
    state = os.fspath(client.state)

    def inner(x):
        import dtpnode

        with dtpnode.Client(state) as own, own.executor(output=None) as pool:
            return pool.submit(lambda y: x + y, 1).result()

    with client.executor() as pool:
        assert pool.submit(inner, 1).result() == 2
