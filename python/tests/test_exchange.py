"""The connection with the daemon, against a daemon that a test plays."""

import json
import socket
import struct
import threading
from concurrent.futures import Future

import msgpack
import pytest

import dtpnode
from dtpnode._control import Control
from dtpnode._exchange import Exchange
from dtpnode._receiver import Job, Receiver

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: dtpnode-exchange\r\n\r\n"


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

        server = threading.Thread(target=serve)
        server.start()
        exchange = Exchange(Control(path), "job", 7)
        assert list(exchange.answers()) == answers
        exchange.close()
        server.join()
    assert b"GET /v1/jobs/job/exchange?first=7 HTTP/1.1\r\n" in b"".join(told)


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
