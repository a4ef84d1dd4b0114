"""A job whose daemon is away for a while."""

import contextlib
import os
import socket
import threading

import numpy
import pytest

import dtpnode
from dtpnode import _job
from dtpnode._control import BrokenOff, Control

DONE = {"id": "12", "state": "done", "units": 1, "done": 1, "seconds": 1.0}


def refused(status):
    error = dtpnode.Error("there is no such job")
    error.status = status
    return error


class Away:
    """A daemon that answers with what it is given, in turns, as a Control asks it."""

    def __init__(self, answers, parts=()):
        self.answers, self.parts, self.over, self.socket = list(answers), list(parts), None, "none"

    def ended(self):
        return self.over

    def call(self, method, path, body=None):
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def download(self, path):
        for part in self.parts.pop(0):
            if isinstance(part, Exception):
                raise part
            yield part


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(_job, "RETRY", 0)
    monkeypatch.setattr(_job, "EVERY", 0)


def test_waits_for_its_daemon(soon, tmp_path):
    """The job goes on while its daemon is restarted, and so does who waits for it or takes its result."""
    running = {**DONE, "state": "running", "done": 0}
    away = [dtpnode.NoDaemon("away"), BrokenOff("broken"), refused(404), refused(503)]
    assert _job.Job(Away([running, *away, running, *away, DONE]), "12").wait() == DONE
    parts = [[b"the first half", BrokenOff("broken")], [refused(404)], [b"all", b" of it"]]
    path = _job.Job(Away([DONE], parts), "12").save(tmp_path / "result.root")
    assert path.read_bytes() == b"all of it" and os.listdir(tmp_path) == ["result.root"]


def test_interrupted(soon, capfd):
    running = {**DONE, "state": "running", "done": 0}
    with pytest.raises(KeyboardInterrupt):
        _job.Job(Away([running, KeyboardInterrupt()]), "12345678901234").result()
    said = capfd.readouterr().err
    assert "interrupted: job 123456789012 goes on; .result() waits again, .cancel() ends it" in said
    assert "client.attach('123456789012')" in said


@pytest.mark.parametrize("given, kind, words", [
    ({"entries": -5}, ValueError, "entries=-5: .* -1 is all of them"),
    ({"entries": "5"}, TypeError, "entries must be an int, and not str: '5'"),
    ({"first": -1}, ValueError, "first=-1: entries are counted from 0"),
    ({"params": {"cuts": [1, 2]}}, TypeError, r"params\['cuts'\] must be a str, int, float or bool, and not list"),
    ({"params": {"k": None}}, TypeError, "and not NoneType"),
])
def test_arguments_that_cannot_be_meant(client, given, kind, words):
    with pytest.raises(kind, match=words):
        client.run("None.C+", files="none.root", **given)


def test_parameters():
    given = {"s": "x", "i": 3, "f": 0.5, "b": True, "n": numpy.int64(4), "x": numpy.float32(0.25)}
    assert [_job._typed(*item) for item in given.items()] == ["x", "3", "0.5", "1", "4", "0.25"]


def test_waits_for_no_other(soon, monkeypatch):
    """What a daemon says that is there is no reason to wait, nor is one that this process has ended."""
    with pytest.raises(dtpnode.Error, match="no such job"):
        _job.Job(Away([refused(404), DONE]), "12").wait()
    control = Away([dtpnode.NoDaemon("away"), DONE])
    control.over = dtpnode.NoDaemon("ended")
    with pytest.raises(dtpnode.NoDaemon, match="away"):
        _job.Job(control, "12").wait()
    with pytest.raises(TimeoutError, match="the daemon that is asked for job 12 is away"):
        _job.Job(Away([dtpnode.NoDaemon("away"), DONE]), "12").wait(timeout=-1)
    monkeypatch.setattr(_job, "PATIENCE", -1)
    with pytest.raises(dtpnode.NoDaemon, match="away"):
        _job.Job(Away([dtpnode.NoDaemon("away"), DONE]), "12").wait()


def test_connection_that_breaks(tmp_path):
    """A daemon that is killed within a request is an Error of dtpnode, as all else is."""
    path = str(tmp_path / "control.sock")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path)
        listener.listen()

        def break_off():
            for answer in b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf":
                connection, _ = listener.accept()
                connection.recv(1 << 16)
                connection.sendall(answer)
                connection.close()

        thread = threading.Thread(target=break_off)
        thread.start()
        control = Control(path)
        with pytest.raises(dtpnode.NoDaemon, match="has broken off a connection") as e:
            control.call("GET", "/v1/status")
        assert e.value.hint and e.value.args == (e.value.message, e.value.hint)
        with pytest.raises(dtpnode.NoDaemon, match="has broken off a connection"):
            list(control.download("/v1/jobs/12/result"))
        thread.join()
