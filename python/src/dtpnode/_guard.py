"""Removes the folder of a LocalCluster when the process that made it has ended, however it ended.

It runs as a program of its own, ``python -I -S _guard.py FOLDER``, with a pipe as its standard input that only the
process with the cluster can write to. It imports nothing but the standard library.
"""

import contextlib
import fcntl
import os
import shutil
import sys
import time

PATIENCE = 60.0  # seconds for which the daemons may take to end
AGAIN = 0.05  # seconds between looks at a lock


def main(folder: str) -> None:
    sys.stdin.buffer.read()  # to its end
    until = time.monotonic() + PATIENCE
    for name in sorted(os.listdir(folder)):
        wait(os.path.join(folder, name, "daemon.lock"), until)
    shutil.rmtree(folder, ignore_errors=True)


def wait(lock: str, until: float) -> None:
    """Waits until no daemon holds a lock: it may write to its folder up to then."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), open(lock, "rb") as f:
        while time.monotonic() < until:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(AGAIN)


if __name__ == "__main__":
    main(sys.argv[1])
