"""What runs on the nodes around a call that is measured, and what a call asks of the process that it runs in.

It is shipped by value, so that nodes need not have this package. ``dtpnode_worker`` is ``_worker.py``, which travels
with the code of every session.
"""

import traceback
from typing import TYPE_CHECKING, Any, Callable

from ._excepted import pickled, with_notes
from ._wrapped import dumps

if TYPE_CHECKING:
    from ._worker import Worker


def get_worker() -> "Worker":
    """The process that a call runs in, to be asked from within the call.

        >>> def total(path):
        ...     cache = dtpnode.get_worker().cache
        ...     array = cache.get(path)
        ...     if array is None:
        ...         array = cache[path] = numpy.load(path)
        ...     return array.sum()

    Its ``cache`` is a mapping that outlasts the process, and is shared by all processes on the node that run calls of
    the same submitter: see ``help(dtpnode.get_worker().cache)``. ``name``, ``node`` and ``node_name`` say where the
    call runs. Outside of a node it is this process, with a cache in the user's cache folder, so that the same function
    runs here too.
    """
    try:
        import dtpnode_worker as module  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from dtpnode import _worker as module  # type: ignore[no-redef, unused-ignore]
    worker: "Worker" = module.current()
    return worker


def cache_of(function: Callable[..., Any], called: Callable[..., Any] | None = None) -> Callable[[Any], Any]:
    """A function that is given the cache of its node where it has the parameter ``cache=None``; any other as it is.
    called is what that calls in the place of the function."""
    call = function if called is None else called
    import inspect

    try:
        parameter = inspect.signature(function).parameters.get("cache")
    except (TypeError, ValueError):  # It is written in C.
        return function
    if parameter is None or parameter.default is not None:
        return function

    def with_cache(item: Any) -> Any:
        return call(item, cache=get_worker().cache)

    with_cache.__qualname__ = getattr(function, "__qualname__", "function")
    return with_cache


def sampled(delay: float) -> dict[str, Any]:
    """What this node reads, writes, receives and sends in so many seconds, in bytes, and what this process takes of its
    memory."""
    import time

    def count() -> tuple[int, int, int, int]:
        disk, net = [0, 0], [0, 0]
        with open("/proc/diskstats") as f:
            for words in map(str.split, f):
                if not words[2].startswith(("loop", "ram", "dm-")) and not words[2][-1].isdigit():
                    disk[0] += int(words[5]) * 512
                    disk[1] += int(words[9]) * 512
        with open("/proc/net/dev") as f:
            for name, _, numbers in (line.partition(":") for line in f):
                if numbers and name.strip() != "lo":
                    net[0] += int(numbers.split()[0])
                    net[1] += int(numbers.split()[8])
        return disk[0], disk[1], net[0], net[1]

    began, before = time.time(), count()
    time.sleep(delay)
    after = count()
    with open("/proc/self/statm") as f:
        pages = int(f.read().split()[1])
    moved = [b - a for a, b in zip(before, after)]
    names = "node_read_bytes", "node_write_bytes", "node_recv_bytes", "node_sent_bytes"
    return {**dict(zip(names, moved)), "node_dt": time.time() - began, "worker_mem_used": pages * 4096}


def measured_by(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of the item alone, which is measured: so the user's function travels once for all items."""

    def run(item: Any) -> Any:
        return measured(function, item)

    run.__qualname__ = getattr(function, "__qualname__", "function")
    return run


def measured(function: Callable[[Any], Any], argument: Any) -> tuple[Any, ...]:
    """Calls a function, and tells how that went: MEASURED, the node's id and name, the number of the slot there, when
    the call began and ended in seconds since 1970, how many bytes the process has read and written meanwhile, then
    whether the function has returned, and what; or else its exception, as told has it, and the traceback in words."""
    import builtins
    import sys
    import time

    worker = get_worker()
    counts = sys.modules[type(worker).__module__].counts
    if not hasattr(builtins, "get_worker"):
        builtins.get_worker = get_worker  # type: ignore[attr-defined]
    read, written = counts()
    began = time.time()
    value: Any
    try:
        returned, value, words = True, function(argument), ""
    except BaseException as e:  # Also that of sys.exit, which is none of this process.
        explain = getattr(sys.modules.get("_dtpnode_child.workers"), "explain_memory", None)
        if explain is not None:
            explain(e)  # of a MemoryError how much memory there is, as in what other calls raise
        at = e.__traceback__.tb_next if e.__traceback__ is not None else None
        returned, (value, words) = False, told(e, at)
    ended = time.time()
    after = counts()
    read, written = after[0] - read, after[1] - written
    meta = worker.worker_meta
    meta["total_tasks"] += 1
    meta["total_read_bytes"] += read
    meta["total_write_bytes"] += written
    meta["total_time_elapsed"] += ended - began
    where = worker.node, worker.node_name, worker.slot
    return MEASURED, where, (began, ended, read, written), returned, value, words


MEASURED = "measured by dtpnode"  # tells what measured returns from what users' functions do


def told(e: BaseException, at: Any) -> tuple[Any, str]:
    """What measured tells of an exception that was raised at a place: its pickle, or in words why there is none, with
    it in words; and the traceback in words."""
    try:
        trace = "".join(traceback.format_exception(type(e), e, at, limit=-1000))  # a million take minutes
    except Exception:  # of its own __str__
        trace = with_notes(e)
    BaseException.with_traceback(e, None)  # Its class may not let attributes be set.
    try:
        sent: Any = pickled(e, dumps)
    except MemoryError:
        sent = None
    return (sent, with_notes(e)), trace


def instead(result: Any, unsent: Callable[[Any], BaseException]) -> Any:
    """What is sent in the place of a result that has no pickle, as pyexec/child/code.py takes it: of a call that was
    measured all that is known of it, with an exception in the place of what it has returned; of any other None."""
    if type(result) is not tuple or len(result) != 6 or type(result[0]) is not str or result[0] != MEASURED:
        return None
    _, where, counts, _, value, _ = result
    return MEASURED, where, counts, False, *told(unsent(value), None)
