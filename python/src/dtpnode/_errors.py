"""What can go wrong, as exceptions."""

import errno
import tempfile
from concurrent.futures import BrokenExecutor
from pickle import PicklingError

from . import _unpickle


class Error(Exception):
    """A refusal of the daemon, or another error of dtpnode, with what to do next in ``hint`` (may be empty). ``status``
    is that of HTTP if the daemon has refused, or else 0."""

    status = 0

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class DiskFull(Error):
    """The disk of a node, or of this host, has no room for what is to be written. The message has the folder. A session
    that runs waits for room, and says so; what begins is refused."""


FREE = "free space on that disk, and try again"


def is_full(error: Error) -> bool:
    """Whether a refusal is for want of room on a disk, of the daemon's host or of another one; not that a job has ended
    for that reason."""
    says = "no space left on device" in str(error).lower()
    return error.status == 507 or error.status in (0, 500, 503) and says


def unwritten(why: OSError, what: str) -> Error:
    """Says that a temporary file on this host could not be written, and where that was; what is what it was to have."""
    try:
        folder = f"the folder {tempfile.gettempdir()}"
    except OSError:
        folder = "any folder for temporary files"
    kind = DiskFull if why.errno == errno.ENOSPC else Error
    return kind(
        f"could not write to {folder} on this host: {why.strerror or why}; it was to have {what}",
        "free space there, or name another folder for temporary files with TMPDIR",
    )


class NoDaemon(Error):
    """No daemon listens on the control socket."""


def raisable(error: BaseException) -> BaseException:
    """An exception that a call has raised, as it is raised here. One that ends a program, such as that of sys.exit(0),
    is not to end this one, which would look as if all had gone well."""
    if isinstance(error, Exception):
        return error
    name, what = type(error).__name__, f": {error}" if str(error) else ""
    what += "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))  # such as which task it was
    if isinstance(error, SystemExit):
        hint = "sys.exit ends no program there: return from the function"
    elif isinstance(error, KeyboardInterrupt):
        hint = "it was raised by the function, or what that calls: a Ctrl-C here reaches no call"
    else:
        hint = "what is no Exception, but another BaseException, is not raised here: raise an Exception in its place"
    return RemoteError(f"the call has raised {name}{what}", hint)


def unpickled(pickled: bytes | str | None, words: str) -> BaseException:
    """An exception of a node, of its pickle, or of what is said of why it has none. A RemoteError with the words of the
    original stands for one that cannot be made here."""
    if not isinstance(pickled, bytes):
        return RemoteError(words, pickled or "")
    try:
        error = _unpickle.loads(pickled)
    except BaseException as e:
        advice = (
            "is its class importable here, in the same version?"
            if isinstance(e, (ImportError, AttributeError))
            else "have its class define __reduce__, or give all parameters of its __init__ defaults"
        )
        why = f"the exception itself could not be unpickled here: {type(e).__name__}: {e}"
        return RemoteError(words, f"{why}; {advice}")
    if isinstance(error, BaseException):
        return error
    return RemoteError(words, f"its class has a __reduce__ that makes a {type(error).__name__}, and no exception")


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """An exception with a cause, also where its class lets nobody set attributes, as that of a frozen dataclass."""
    BaseException.__setattr__(error, "__cause__", cause)
    return error


class ItemLost(Error):
    """An item has no result: it failed on several nodes, such as by a crash or for want of memory, and was given up."""


class ResultTaken(Error):
    """A large result was taken by the program that has submitted its call, and is kept for nobody else any more: this
    is what others find that attach to its session."""


class TooLarge(Error, ValueError):
    """A call has more bytes than an item may have (32 MiB). It was not submitted."""


class Unpicklable(Error, PicklingError, TypeError):
    """A function or its arguments cannot be sent to another process, and what in them cannot. The call was not
    submitted. A result that cannot be sent is a pickle.PicklingError as the exception of its future."""


class ClusterLost(Error, BrokenExecutor):
    """The daemon does not come back, or no node that keeps the job's record does."""


class JobFailed(Error, BrokenExecutor):
    """An executor's job has failed as a whole, such as by an initializer that has raised, or was cancelled."""


class RemoteTraceback(Exception):
    """The traceback of an exception that was raised on a node; it is the ``__cause__`` of that exception here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(Error):
    """An exception that was raised on a node and cannot be made again here; its words are those of the original."""


class NodeWarning(UserWarning):
    """What nodes say of a job: that a package is of another version there, or that a node takes no part, and why."""
