"""Versions of what a program has imported, which nodes compare with their own."""

import functools
import os
import sys

_FOLDERS = {"site-packages", "dist-packages"}

# Distributions that say nothing about what code comes to: this one's own, which travel or stay here, and tools.
_OWN = frozenset(
    "anyio certifi click cloudpickle dtpnode exceptiongroup h11 httpcore httpx idna joblib-dtpnode markdown-it-py mdurl "
    "msgpack pip pygments pytest rich setuptools sniffio typing-extensions wheel".split()
)
_TOOLS = ("ipykernel", "ipython", "jupyterlab", "notebook", "pytest", "mypy")

# importlib.metadata reads the whole metadata and the list of files of all that is installed, for a second and more. What
# is needed here is in a few lines of what is imported.

_distributions: dict[str, str] = {}  # folders of metadata by the top-level modules; empty for a module of none
_texts: dict[str, str] = {}  # heads of METADATA, by their folders


def imported() -> dict[str, tuple[str, str]]:
    """The distribution and its version of each top-level module that this process has imported and somebody has
    installed, but for tools that run programs and show what they do."""
    tops = {name.partition(".")[0] for name, module in list(sys.modules.items()) if _installed(module)}
    if not tops:
        return {}
    new = tops - _distributions.keys()
    if new:
        _distributions.update(_owners(new))
    skip = _OWN | _needed(_TOOLS)
    out: dict[str, tuple[str, str]] = {}
    for top in sorted(tops):
        folder = _distributions[top]
        if not folder:
            continue
        name, version = (_lines(folder, field)[:1] for field in ("Name", "Version"))
        if name and version and _plain(name[0]) not in skip:
            out[top] = (name[0], version[0])
    return out


def _folders() -> dict[str, str]:
    """The folders of metadata of all that is installed, by their names, those that are found first."""
    out: dict[str, str] = {}
    for path in dict.fromkeys(sys.path):
        try:
            names = os.listdir(path or ".")
        except OSError:
            continue  # Such as an archive.
        for name in names:
            if name.endswith(".dist-info"):
                out.setdefault(_plain(name.partition("-")[0]), os.path.join(path, name))
    return out


def _owners(tops: set[str]) -> dict[str, str]:
    """The folders of metadata of the distributions that modules are of; most are called like their modules."""
    out = dict.fromkeys(tops, "")
    left = set(tops)
    others = _folders()
    for top in tops:
        folder = others.get(_plain(top))
        if folder is not None and _has(folder, {top}):
            out[top] = folder
            left.discard(top)
    for folder in others.values():
        if not left:
            break
        for top in _has(folder, left):
            out[top] = folder
            left.discard(top)
    return out


def _has(folder: str, tops: set[str]) -> set[str]:
    """Which of the modules are of a distribution."""
    files = "\n" + _read(os.path.join(folder, "RECORD"))
    if len(files) > 1:
        return {top for top in tops if f"\n{top}/" in files or f"\n{top}." in files}
    return tops & set(_read(os.path.join(folder, "top_level.txt")).split())


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def _lines(folder: str, field: str) -> list[str]:
    """The values of a field in the metadata of a distribution."""
    text = _texts.get(folder)
    if text is None:
        text = _texts[folder] = "\n" + _read(os.path.join(folder, "METADATA")).partition("\n\n")[0] + "\n"
    start = f"\n{field}: "
    return [part.partition("\n")[0].strip() for part in text.split(start)[1:]]


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


@functools.cache
def _needed(names: tuple[str, ...]) -> frozenset[str]:
    """Distributions, with all that they need in turn."""
    out: set[str] = set()
    folders = _folders()
    left = [_plain(n) for n in names]
    while left:
        name = left.pop()
        if name in out or name not in folders:
            continue
        out.add(name)
        needs = _lines(folders[name], "Requires-Dist")
        left += [_plain(_name(n)) for n in needs if "extra ==" not in n]
    return frozenset(out)


def _name(requirement: str) -> str:
    """The name in a requirement such as ``numpy>=2; python_version > "3.9"``."""
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
    return requirement[:end]
