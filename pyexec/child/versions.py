"""Modules of this host beside those of whoever has submitted the code."""

import importlib.util
import os
import sys
from typing import Mapping

MOST = 6  # modules that a sentence names


def differences(theirs: Mapping[str, tuple[str, str]]) -> list[str]:
    """Says, in one sentence, which modules are missing here, or of another version. theirs are the distribution and its
    version by the module."""
    if not theirs:
        return []
    from importlib import metadata  # Which takes some MB.

    lacks, others = [], []
    for module, (name, version) in sorted(theirs.items()):
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            if importlib.util.find_spec(module) is None:
                lacks.append(f"{name} {version}")
            continue
        if here != version and name not in ("cloudpickle", "msgpack"):
            others.append(f"{name} {here} and not {version}")
    words = []
    if others:
        words.append("has " + listed(others))
    if lacks:
        words.append("lacks " + listed(lacks))
    if not words:
        return []
    return [
        f"its Python, {sys.executable}, {', and '.join(words)}, which the user has: code that needs it may fail there or "
        f"give other results; `{sys.executable} -m pip install NAME==VERSION` there"
    ]


def listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def advice(e: ModuleNotFoundError) -> str:
    """What to do about a module that is missing here."""
    return (
        f"ModuleNotFoundError: {e}: {sys.executable} on {os.uname().nodename} does not have it; install it there; in the "
        "Python package modules=[…] sends a module of your own along, and env= packages"
    )
