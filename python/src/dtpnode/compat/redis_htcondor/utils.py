"""Chunks of files, with the interface of redis-htcondor's utils."""

import glob
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Sequence

from ..._progress import Bar

Chunk = tuple[str, int, int]
"""A file's name, the first entry, and the entry behind the last one."""


def get_chunking(
    filelist: str | Sequence[str],
    chunksize: int,
    treename: str = "Events",
    workers: int = 12,
    skip_bad_files: bool = False,
) -> tuple[list[Chunk], int]:
    """Cuts files into chunks of at most so many entries, and returns a list of ``(file, first, last)``, where ``last``
    is the entry behind the chunk's last, with the number of entries in all files.

        >>> chunks, nevents = get_chunking(["data/nano_1.root", "data/nano_2.root"], 100_000)    # doctest: +SKIP
        >>> manager.remote_map(analyse, chunks)                                                  # doctest: +SKIP

    ``filelist`` are names, globs or URLs, as uproot takes them. Up to ``workers`` files are looked into at a time.
    Files without entries have no chunks. One that cannot be read, or has no tree of that name, is an OSError that names
    it, and with ``skip_bad_files`` a warning.
    """
    if chunksize < 1:
        raise ValueError(f"chunksize is {chunksize}, and must be at least 1")
    files = _files(filelist)
    bar = Bar("get_chunking", None, "files")
    bar.start(len(files))
    chunks: list[Chunk] = []
    nevents = 0
    try:
        with ThreadPoolExecutor(max(min(workers, len(files)), 1)) as threads:
            for file, entries in zip(files, threads.map(lambda file: _entries(file, treename), files)):
                bar.advance()
                if isinstance(entries, BaseException):
                    words = f"could not read the tree {treename!r} of {file}: {type(entries).__name__}: {entries}"
                    if not skip_bad_files:
                        raise OSError(words) from entries
                    warnings.warn(f"skipped a bad file: {words}", stacklevel=2)
                    continue
                nevents += entries
                chunks += [(file, at, min(at + chunksize, entries)) for at in range(0, entries, chunksize)]
    finally:
        bar.stop()
    return chunks, nevents


def _entries(file: str, tree: str) -> int | Exception:
    import uproot

    try:
        with uproot.open(file) as f:
            return int(f[tree].num_entries)
    except Exception as e:
        return e


def _files(names: str | Sequence[str]) -> list[str]:
    """Names, with globs of this host put in their place, each file once."""
    out: dict[str, None] = {}
    for name in [names] if isinstance(names, (str, os.PathLike)) else names:
        text = os.fspath(name)
        if "://" in text or not glob.has_magic(text):
            out[text] = None
            continue
        found = sorted(glob.glob(text))
        if not found:
            raise FileNotFoundError(f"no file matches {text}")
        out.update(dict.fromkeys(found))
    return list(out)


def get_function_kwargs(func: Any) -> dict[str, Any]:
    """The parameters of a function that have default values, with these."""
    import inspect

    found = inspect.signature(func).parameters.values()
    return {p.name: p.default for p in found if p.default is not inspect.Parameter.empty}
