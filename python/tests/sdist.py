"""What tests have pip fetch once, with its hash checked, and keep beside the packages of the tests: coffea's source
distribution, which has its tests and their samples, and packages that pip does not install with the tests' dask."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def coffea():
    """The folder of the sources of the version that is installed."""
    name = f"coffea-{importlib.metadata.version('coffea')}"
    with kept(name) as folder:
        if folder is not None:
            pinned = re.search(
                r"^coffea==.*\\\n(?: +--hash.*\n)+", (HERE / "requirements.txt").read_text(), re.MULTILINE
            )
            beside = folder.parent
            (beside / "sdist.txt").write_text(pinned[0].rstrip("\n\\"))
            pip("download", "--no-binary=coffea", "-r", beside / "sdist.txt", "-d", beside)
            with tarfile.open(beside / f"{name}.tar.gz") as archive:
                archive.extractall(beside, filter="data")  # All of it is in a folder of that name.
    return cache() / name


def awkward():
    """A folder with dask-awkward and dask-histogram. The first says that it needs an older dask, so that pip does not
    install it beside the one of the tests."""
    pinned = HERE / "requirements-awkward.txt"
    name = "awkward-" + hashlib.sha256(pinned.read_bytes()).hexdigest()[:16]
    with kept(name) as folder:
        if folder is not None:
            pip("install", "--only-binary=:all:", "-r", pinned, "-t", folder)
    return cache() / name


def cache():
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtpnode" / "python"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def kept(name):
    """A folder to be filled, which gets its name then; None if there is one of that name."""
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Others may run the same tests now.
        if (cache() / name).is_dir():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            made = Path(folder) / name
            made.mkdir()
            yield made
            made.rename(cache() / name)


def pip(what, *options):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", what, "-q", "--no-deps", "--require-hashes"]
    subprocess.run([*command, *options], check=True)
