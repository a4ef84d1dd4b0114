"""The connection with the daemon, against a daemon that a test plays."""

import gc
import json
import os
import pickle
import socket
import struct
import threading
from concurrent.futures import Future

import httpx
import msgpack
import pytest

import dtpnode
from dtpnode._control import Control
from dtpnode._exchange import Exchange
from dtpnode._held import LateFuture
from dtpnode._receiver import Job, Receiver

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: dtpnode-exchange\r\n\r\n"


def hang_up(connection):
    """Ends a connection after what was sent on it has been read: closed with something unread it would be reset."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(4096):
        pass


@pytest.mark.parametrize("cuts", [(), (len(HEAD),), (len(HEAD) + 2,), (10, len(HEAD) + 9), (len(HEAD) + 5_000,)])
def test_answers_that_come_with_the_headers(tmp_path, cuts):
    """Nothing is lost, wherever the bytes of the daemon are cut into packets."""
    answers = [{"seq": 1}, {"early": [{"first": 0, "values": [bytes(10_000)]}]}, {"seq": 2}]
    text = HEAD
    for body in map(msgpack.packb, answers):
        text += struct.pack(">I", len(body)) + body
    path = str(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        told = []

        def serve():
            connection, _ = listener.accept()
            with connection:
                while not b"".join(told).endswith(b"\r\n\r\n"):
                    told.append(connection.recv(4096))
                for first, last in zip((0, *cuts), (*cuts, len(text))):
                    connection.sendall(text[first:last])
                hang_up(connection)

        server = threading.Thread(target=serve)
        server.start()
        exchange = Exchange(Control(path), "job", 7)
        assert list(exchange.answers()) == answers
        exchange.close()
        server.join()
    assert b"GET /v1/jobs/job/exchange?first=7&held=1&appends=1 HTTP/1.1\r\n" in b"".join(told)


def test_daemon_that_tells_why_and_hangs_up(tmp_path):
    """Why a job has ended is read, also where what was to be sent comes too late."""
    failed = msgpack.packb({"rest": json.dumps({"failed": {"error": "it is over", "status": 409}}).encode()})
    status = json.dumps({"state": "cancelled", "error": "by its user"}).encode()
    replies = [
        HEAD + struct.pack(">I", len(failed)) + failed,
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(status), status),
    ]
    path = str(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve():
            for reply in replies:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(reply)

        server = threading.Thread(target=serve)
        server.start()
        future = Future()
        job = Job("job", sent={0: future}, units=1, seq=1)
        job.unanswered.append((1, [bytes(16 << 20)], False))
        Receiver(Control(path), "title")._follow(job)
        with pytest.raises(dtpnode.JobFailed, match="by its user"):
            future.result(60)
        server.join()


class Played:
    """A daemon that answers each connection with what a test says: bytes, with a file beside each frame that has one."""

    def __init__(self, path, *connections):
        self.path, self._connections = str(path), connections
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        for frames in self._connections:
            connection, _ = self._listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(HEAD)
                connection.recv(4096)  # It takes descriptors from here on.
                for frame, file in frames:
                    body = msgpack.packb(frame)
                    socket.send_fds(connection, [struct.pack(">I", len(body)) + body], [] if file is None else [file])

    def close(self):
        self._thread.join()
        self._listener.close()


def test_values_in_files(tmp_path):
    """Values come as a file. Where it is missing, another one, or cut off, they are asked for again and come as such."""
    values = [b"\0" + pickle.dumps(v, 5) for v in (1, bytes(3 << 20), {"a": bytes(3 << 20)}, "end")]
    values.append(b"\1" + pickle.dumps((pickle.dumps(KeyError("k" * (2 << 20))), "words", "trace", "item"), 5))
    path = tmp_path / "values"
    path.write_bytes(b".." + b"".join(values))
    (tmp_path / "short").write_bytes(b"..a")
    ends = [sum(map(len, values[: i + 1])) for i in range(len(values))]
    with open(path, "rb") as file, open(tmp_path / "short", "rb") as short:
        run = {"first": 0, "at": 2, "ends": ends, "inode": os.fstat(file.fileno()).st_ino}
        cut = {**run, "inode": os.fstat(short.fileno()).st_ino}
        over = {"rest": json.dumps({"over": {"units": 5}}).encode()}
        daemon = Played(
            tmp_path / "control.sock",
            [({"held": run}, None)],
            [({"held": run}, short.fileno())],
            [({"held": cut}, short.fileno())],
            [({"held": run}, file.fileno()), (over, None)],
        )
        futures = [LateFuture() for _ in values]
        job = Job("job", sent=dict(enumerate(futures)), units=5, seq=1, closing=True)
        receiver = Receiver(Control(daemon.path), "title")
        receiver._follow(job)
        assert futures[0].result(60) == 1
        assert futures[1].result(60) == bytes(3 << 20)
        assert futures[2].result() == {"a": bytes(3 << 20)}
        assert futures[2].result() is futures[2].result(), "it is read once"
        assert futures[3].exception() is None
        assert isinstance(futures[4].exception(), KeyError)
        with pytest.raises(KeyError):
            futures[4].result()
        job.receiver.join()
        daemon.close()
    gc.collect()  # Errors of the connections refer to what they were about.
    assert not receiver._files._open, "no file stays open when all values are read"


def test_value_in_a_file_that_is_cut_off_later(tmp_path):
    """A future whose file loses its value says so."""
    value = b"\0" + pickle.dumps(bytes(2 << 20), 5)
    path = tmp_path / "values"
    path.write_bytes(value)
    with open(path, "rb") as file:
        run = {"first": 0, "at": 0, "ends": [len(value)], "inode": os.fstat(file.fileno()).st_ino}
        over = {"rest": json.dumps({"over": {"units": 1}}).encode()}
        daemon = Played(tmp_path / "control.sock", [({"held": run}, file.fileno()), (over, None)])
        future = LateFuture()
        future.set_running_or_notify_cancel()
        job = Job("job", sent={0: future}, units=1, seq=1, closing=True)
        Receiver(Control(daemon.path), "title")._follow(job)
        job.receiver.join()
        daemon.close()
    os.truncate(path, 1 << 20)
    with pytest.raises(dtpnode.RemoteError, match="cut off"):
        future.result(60)


def test_closed_client(client):
    """A thread that was about to use a client which is closed meanwhile is told so as of any connection that ends."""
    control = Control(client.control.socket)
    control.call("GET", "/v1/status")
    control._client.close()  # of which another thread has taken what it uses
    with pytest.raises(RuntimeError):
        control.call("GET", "/v1/status")
    before = control._client
    control.close()
    control._client = before
    with pytest.raises(httpx.TransportError, match="the client was closed meanwhile"):
        control.call("GET", "/v1/status")
