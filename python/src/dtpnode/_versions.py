"""Versions of what a program has imported, which nodes compare with their own."""

import importlib.metadata
import os
import sys
from collections.abc import Iterable

_FOLDERS = {"site-packages", "dist-packages"}

# Distributions that say nothing about what code comes to: this one's own, which travel or stay here, and tools.
_OWN = frozenset(
    "anyio certifi click cloudpickle dtpnode exceptiongroup h11 httpcore httpx idna joblib-dtpnode markdown-it-py mdurl "
    "msgpack pip pygments pytest rich setuptools sniffio typing-extensions wheel".split()
)
_TOOLS = ("ipykernel", "ipython", "jupyterlab", "notebook", "pytest", "mypy")

_distributions: dict[str, list[str]] = {}  # by the modules that they have, once that was asked


def imported() -> dict[str, tuple[str, str]]:
    """The distribution and its version of each top-level module that this process has imported and somebody has
    installed, but for tools that run programs and show what they do."""
    tops = {name.partition(".")[0] for name, module in list(sys.modules.items()) if _installed(module)}
    if not tops:
        return {}
    if not tops <= _distributions.keys():
        _distributions.update(dict.fromkeys(tops, []))
        _distributions.update(importlib.metadata.packages_distributions())
    skip = _OWN | _needed(_TOOLS)
    out: dict[str, tuple[str, str]] = {}
    for top in sorted(tops):
        for name in _distributions.get(top, [])[:1]:
            if _plain(name) not in skip:
                out[top] = (name, importlib.metadata.version(name))
    return out


def compared(but: frozenset[str] = frozenset()) -> dict[str, tuple[str, str]]:
    """As imported, without modules that go along."""
    return {top: v for top, v in imported().items() if top not in but}


class Fresh:
    """Packages that this process imports after it has told which it has."""

    def __init__(self, but: frozenset[str]) -> None:
        self._but = but
        self._seen = len(sys.modules)
        self._told = set(compared(but))
        self._left: list[bytes] = []  # names of top-level modules that nobody was told of

    def __bool__(self) -> bool:
        """Whether there may be some."""
        if len(sys.modules) != self._seen:
            self._seen = len(sys.modules)
            self._left = [top.encode() for top in compared(self._but) if top not in self._told]
        return bool(self._left)

    def found(self, *pickles: bytes) -> bool:
        """Whether pickles may refer to one of them; then all of them are about to be told."""
        if not any(top in pickled for top in self._left for pickled in pickles):
            return False
        self._told |= {top.decode() for top in self._left}
        self._left = []
        return True


def _installed(module: object) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and not _FOLDERS.isdisjoint(file.split(os.sep))


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _needed(names: Iterable[str]) -> frozenset[str]:
    """Distributions, with all that they need in turn."""
    out: set[str] = set()
    left = [_plain(n) for n in names]
    while left:
        name = left.pop()
        if name in out:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        out.add(name)
        left += [_plain(_name(n)) for n in needs if "extra ==" not in n]
    return frozenset(out)


def _name(requirement: str) -> str:
    """The name in a requirement such as ``numpy>=2; python_version > "3.9"``."""
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
    return requirement[:end]
