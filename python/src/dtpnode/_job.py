"""Jobs that run over files, such as ROOT's selectors, and their results."""

import contextlib
import errno
import html
import itertools
import numbers
import operator
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence, TypeVar

from ._cluster import binary, owned
from ._control import Control, seen
from ._errors import Error, NoDaemon
from ._receiver import AGAIN, PATIENCE, RETRY
from ._report import table
from ._session import PARTIAL, REDUCE

if TYPE_CHECKING:
    import pandas
    from rich.console import Console

Value = str | int | float | bool
FINAL = ("done", "partial", "failed", "cancelled", "cannot finish")  # the last one until its user does something
MANY = 64 << 10  # characters of names of files with which a command is given a list of them
SHOWN = 4  # histograms that a notebook shows of a job that is done
LIVE = 1.0  # seconds between two pictures of a job that a notebook shows
EVERY = 0.2  # seconds between looks at a job that is waited for
TELL = 3.0  # seconds after which it is told that a daemon which is away is waited for
T = TypeVar("T")


def submit(
    control: Control,
    state: Path,
    selector: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]],
    tree: str | None,
    option: str | None,
    params: Mapping[str, Value] | None,
    input: Sequence[str | os.PathLike[str]] | Mapping[str, Any],
    entries: int,
    first: int,
    friends: Sequence[str],
    more: Sequence[str],
) -> "Job":
    """Has the command submit a selector, which finds files and headers as it does in a terminal."""
    entries, first = _count(entries, "entries"), _count(first, "first")
    if entries < -1:
        raise ValueError(f"entries={entries}: it is how many entries are run, and -1 is all of them")
    if first < 0:
        raise ValueError(f"first={first}: entries are counted from 0")
    given = {name: _typed(name, value) for name, value in (params or {}).items()}
    for name in given:
        if not name or "=" in name:
            raise ValueError(f"params has the name {name!r}, and that of a parameter is not empty, and has no =")
    if isinstance(input, Mapping):
        with tempfile.TemporaryDirectory(prefix="dtpnode-input-") as folder:
            path = os.path.join(folder, "input.root")
            _write(path, input)
            return submit(
                control, state, selector, files, tree, option, params, [path] if input else [], entries, first, friends,
                more,
            )
    command = [binary(), "run", os.fspath(selector), "--detach", "--running", "--state", str(state)]
    command += [f"--input={os.fspath(f)}" for f in input]
    command += [f"--friend={f}" for f in friends]
    for name, value in (("tree", tree), ("option", option)):
        if value is not None:
            command.append(f"--{name}={value}")
    if entries >= 0:
        command.append(f"--entries={entries}")
    if first:
        command.append(f"--first={first}")
    command += [f"--param={name}={value}" for name, value in given.items()]
    with _listed([os.fspath(f) for f in files]) as named:
        command += [f"--files={f}" for f in named]
        done = subprocess.run([*command, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        message, _, hint = done.stderr.strip().removeprefix("dtpnode: ").partition("\n")
        kind = NoDaemon if "no dtpnode daemon is running on" in message else Error
        raise kind(message or f"dtpnode run ended with status {done.returncode}", hint.strip())
    if done.stderr:
        sys.stderr.write(done.stderr)  # warnings
    return Job(control, done.stdout.split()[-1])


@contextlib.contextmanager
def _listed(files: list[str]) -> Iterator[list[str]]:
    """What --files is given: the files themselves, or where they are too many for a command, lists of them."""
    if sum(len(f) for f in files) <= MANY:
        yield files
        return
    with tempfile.TemporaryDirectory(prefix="dtpnode-files-") as folder:
        named: list[str] = []
        for plain, run in itertools.groupby(files, _can_be_listed):
            if not plain:
                named += run
                continue
            # Relative names are looked up beside the list first, where no glob finds a name with a dot.
            path = os.path.join(folder, f".{len(named)}")
            Path(path).write_text("".join(f"{f}\n" for f in run), errors="surrogateescape", encoding="utf-8")
            named.append("@" + path)
        yield named


def _can_be_listed(file: str) -> bool:
    """Whether a name is the same as a line of a list, which may have comments."""
    return file == file.strip() != "" and not file.startswith(("#", "@")) and " #" not in file and "\n" not in file


def _write(path: str, objects: Mapping[str, Any]) -> None:
    """Writes objects to a ROOT file by their names: those of PyROOT by ROOT, and all others by uproot."""
    others = dict(objects)
    if "ROOT" in sys.modules:
        root = sys.modules["ROOT"]
        here = root.TDirectory.TContext()  # The current directory stays the user's.
        file = root.TFile.Open(path, "RECREATE")
        for name, value in objects.items():
            if isinstance(value, root.TObject):
                _write_named(file, others.pop(name), name)
        file.Close()
        del here
    if not others:
        return
    try:
        import uproot
    except ImportError:
        raise Error("objects that are not ROOT's are written by uproot", "pip install dtpnode[results]") from None
    with uproot.update(path) if os.path.exists(path) else uproot.recreate(path) as file:
        for name, value in others.items():
            if isinstance(value, str):  # uproot makes a TObjString of it, which is found by its text alone.
                raise Error(f"input {name!r} is a str, which is no object", "params= gives texts, by their names")
            try:
                file[name] = value
            except TypeError as e:
                raise Error(f"input {name!r} cannot be written to a ROOT file: {e}") from None


def _write_named(file: Any, value: Any, name: str) -> None:
    """Writes an object of PyROOT, which has a name in the file that FindObject finds it by, and here its own."""
    own = str(value.GetName())
    if own == name or not hasattr(value, "SetName"):  # FindObject finds one without a name by that of its class.
        file.WriteTObject(value, name)
        return
    value.SetName(name)
    try:
        file.WriteTObject(value, name)
    finally:
        value.SetName(own)


def _count(number: Any, what: str) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{what} must be an int, and not {type(number).__name__}: {number!r}") from None


def _typed(name: str, value: Value) -> str:
    """A parameter as the command takes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral):  # bool too, and the integers of numpy
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value))
    raise TypeError(
        f"params[{name!r}] must be a str, int, float or bool, and not {type(value).__name__}: objects go into fInput "
        "by input="
    )


def called(status: dict[str, Any]) -> str:
    """What the units of a job are called: entries, where they are those of trees."""
    unit: str = status.get("unit") or "events"
    if not (unit.isalpha() and unit.isascii() and len(unit) <= 16):  # Any member may have said it.
        return "units"
    return "entries" if unit == "events" else unit


def _partial(status: dict[str, Any]) -> str:
    missing = status["units"] - status["committed"]
    units, what = status["units"], called(status)
    return f"job {status['id'][:12]}: {missing:,} of {units:,} {what} are missing; its report says which, and why"


def _instead(status: dict[str, Any]) -> tuple[str, str] | None:
    """What a job is whose result is no file of ROOT, and what has its results; None of any other."""
    if status.get("kind") != "Python":
        return None
    short, title = status["id"][:12], status.get("title") or ""
    if title.endswith((REDUCE, PARTIAL)):
        return (
            f"the job {short}, {title!r}, is a reduction: its result is a total, and no file of ROOT",
            f"client.reduction({short!r}).result() is the total",
        )
    return (
        f"the job {short}, {title!r}, runs calls in Python: it has a result of each call, and no file of ROOT",
        f"client.attach({short!r}) has them as futures",
    )


COLUMNS = ("file", "first", "last", "kind", "reason", "tries", "nodes")  # of a report


def _missing(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [{c: m.get(c) for c in COLUMNS} for m in status.get("missing") or ()]


class Job:
    """A job by its name, which it keeps on all nodes and after its end.

    ``Client.run`` and ``Client.job`` return one. Its results outlive the process that has submitted it.
    """

    def __init__(self, control: Control, name: str) -> None:
        self._control = control
        self.name = name
        self._results: Results | None = None

    @property
    def status(self) -> dict[str, Any]:
        """How the job stands, as ``dtpnode status --output json`` has it: among others state, done and units (entries),
        rate (entries a second), missing and nodes."""
        status: dict[str, Any] = self._control.call("GET", f"/v1/jobs/{self.name}")
        return status

    def done(self) -> bool:
        """Whether the job has ended, or cannot without its user, which ``status`` and ``result`` say more of."""
        return self.status["state"] in FINAL

    def wait(self, timeout: float | None = None, progress: bool | None = None) -> dict[str, Any]:
        """Waits for the end, and returns the status. After ``timeout`` seconds it is a TimeoutError, and the job goes
        on. ``progress`` draws a bar; by default where there is a terminal or a notebook. It ends as a plain line. A
        daemon that is away meanwhile, such as to be restarted, is waited for, 300 s at most. At a KeyboardInterrupt the
        job goes on, and a line says how to come back to it."""
        return self._wait(timeout, progress, lambda status: None)

    def _wait(
        self, timeout: float | None, progress: bool | None, check: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Waits as wait does. What check raises of a status ends it."""
        try:
            return self._wait_for_end(timeout, progress, check)
        except KeyboardInterrupt:
            self._was_interrupted()
            raise

    def _was_interrupted(self) -> None:
        """Says how to come back to it."""
        until, other = "", f"client.attach({self.name[:12]!r}) has it in another process"
        if owned(self._control):
            until, other = " as long as this process", "the daemon, and the job with it, ends with this process"
        sys.stderr.write(
            f"interrupted: job {self.name[:12]} goes on{until}; .result() waits again, .cancel() ends it, .stop() ends "
            f"it with what is done, and {other}\n"
        )

    def _wait_for_end(
        self, timeout: float | None, progress: bool | None, check: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        until = None if timeout is None else time.monotonic() + timeout
        with Bar(self.name, progress) as bar:
            while True:
                status = seen(self._when_back(lambda: self.status, until))
                check(status)
                bar.show(status)
                if status["state"] in FINAL:
                    return status
                if until is not None and time.monotonic() > until:
                    raise TimeoutError(f"job {self.name[:12]} is {status['state']} after {timeout} s")
                time.sleep(EVERY)

    def _when_back(self, ask: Callable[[], T], until: float | None = None) -> T:
        """What ask returns. While the daemon is away it is asked again and again, since the job goes on without it."""
        since: float | None = None
        told = False
        while True:
            try:
                return ask()
            except Error as e:
                # One that has just come back may have to hear of the job first.
                away = isinstance(e, NoDaemon) or since is not None and e.status in AGAIN
                now = time.monotonic()
                since = since or now
                if not away or self._control.ended() or now - since > PATIENCE:
                    raise
                if until is not None and now > until:
                    raise TimeoutError(f"the daemon that is asked for job {self.name[:12]} is away: {e.message}") from e
                if now - since > TELL and not told:
                    sys.stderr.write(f"waiting {PATIENCE:.0f} s for the daemon to come back: {e.message}\n")
                    told = True
            time.sleep(RETRY)

    def result(self, timeout: float | None = None) -> "Results":
        """Waits for the end, and returns the outputs by their names. A job that has failed, or cannot finish, is
        an Error; one that is partial has a result and a RuntimeWarning, and ``report`` says what is missing."""
        if self._results is None:
            status = self._wait(timeout, None, self._check)
            if status["state"] == "partial":
                warnings.warn(_partial(status), RuntimeWarning, stacklevel=2)
            folder = tempfile.mkdtemp(prefix="dtpnode-result-")
            try:
                path = os.path.join(folder, "result.root")
                self._fetch(path)
                self._results = Results(path, folder, _partial(status) if status["state"] == "partial" else "")
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return self._results

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the output to a file, whole or not at all, when the job has ended, and returns the file's path. One
        that cannot be written is an OSError, which names it: before the job is waited for if that is known by then. A
        symbolic link stays one, and the file that it leads to is written. ROOT files of the selector's own are in the
        folder that it was submitted from; elsewhere ``dtpnode get`` writes them, beside the output."""
        to = Path(path).absolute()
        if to.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(to))
        if to.exists() and not to.is_file():  # A device or a pipe would be replaced by a file.
            raise OSError(errno.EINVAL, "this is no regular file, and the output is one", str(to))
        at = Path(os.path.realpath(to)) if to.is_symlink() else to
        if not at.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such folder to write to", str(at.parent))
        status = self._wait(None, None, self._check)
        if status["state"] == "partial":
            warnings.warn(_partial(status), RuntimeWarning, stacklevel=2)
        temp = at.with_name(f".{at.name}.{os.getpid()}")
        try:
            self._fetch(str(temp))
            os.replace(temp, at)
        except OSError as e:
            raise OSError(e.errno, e.strerror, str(to)) from None  # The user knows nothing of the other file.
        finally:
            with contextlib.suppress(OSError):
                temp.unlink(missing_ok=True)
        return to

    def _check(self, status: dict[str, Any]) -> None:
        """Raises why a job has no output, or will have none."""
        if instead := _instead(status):
            raise Error(*instead)
        if status["state"] in ("failed", "cancelled", "cannot finish"):
            raise Error(status.get("error") or f"the job is {status['state']}", status.get("hint") or "")

    def _fetch(self, path: str) -> None:
        def fetch() -> None:
            with open(path, "wb") as f:
                for part in self._control.download(f"/v1/jobs/{self.name}/result"):
                    f.write(part)

        self._when_back(fetch)

    @property
    def report(self) -> "pandas.DataFrame":
        """``missing`` as a DataFrame, a row for each range of entries: ``first`` is its first entry, and ``last`` the
        one behind its last, so that it has last - first. The work of each node is in its attrs["nodes"], a DataFrame
        too: entries, entries a second and failures. It needs pandas (``pip install 'dtpnode[results]'``)."""
        status = self.status
        out = table(_missing(status), COLUMNS)
        nodes = [
            {"node": n["name"], "entries": n["units"], "entries/s": n["rate"], "failures": n["failures"]}
            for n in status.get("nodes") or ()
        ]
        out.attrs["nodes"] = table(nodes, ["node", "entries", "entries/s", "failures"])
        return out

    @property
    def missing(self) -> list[dict[str, Any]]:
        """What is missing in the result, a mapping for each range of entries: file, first, last, kind, reason, tries
        and nodes. ``first`` is the first entry that is missing, counted from 0 in the file, and ``last`` the one behind
        the last that is, as in ``range(first, last)``. It is empty as long as the job runs."""
        return _missing(self.status)

    def cancel(self) -> None:
        """Ends the job without a result."""
        self._control.call("POST", f"/v1/jobs/{self.name}/cancel")

    def stop(self) -> None:
        """Ends the job with what is done of it."""
        self._control.call("POST", f"/v1/jobs/{self.name}/stop")

    def __repr__(self) -> str:
        return f"<dtpnode.Job {self.name[:12]}>"

    def _ipython_display_(self) -> None:
        """Shows the job in a notebook, and goes on to do so until it has ended: its bar moves, and becomes plots."""
        from IPython.display import HTML, display

        handle = display(HTML(self._repr_html_()), display_id=True)

        def follow() -> None:
            with contextlib.suppress(Error):  # as of a client that is closed
                while not self.done():
                    time.sleep(LIVE)
                    handle.update(HTML(self._repr_html_()))

        with contextlib.suppress(Error):
            if handle is not None and not self.done():
                threading.Thread(target=follow, name=f"dtpnode-shows-{self.name[:8]}", daemon=True).start()

    def _repr_html_(self) -> str:
        try:
            status = self.status
        except Error as e:
            return f"<pre>{html.escape(str(e))}</pre>"
        done, units = status["done"], status["units"]
        out = (
            f"<p><b>{html.escape(status['title'] or 'job')}</b> {html.escape(self.name[:12])}: {status['state']}, "
            f"{done:,} of {units:,} {called(status)}</p>"
            f"<progress value={done} max={max(units, 1)}></progress>"
        )
        instead = _instead(status)
        partial = _partial(status) * (status["state"] == "partial")
        for words in status.get("error"), status.get("hint"), "\n".join(instead or ()), partial:
            out += f"<pre>{html.escape(words)}</pre>" if words else ""
        if status["state"] in ("done", "partial") and instead is None:
            out += "".join(self._pictures())
        return out

    def _pictures(self) -> list[str]:
        """The first histograms as notebooks show them, and of objects before them that cannot be read, why."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # What is missing is told beside.
                results = self.result()
        except (Error, ImportError, OSError):
            return []
        drawn: list[str] = []
        unread: list[str] = []
        for name in results:
            try:
                if hasattr(value := results[name], "_repr_html_"):
                    drawn.append(value._repr_html_())
            except Exception as e:  # Whatever an object is, or its own drawing raises, the others are shown.
                why = str(e) if isinstance(e, Error) else f"{name!r} cannot be drawn: {type(e).__name__}: {e}"
                unread.append(f"<pre>{html.escape(why)}</pre>")
            if len(drawn) == SHOWN:
                break
        return drawn + unread[:SHOWN]


class Results(Mapping[str, Any]):
    """The outputs of a job by their names.

    Histograms and profiles are ``hist.Hist``, with weights and overflow, as far as hist has an equal; all else is read
    by PyROOT where ROOT is imported, and by uproot elsewhere. An object that uproot cannot read, such as a TEfficiency,
    is an ``Error`` when it is asked for, which says what to do; ``dict(results)`` asks for all. ``path`` is the ROOT
    file that has them, which goes with this object; ``Job.save`` writes one to keep. A tree can be read also after it.
    """

    def __init__(self, path: str, folder: str, missing: str = "") -> None:
        try:
            import uproot
        except ImportError:
            raise Error("results are read by uproot and hist", "pip install dtpnode[results]") from None
        self.path, self._missing = path, missing
        self._lent = False  # whether somebody may have a tree, which reads the file later, and refers to it
        self._file = uproot.open(path, object_cache=None)  # where such a one would stay
        # Also at the interpreter's end.
        self._drop = weakref.finalize(self._file.file, shutil.rmtree, folder, ignore_errors=True)
        # Names with their cycles, since uproot would take a slash in a name for a folder's.
        self._kinds: dict[str, str] = dict(self._file.iterclassnames(recursive=False, cycle=True))
        self._newest: dict[str, str] = {}
        for key in self._kinds:
            name = key.rpartition(";")[0]
            self._newest[name] = max(self._newest.get(name, key), key, key=lambda k: int(k.rpartition(";")[2]))
        self._root: Any = None

    def __getitem__(self, name: str) -> Any:
        key = self._newest.get(name, name)
        if key not in self._kinds:
            raise KeyError(f"{name}; there are {', '.join(self._newest)}")
        kind = self._kinds[key]
        if kind.startswith(("TH1", "TH2", "TH3", "TProfile")):
            with contextlib.suppress(Exception):  # Such as NotImplementedError, where hist has no equal.
                return self._by_uproot(key).to_hist()
        if "ROOT" in sys.modules:
            return self._by_root(key)
        self._lent = True
        try:
            return self._by_uproot(key)
        except Exception as e:  # uproot has no class of its own for what it cannot read.
            raise Error(
                f"could not read {name!r}, which is a {kind}: uproot says {type(e).__name__}: {e}",
                "import ROOT, and ask for it again: PyROOT reads it then; or write all to a file, with job.save(path), "
                "and open that with ROOT",
            ) from e

    def _by_uproot(self, key: str) -> Any:
        name = key.rpartition(";")[0]
        of_name = self._file.iteritems(recursive=False, cycle=True, filter_name=lambda n: n == name)
        return next(value for found, value in of_name if found == key)

    def _by_root(self, key: str) -> Any:
        root = sys.modules["ROOT"]
        if self._root is None:
            self._root = root.TFile.Open(self.path)
        name, _, cycle = key.rpartition(";")
        found = self._root.GetKey(name, int(cycle)).ReadObj() if "/" in name else self._root.Get(key)
        found._dtpnode_file = self._root  # which has what a tree reads, and deletes its objects when it goes
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._newest or name in self._kinds  # which reads nothing

    def __iter__(self) -> Iterator[str]:
        return iter(self._newest)

    def __len__(self) -> int:
        return len(self._newest)

    def __repr__(self) -> str:
        return f"<dtpnode.Results: {', '.join(self._newest)}{'; ' * bool(self._missing)}{self._missing}>"

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None and not self._lent:
            file.close()
            self._drop()


class Bar:
    """A bar where somebody looks, which ends as a plain line. The name is that of a job, or empty if not known."""

    def __init__(self, name: str, wanted: bool | None) -> None:
        self._name, self._wanted = name[:12], wanted
        self._last: dict[str, Any] | None = None
        self._update: Callable[[dict[str, Any]], None] = lambda status: None
        self._finish: Callable[[str], None] = lambda line: None

    def __enter__(self) -> "Bar":
        if self._wanted is False:
            return self
        try:
            from rich.console import Console
        except ImportError:
            return self
        console = Console(stderr=True)
        if console.is_jupyter:
            self._in_notebook()
        elif self._wanted or console.is_terminal:
            self._on_terminal(console)
        return self

    def _on_terminal(self, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        progress = Progress(*columns, console=console, transient=True)
        task = progress.add_task(self._name, total=None)

        def update(status: dict[str, Any]) -> None:
            progress.update(
                task, description=self._what(status), total=status["units"] or None, completed=status["done"]
            )

        def finish(line: str) -> None:
            progress.stop()
            if line:
                console.print(line, highlight=False)

        self._update, self._finish = update, finish
        progress.start()

    def _in_notebook(self) -> None:
        """One output of the cell, which is replaced: what rich shows in notebooks needs a package more."""
        from IPython.display import HTML, display

        handle = display(HTML(""), display_id=True)
        if handle is None:
            return  # IPython shows nothing
        shown = 0.0

        def update(status: dict[str, Any]) -> None:
            nonlocal shown
            if time.monotonic() - shown < EVERY:
                return
            shown = time.monotonic()
            handle.update(HTML(
                f"{html.escape(self._what(status))} <progress value={status['done']} max={max(status['units'], 1)}>"
                f"</progress> {status['done']:,} of {status['units']:,} entries"
            ))

        self._update, self._finish = update, lambda line: handle.update(HTML(f"<pre>{html.escape(line)}</pre>"))

    def _what(self, status: dict[str, Any]) -> str:
        self._name = self._name or status["id"][:12]
        return f"{self._name} {status.get('phase') or status['state']}"

    def show(self, status: dict[str, Any]) -> None:
        self._last = status
        self._update(status)

    def __exit__(self, *_: object) -> None:
        line = ""
        if (s := self._last) is not None:
            name = self._name or s["id"][:12]
            done = f"{s['done']:,} of {s['units']:,} {called(s)}"
            line = f"job {name}: {s['state']}, {done} in {s['seconds']:.1f} s"
        self._finish(line)
