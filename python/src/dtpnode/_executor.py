"""A concurrent.futures.Executor over the pool."""

import itertools
import logging
import operator
import os
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Executor as _Executor
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Callable, Iterable, Iterator, Literal, Sequence, Sized, cast

from . import _pickles
from ._along import Environment, Files, Modules, take_along
from ._collected import collected
from ._control import Control
from ._held import LateFuture
from ._opening import HOUR, check_stall
from ._prints import Output, printing, titled, to_stdout
from ._reduction import NOTHING, Reduction, begin
from ._session import Call, Session, calls, code_of
from ._slots import Line, Slot, Told
from ._source import Source, as_it_is

# Of a map, what is submitted before its results are taken. What is more follows as they are.
AHEAD = 250_000  # calls, where nobody knows how many there will be
FIRST = 20_000  # of these, before the first result is taken
AHEAD_BYTES = 1 << 30  # bytes of calls whose results were not taken, with their pickles
CALL = 300  # bytes that a call has beside its pickle
PART = 5_000  # calls that are submitted at once
MOMENT = 0.2  # seconds for which errors of an iterable without a length are waited for


class Executor(_Executor):
    """Runs calls on the nodes of the pool, as a ``concurrent.futures.Executor``.

        >>> with client.executor() as pool:
        ...     future = pool.submit(pow, 2, 10)
        ...     squares = list(pool.map(lambda x: x * x, range(1000)))
        >>> future.result()
        1024

    A function needs not be importable on the nodes: it travels with all that it refers to, once for all of its calls
    (cloudpickle). Modules that it imports have to be installed there. A call has at most 32 MiB as a pickle, its result
    any size. The futures outlive the daemon that is talked to: they wait up to five minutes for it to come back.

    A call counts once, whatever dies, but it may run more than once: the calls of the last moments before their process
    dies are run again, so that what a call writes elsewhere may be written twice. A thread that outlives its call is
    ended when its process hands in what it has done.

    ``control``
        of the daemon that takes the calls; ``Client.executor`` gives it.
    ``max_workers``
        bounds how many calls are on their way at a time. By default all slots of the pool take part.
    ``initializer``, ``initargs``
        the initializer is called with these in each process on the nodes before its first call. If it raises, the
        executor is broken. What it sets in globals, in classes and in modules of your own is there for the calls of its
        process; what only the function knows that it is defined in, as by ``nonlocal``, is not: each pickle has that
        for itself.
    ``name``
        is the title of the job in ``dtpnode ps``.
    ``output``
        is called with a node's name and whole lines that calls have printed there, at most a second after they were. By
        default they go to ``sys.stdout`` as they are. None drops them here; ``dtpnode logs JOB`` has the last 256 KiB
        of each node in any case, and says how many lines were dropped before these. Of a node that prints faster than
        256 KiB a second lines are dropped, and one in their place says how many. Of processes that fail a few lines on
        ``sys.stderr`` tell.

    ``imports``
        are names of modules, such as ``["numpy", "sklearn"]``, that each node imports once before it forks the
        processes that run calls, where each of these would do so. One that a node lacks is a ``NodeWarning`` before the
        first call, and an error only for calls that need it. A node keeps them imported for ten minutes, for sessions
        and reductions that name the same.
    ``env``
        is the environment in which calls run. A lock file (``"pylock.toml"`` of PEP 751, or ``"requirements.txt"`` with
        hashes) is installed once on each node, with uv where it is found, or else pip. A tarball (``"env.tar.gz"`` of
        venv-pack or conda-pack, or any with ``bin/python`` at its top or in one folder, at most 4 GiB) is unpacked
        once. Both are kept on the node for later, by their hash. A name is that of an environment which nodes have
        (``dtpnode up --python NAME=FILE``), that of the client's daemon among them. Its Python is of this minor
        version. A node that cannot make it takes no part, and a ``NodeWarning`` says why. The client's own daemon
        may be one of them, and lead the calls that others run, but for reductions, whose totals it adds itself; that
        none can is an ``Error``, or breaks the executor. By default calls run in the Python that each node has, with
        its packages; where these differ from what is imported here, that is a ``NodeWarning``.
    ``modules``
        are modules that nodes lack: names, modules, or paths of packages, sources and wheels, at most 48 MiB. They
        travel as files, with the data in their folders, and are found before those of nodes. What is compiled cannot:
        that is what ``env`` is for. Modules that were imported from where nothing is installed, such as those of the
        working folder, need not be named: what calls refer to of them travels by value.
    ``files``
        are files, or a mapping of names to files, that each process finds in its working folder, to read: at most 1 GiB
        each, sent once to each node. They are as they were when the executor was made. One of more than 1 MiB, as the
        tarball of an ``env``, may be deleted or replaced, but must not be written to as long as the executor is used:
        a long session needs it again. A call that changes a file all the same, as root can, changes it for later calls
        of its process, and one of more than 1 MiB for those of the session that run on its node at that time: processes
        that begin later find it as it was sent.

    ``max_tasks_per_child``
        is how many calls a process on the nodes runs before another one takes its place, for code that leaks memory or
        leaves a state behind. By default a process runs calls for half a minute, and longer where nothing is to be
        handed in. A new one costs some tens of milliseconds, and the initializer again.
    ``stall``
        is how many seconds a call, or the initializer, may take before it is taken for an endless loop: its process is
        ended, and a call is lost (``ItemLost``) when that was so three times. By default there is no limit, as in the
        standard library.

    Callbacks of futures are called by the thread that receives results, as those of a ProcessPoolExecutor are: one that
    waits for another future of this executor waits for itself, and should submit what is to follow, and return.

    Each process that runs calls has a working folder of its own, empty but for ``files``, which goes with it. A call
    that changes the working folder changes it for itself alone; files that it leaves there may be seen by later calls
    of the same process, and by nobody else: what is to stay is returned, or written to a path that all hosts see.

    What a function keeps from call to call, such as a list that is a default of a parameter, or a variable of the
    function around it, is one for the calls of a process: how many see it, and which, is nobody's to know. An object
    that is called, or a method of which is, is in each call as it was sent.

    What this process has set is not set there: environment variables, warnings filters, levels of logging, numpy.seterr
    and the like. An ``initializer`` does that.

    Futures raise what the call has raised, with the traceback on the node as the cause (``RemoteTraceback``), or
    ``ItemLost`` if the call has ended its process again and again. They raise ``ClusterLost`` or ``JobFailed``, both
    ``BrokenExecutor``, if nothing can be run any more. ``submit`` and ``map`` raise ``Unpicklable`` and ``TooLarge``
    before anything is sent.
    """

    def __init__(
        self,
        control: Control,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        name: str = "executor",
        output: Output | None = to_stdout,
        imports: Sequence[str] = (),
        env: Environment | None = None,
        modules: Modules = (),
        files: Files = (),
        max_tasks_per_child: int | None = None,
        stall: float | None = None,
    ) -> None:
        if max_workers is not None and (max_workers := operator.index(max_workers)) <= 0:
            raise ValueError("max_workers must be greater than 0")
        if max_tasks_per_child is not None and not isinstance(max_tasks_per_child, int):
            raise TypeError("max_tasks_per_child must be an integer")
        if max_tasks_per_child is not None and max_tasks_per_child <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        titled(name)
        printing(output)
        stall = check_stall(stall)
        along = take_along(env, modules, files)
        # Of its jobs, and of those of reductions.
        self._code = code_of(initializer, tuple(initargs), imports, max_tasks_per_child)
        try:
            self._session = Session(control, self._code, name, max_workers, output, along, stall)
        except Exception as e:
            unsent = _pickles.unsent({"the initializer": initializer, "initargs": initargs})
            if unsent is None:
                raise
            raise unsent from e
        self._control, self._output = control, output
        self._reductions: weakref.WeakSet[Reduction] = weakref.WeakSet()  # those that run are held by their threads
        self._within: list[bool] = []  # not empty in a with block of its own
        _living.add(self._session)
        collected.start()
        self._drop = weakref.finalize(self, collected.add, self._session.close)
        self._drop.atexit = False  # type: ignore[misc]  # _at_exit waits for what was submitted

    @property
    def name(self) -> str:
        """The name of the session, for ``Client.attach``: that of its first job."""
        return self._session.name

    @property
    def job(self) -> str:
        """The name of the job that takes the calls now. After some thousands of appends another one goes on."""
        return self._session.job

    @property
    def _broken(self) -> str | Literal[False]:
        """Why no more calls are taken, as in the executors of the standard library."""
        return str(self._session.broken) if self._session.broken is not None else False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Schedules ``fn(*args, **kwargs)`` and returns its future.

        ``Unpicklable`` and ``TooLarge`` say that the call cannot be sent, ``BrokenExecutor`` that nothing can any more,
        and ``RuntimeError`` that the executor was shut down.
        """
        future = LateFuture()
        future.interrupted = self._session.interrupted
        but = self._session.along.modules
        call = Call(future, _pickles.function(fn, but), _pickles.arguments(args, kwargs, but))
        self._session.compare(call.function, call.arguments)
        self._session.submit([call])
        return future

    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Calls fn with an element of each iterable, and returns an iterator over the results in order.

        Calls that are not taken are cancelled where the iterator ends early. ``timeout`` is in seconds from this call
        on; a result that comes later is a ``TimeoutError``. Calls travel together in any case, so that ``chunksize``
        makes no difference. Iterables without a length are read by another thread, so that they may be slow, or without
        end: each call is submitted when its arguments are there, but 20,000 at first, and later 250,000 at most whose
        results were not taken. Of what only the thread may read that has made it, such as a cursor of sqlite3, hand
        over ``list(...)``. What such an iterable raises is raised here if that is soon, and else in place of the next
        result. Of all iterables as many calls are submitted as take 1 GiB of memory here, some three million small
        ones, before results are taken. With ``buffersize``, as of Python 3.14, at most so many calls are submitted
        whose results were not taken.

        Where nobody has begun to take the results all calls run, as in the standard library: what is not read yet is
        read once the executor is shut down, which waits for it, or once nobody can take the results, which are let go
        then. Where somebody has, or with ``buffersize``, nothing more is read after the shutdown, since iterables may
        be without end: a ``RuntimeError`` is in place of the next result.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else time.monotonic() + timeout
        sized = bool(iterables) and any(isinstance(i, Sized) for i in iterables)
        function = _pickles.function(fn, self._session.along.modules)
        arguments = zip(*map(as_it_is, iterables))
        feed: _Feed
        if sized and buffersize is None:
            feed = _Feed(self._session, function, arguments)
        else:
            feed = _LateFeed(self._session, function, arguments, buffersize)
        try:
            feed.begin()
            if not feed.over and not isinstance(feed, _LateFeed):  # It is too much to be submitted at once.
                feed = _LateFeed(self._session, function, arguments, None, feed)
                feed.begin()
        except BaseException:
            feed.cancel()
            raise
        results = _results(feed, end)
        if isinstance(feed, _LateFeed):  # A generator that was not begun does not tell by itself that it is gone.
            weakref.finalize(results, collected.add, feed.let_go).atexit = False  # type: ignore[misc]
        return results

    def reduce(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        op: Callable[[Any, Any], Any] = operator.add,
        initial: Any = NOTHING,
        partial: bool = False,
        fail_fast: bool = False,
        chunksize: int = 1,
        name: str | None = None,
        stall: float | None = HOUR,
    ) -> "Reduction":
        """Calls fn with an element of each iterable, as ``map`` does, and adds what it returns on the nodes: the future
        is of the total alone, as of ``functools.reduce(op, map(fn, *iterables))``.

            >>> with client.executor() as pool:
            ...     words = pool.reduce(len, ["a", "bb", "ccc"])
            >>> words.result()
            6

        ``op(a, b)`` adds two values, or totals of values: by default ``a + b``. It may change ``a`` and return it, as
        ``operator.iadd`` does, but not ``b``. It must be associative and commutative: values are added in any order and
        grouping, so that the last digits of sums of floats may differ from run to run. Each process adds what its own
        items give, each node what its processes have, and the node that leads the job what the nodes have. One total
        and one value beside it are in the memory of a process at a time. ``initial`` is added once, at the end and
        here, as the first argument; it is the result if there are no items, where it is a ``TypeError`` otherwise.

        An item that raises, or ends its process again and again, does not end the others. ``result()`` raises what
        ``map`` would, that of the item with the lowest number; with ``partial`` it is the total of the others. Either
        way ``Reduction.total`` and ``report`` have that total and what is missing in it, each item with its reason. An
        op that raises ends the reduction with its exception, and one that ends its process three times, on two nodes
        where there are two, with a ``JobFailed`` that names it: there is no total then. It must not return None for two
        values. With ``fail_fast`` the first item that raises, or ends its process three times, ends the reduction with
        that as well, in place of all others being run first.

        It is a job of its own, with the initializer and the modules of this executor: what the initializer sets is
        there for fn, and not for op, which also adds where no item runs. It goes on when this process has ended: see
        ``Reduction``. Where the daemon ends with this process, it is waited for before. Items are read as there is
        room, by another thread, so that iterables may be longer than memory. ``name`` is the title of the job;
        ``chunksize`` makes no difference. ``stall`` is how many seconds an item may take before it is taken for an
        endless loop, as for an executor, whose own is for its calls: an hour, since items are pieces of a total, and
        None for any time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        self._session.check()
        along = self._session.along
        reduction = begin(
            self._control, fn, iterables, op, initial, partial, fail_fast, self._code, name, self._output, along,
            stall,
        )
        within = self._within
        reduction.within = lambda: bool(within)
        self._reductions.add(reduction)
        return reduction

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls. With ``wait`` it returns when all futures are settled and what calls have printed has
        been passed on; with ``cancel_futures`` those that are not on their way yet are cancelled."""
        if wait:
            collected.join()  # Of a map whose results were dropped before nothing more is sent.
        self._session.close(cancel_futures)
        if wait:
            self._session.join()
            for reduction in list(self._reductions):
                reduction.join()

    def __repr__(self) -> str:
        return f"<dtpnode.Executor {self.name[:12]}>"

    def __reduce__(self) -> str:
        raise TypeError("an executor is not sent to other processes")

    def __enter__(self) -> "Executor":
        self._within.append(True)
        self._session.cancels = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Shuts down and waits, but cancels all calls, also those that run, at a KeyboardInterrupt."""
        self._within.clear()
        self._session.cancels = False
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._session.abandon()
            for reduction in list(self._reductions):
                reduction.cancel()
            return
        self.shutdown(wait=True)


class _Feed:
    """The calls of a map, which are submitted at once, up to AHEAD_BYTES: another feed has the rest."""

    def __init__(self, session: Session, function: bytes, arguments: Iterator[tuple[Any, ...]]) -> None:
        self._session, self._function, self._arguments = session, function, arguments
        self.slots: "deque[Slot]" = deque()
        self.lazy = False  # It is read as results are taken: somebody has begun to.
        self._line = Line()
        self._number = 0  # of calls that were read
        self._bytes = 0  # of those whose results were not taken
        self.over = False  # All was submitted.

    def _take(self, args: tuple[Any, ...]) -> tuple[Call, Slot]:
        """The call with some arguments."""
        arguments = _pickles.item(self._number, args, self._session.along.modules)
        self._number += 1
        slot = self._slot(len(arguments) + CALL)
        call = Call(cast("Future[Any]", slot), self._function, arguments)
        self._session.compare(call.function, call.arguments)
        return call, slot

    def _slot(self, size: int) -> Slot:
        return Slot(self._line, size)

    def begin(self) -> None:
        """Submits the first calls."""
        while not self.over and self._bytes < AHEAD_BYTES:
            calls: list[Call] = []
            slots: list[Slot] = []
            for args in itertools.islice(self._arguments, PART):
                call, slot = self._take(args)
                calls.append(call)
                slots.append(slot)
                self._bytes += slot.size
                if self._bytes >= AHEAD_BYTES:
                    break
            else:
                self.over = len(calls) < PART
            if calls:
                self._session.submit(calls)
                self.slots.extend(slots)

    def more(self, end: float | None) -> bool:
        """Whether there is another result."""
        return bool(self.slots)

    def next(self, end: float | None) -> Any:
        """The next result. Nothing refers to it when it has been returned."""
        slot = self.slots[0]
        value = slot.result() if end is None else slot.result(end - time.monotonic())
        self.slots.popleft()
        self._taken(slot.size)
        return value

    def _taken(self, size: int) -> None:
        """Is told that a result was taken."""

    def cancel(self) -> None:
        for slot in self.slots:
            slot.cancel()
        if self.slots:
            self._session.drop()


class _LateFeed(_Feed):
    """The calls of a map over what may be slow, or without end. It is read by a thread of its own.

    Where nobody takes the results it is read as far as results may wait. That changes once nobody can take them, or no
    other call can be submitted: then all is read and run that there is, as in the standard library, where map itself
    would have read it. What is on its way bounds it then; results that nobody can take are let go.
    """

    def __init__(
        self,
        session: Session,
        function: bytes,
        arguments: Iterator[tuple[Any, ...]],
        most: int | None,
        before: _Feed | None = None,
    ) -> None:
        """Before has submitted the first calls, and has no more."""
        super().__init__(session, function, iter(()))
        self._most = AHEAD if most is None else most
        # At first fewer, so that the results of an iterable without end are not waited for.
        self._ahead = min(self._most, FIRST)
        self._out = 0  # calls that were read, and whose results were not taken
        if before is not None:
            self._line, self.slots, self._bytes = before._line, before.slots, before._bytes
            self._number = before._number
            self._out = len(self.slots)
            self._most = self._ahead = max(self._most, self._out)
        self.lazy = self._bounded = most is not None  # as in Python 3.14, also if nobody takes results
        self._error: BaseException | None = None
        self._stopped: BaseException | None = None  # why nothing more is read
        self._reads_on = False  # though nobody takes results
        self._unwanted = False  # Nobody can take the results.
        self._unsettled = self._unsettled_bytes = 0  # calls that were read since then, and have no result yet
        self.source = Source(arguments, self._take, self._send, self._full, self._ended)
        self._change = threading.Condition(self.source.lock)  # of what results are waited for

    def begin(self) -> None:
        """Submits what comes in a moment, of which an error is raised here."""
        self._session.reads(self)
        self.source.start()
        with self._change:
            self._change.wait_for(lambda: self.over or self._out >= self._ahead or self._bytes >= AHEAD_BYTES, MOMENT)
            if self._error is not None:
                raise self._error

    def _take(self, args: tuple[Any, ...]) -> tuple[Call, Slot]:
        call, slot = super()._take(args)
        with self._change:
            self._out += 1
            self._bytes += slot.size
            if isinstance(slot, Told):
                self._unsettled += 1
                self._unsettled_bytes += slot.size
        return call, slot

    def _slot(self, size: int) -> Slot:
        return Told(self._line, size, self._settled) if self._reads_on else super()._slot(size)

    def _settled(self, size: int) -> None:
        with self._change:
            self._unsettled -= 1
            self._unsettled_bytes -= size
            few = self._unsettled <= FIRST // 2 and self._unsettled_bytes < AHEAD_BYTES // 2
            if self.source.waits and few:
                self.source.go_on()

    def _full(self) -> bool:
        if self._reads_on:
            return self._unsettled >= FIRST or self._unsettled_bytes >= AHEAD_BYTES
        if self._out < self._ahead and self._bytes < AHEAD_BYTES:
            return False
        self._change.notify_all()
        return True

    def _send(self, read: list[tuple[Call, Slot]]) -> None:
        with self._change:
            if self.source.closed:
                return
            if not self._unwanted:
                self.slots.extend(slot for _, slot in read)
            self._change.notify_all()
        try:
            self._session.submit([call for call, _ in read], self)
        except BaseException as e:
            for _, slot in read:
                slot.set_exception(e)
            raise

    def _ended(self, error: BaseException | None) -> None:
        with self._change:
            self.over, self._error = True, error or self._stopped
            self._change.notify_all()
            unwanted = self._unwanted
        self._session.has_read(self)
        if unwanted and error is not None:
            self._tell(error)

    def read_on(self) -> None:
        with self._change:
            self._reads_on = True
            self.source.go_on()

    def let_go(self) -> None:
        """Is told that nobody can take the results any more. Where nobody has begun to, all is run."""
        if self._bounded:
            self.source.close()
        if self.lazy:
            return
        with self._change:
            self._unwanted = self._reads_on = True
            slots, self.slots = self.slots, deque()
            error = self._error if self.over else None
            self.source.go_on()
        del slots  # What the results themselves do at their end must not wait for the lock.
        if error is not None and error is not self._stopped:
            self._tell(error)

    @staticmethod
    def _tell(error: BaseException) -> None:
        """Tells what has ended a map whose results nobody takes."""
        logger.error(
            "a map whose results nobody takes has ended early: what its iterable gives from here on is not run",
            exc_info=error,
        )

    def stop(self, why: BaseException) -> None:
        self._stopped = why
        self.source.close()

    def more(self, end: float | None) -> bool:
        if self.slots:
            return True
        with self._change:
            wait = None if end is None else end - time.monotonic()
            if not self._change.wait_for(lambda: self.slots or self.over, wait):
                raise TimeoutError()
            if not self.slots and self._error is not None:
                raise self._error
            return bool(self.slots)

    def _taken(self, size: int) -> None:
        with self._change:
            self._out -= 1
            self._bytes -= size
            least = self._ahead - min(PART, self._ahead // 4 + 1)
            enough = self._out <= least and self._bytes < AHEAD_BYTES // 2
            if self.source.waits and enough:
                self._ahead = min(2 * self._ahead, self._most)
                self.source.go_on()

    def cancel(self) -> None:
        self.source.close()
        super().cancel()


def _results(feed: _Feed, end: float | None) -> Iterator[Any]:
    feed.lazy = True
    try:
        while feed.more(end):
            yield feed.next(end)
    except GeneratorExit:  # The collector may raise it, in a thread that holds any lock.
        collected.add(feed.cancel)
        raise
    except BaseException:
        feed.cancel()
        raise


logger = logging.getLogger("concurrent.futures")  # as that of the standard library's executors
_living: "weakref.WeakSet[Session]" = weakref.WeakSet()


def _at_exit() -> None:
    """Waits for what was submitted, as the executors of the standard library do when the interpreter ends."""
    living = list(_living)
    for session in living:
        session.leaves = True
        session.close()
    try:
        collected.join()
        for session in living:
            ended = session.was_interrupted or getattr(sys, "last_type", None) is KeyboardInterrupt
            if ended and not session.abandoned:
                session.waits()
        for session in living:
            session.join()
    except KeyboardInterrupt:  # It is no error of the interpreter's end, which would show a traceback of this.
        n = sum(session.on_their_way() for session in living)
        for session in living:
            session.abandon()
        sys.stderr.write(f"cancelled {calls(n)}\n")


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_living.clear)
