"""Disks that are full: a session waits for room, says so, and goes on."""

import os
import subprocess
import tempfile
import time
from concurrent.futures import wait

import pytest

import dtpnode
from dtpnode import _cluster

LIMIT = 900.0  # seconds after which what is waited for hangs
ROOM = 24 << 20  # bytes of the node's disk
ROOM_LEFT = 4 << 20  # bytes of it that a session finds free, for results of more


class Disk:
    """A file system of a node's own, in the mount namespace of its daemon."""

    def __init__(self, pid, folder):
        self.filler = f"/proc/{pid}/root{folder}/filler"

    def fill(self, rest=0):
        with open(self.filler, "wb", buffering=0) as f, pytest.raises(OSError, match="No space left"):
            while True:
                f.write(bytes(4096))
        with open(self.filler, "r+b") as f:
            f.truncate(os.path.getsize(self.filler) - rest)

    def free(self):
        about = os.statvfs(os.path.dirname(self.filler))
        return about.f_bavail * about.f_frsize

    def empty(self):
        os.remove(self.filler)

    def __enter__(self):
        """A test that fails leaves room: what it has submitted is waited for."""
        return self

    def __exit__(self, *raised):
        if os.path.exists(self.filler):
            self.empty()


@pytest.fixture(scope="module")
def small(tmp_path_factory, cache):
    """A cluster of one node whose scratch folder is a small file system, and that."""
    folder = tmp_path_factory.mktemp("small")
    user = "" if subprocess.run(["unshare", "--mount", "true"]).returncode == 0 else " --user --map-root-user"
    program = folder / "dtpnode"
    program.write_text(
        f"#!/bin/sh\nexec unshare --mount{user} sh -c '"
        f'mount -t tmpfs -o size={ROOM} dtpnode-test {folder} && exec "$@"'
        f"' - {_cluster.binary()} \"$@\"\n"
    )
    program.chmod(0o755)
    args = ["--cache", cache, "--scratch", str(folder)]
    with dtpnode.LocalCluster(slots=2, binary=str(program), args=args) as cluster, cluster.client() as client:
        yield client, Disk(cluster.pids[0], folder)


def said(capfd, words):
    """What standard error has until these words are in it."""
    text, end = "", time.monotonic() + LIMIT
    while words not in text:
        assert time.monotonic() < end, f"{words!r} was not said, but {text!r}"
        text += capfd.readouterr().err
        time.sleep(0.01)
    return text


def test_session_waits_for_room(small, capfd):
    client, disk = small
    with client.executor() as pool, disk:
        assert pool.submit(abs, -1).result() == 1
        disk.fill()
        futures = [pool.submit(os.urandom, 3 << 20) for _ in range(3)]
        text = said(capfd, "wait, and will go on when there is room")
        assert "dtpnode: local-0: the disk of " in text and "is full, with 0 of 24 MiB free: No space left" in text
        assert f"`dtpnode cancel {pool.name[:12]}`" in text and not any(f.done() for f in futures)
        with pytest.raises(dtpnode.DiskFull, match="no space left on device\nfree space on that disk of local-0"):
            client.executor()
        disk.empty()
        assert [len(f.result(LIMIT)) for f in futures] == 3 * [3 << 20]
        said(capfd, "there is room on the disk again")
        assert pool.submit(abs, -2).result(LIMIT) == 2


def test_calls_that_cannot_be_sent_wait(small, capfd):
    client, disk = small
    with client.executor() as pool, disk:
        assert pool.submit(abs, -1).result() == 1
        disk.fill()
        future = pool.submit(len, os.urandom(1 << 20))
        text = said(capfd, "what was submitted waits, and will go on when there is room on that disk")
        assert "no space left on device" in text and not future.done()
        disk.empty()
        assert future.result(LIMIT) == 1 << 20
        said(capfd, "there is room on the disk again")


def test_full_disk_of_this_host(client, monkeypatch):
    """What the client cannot write is refused with the folder, and with what to do."""
    with monkeypatch.context() as m:
        m.setattr(tempfile, "tempdir", "/proc/self")  # where nothing can be made
        for begin in (client.executor, lambda: client.reduce(abs, range(3))):
            with pytest.raises(dtpnode.Error, match="could not write to the folder /proc/self on this host") as e:
                begin()
            assert "TMPDIR" in e.value.hint
    assert client.reduce(abs, range(3)).result() == 3


def test_what_failed_is_given_back(small, capfd):
    """What a generation has written for which there was no room takes none of it from others, nor from itself: all
    results come, though the disk holds few of them at a time. Which of them fill it together is a matter of chance."""
    client, disk = small
    with client.executor() as pool, disk:
        assert pool.submit(abs, -1).result() == 1
        disk.fill(ROOM_LEFT)
        free = disk.free()
        assert list(map(len, pool.map(lambda i: os.urandom(1 << 20), range(12), timeout=LIMIT))) == 12 * [1 << 20]
        given_back(disk, free)
        assert pool.submit(abs, -2).result(LIMIT) == 2


def test_results_that_wait_give_room_to_others(small, capfd):
    """Results that nobody has asked for take no more of a node's disk than is free there, and can be read afterwards.
    """
    client, disk = small
    with client.executor() as pool, disk:
        assert pool.submit(abs, -1).result() == 1
        disk.fill(ROOM_LEFT)
        free = disk.free()
        futures = [pool.submit(lambda i: bytes([i]) * (1 << 20), i) for i in range(12)]
        assert not wait(futures, LIMIT).not_done
        given_back(disk, free // 2)
        assert [f.result() for f in reversed(futures)] == [bytes([i]) * (1 << 20) for i in reversed(range(12))]


def given_back(disk, free):
    """Waits until as much room is free as there was: a few small files stay for as long as the job runs."""
    end = time.monotonic() + LIMIT
    while disk.free() < free - (256 << 10):
        assert time.monotonic() < end, f"{disk.free() >> 10} of {free >> 10} KiB were given back"
        time.sleep(0.01)
