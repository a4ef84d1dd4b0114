"""Modules of this host beside those of whoever has submitted the code."""

import importlib
import importlib.util
import os
import sys
from typing import Container, Mapping, Sequence

ENVIRONMENT = "DTPNODE_ENVIRONMENT"  # names the environment that this process runs in, if it was made for jobs
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
    env = os.environ.get(ENVIRONMENT)
    words = []
    if others:
        words.append("has " + listed(others))
    if lacks and not env:  # Whoever has made an environment has chosen what is in it.
        words.append("lacks " + listed(lacks))
    if not words:
        return []
    if env:
        return [
            f"the environment {env} {words[0]}, which the user has: code that needs it may fail or give other results; "
            "make the environment with the same versions"
        ]
    return [
        f"its Python, {sys.executable}, {', and '.join(words)}, which the user has: code that needs it may fail there "
        f"or give other results; `{sys.executable} -m pip install NAME==VERSION` there, or an environment that goes "
        "along (env=)"
    ]


def unimported(names: Sequence[str], known: Container[str]) -> list[str]:
    """Imports modules, and says, in one sentence, which of them cannot be imported here, and why. known are top-level
    modules of which differences says so."""
    lacks, fail = [], []
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as e:
            if e.name != name and not name.startswith(f"{e.name}."):
                fail.append(f"{name} (ModuleNotFoundError: {e})")
            elif name.partition(".")[0] not in known or os.environ.get(ENVIRONMENT):
                lacks.append(name)
        except Exception as e:
            fail.append(f"{name} ({type(e).__name__}: {e})")
    words = []
    if lacks:
        words.append("has no " + listed(lacks))
    if fail:
        words.append("cannot import " + listed(fail))
    if not words:
        return []
    env = os.environ.get(ENVIRONMENT)
    where = f"the environment {env}" if env else f"its Python, {sys.executable},"
    return [
        f"{where} {', and '.join(words)}, of the modules that are to be imported there (imports=): calls that need it "
        "will fail there; is it the name by which it is imported?"
    ]


def listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def advice(e: ModuleNotFoundError) -> str:
    """What to do about a module that is missing here."""
    env = os.environ.get(ENVIRONMENT)
    where = f"the environment {env}" if env else f"{sys.executable} on {os.uname().nodename}"
    top = (e.name or "").partition(".")[0] or "NAME"
    return (
        f"ModuleNotFoundError: {e}: {where} does not have it; install it there, or have it go along: "
        f"modules=[{top!r}], or `dtpnode run --modules {top}`, if it is in Python alone; env='pylock.toml', or --env "
        "pylock.toml, with all that it needs"
    )
