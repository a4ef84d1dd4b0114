"""coffea's source distribution, which has its tests and their samples: it is fetched once, and kept beside the packages
of the tests."""

import fcntl
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def coffea():
    """The folder of the sources of the version that is installed."""
    name = f"coffea-{importlib.metadata.version('coffea')}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtpnode" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Others may run the same tests now.
        if not (cache / name).is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                fetch(name, Path(folder))
                (Path(folder) / name).rename(cache / name)
    return cache / name


def fetch(name, folder):
    """Has pip download the archive, with its hash checked, and unpacks it."""
    pinned = re.search(r"^coffea==.*\\\n(?: +--hash.*\n)+", REQUIREMENTS.read_text(), re.MULTILINE)
    (folder / "sdist.txt").write_text(pinned[0].rstrip("\n\\"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"]
    what = ["--no-deps", "--no-binary=coffea", "--require-hashes", "-r", str(folder / "sdist.txt")]
    subprocess.run([*pip, *what, "-d", str(folder)], check=True)
    with tarfile.open(folder / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
