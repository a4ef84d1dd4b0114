"""What users get wrong, or do without thinking of it, and what they are told."""

import abc
import asyncio
import collections
import contextlib
import functools
import itertools
import multiprocessing
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor

import numpy as np
import pytest

import dtpnode
from dtpnode import _executor, _pickles, _session
from dtpnode.compat.redis_htcondor import Manager


LIMIT = 900.0  # seconds after which what is waited for hangs


class Config:
    def __init__(self):
        self.name = "a"
        self.lock = threading.Lock()


class Odd(Exception):
    """It has a pickle, from which it cannot be made."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


CONFIG = Config()


class Shared(abc.ABC):
    __slots__ = ("a",)

    def get(self):
        return Shared

    lock = threading.Lock()


@pytest.mark.parametrize(
    "call, where",
    [
        (lambda pool: pool.submit(len, [1, Config()]), "args[0][1].lock, a _thread.lock"),
        (lambda pool: pool.submit(lambda: CONFIG), "the function -> the global CONFIG.lock, a _thread.lock"),
        (lambda pool: pool.submit(functools.partial(print, Config())), "the function.args[0].lock, a _thread.lock"),
        (lambda pool: (lambda c: pool.submit(lambda: c))({"k": (i for i in ())}), "variable c['k'], a generator"),
        (lambda pool: pool.submit(lambda: Shared), "the function -> the global Shared.lock, a _thread.lock"),
        (lambda pool: pool.submit(print, Shared()), "args[0] -> its class Shared.lock, a _thread.lock"),
        (lambda pool: pool.map(len, [[1], [threading.Lock()]]), "the call of the item 1: args[0][0], a _thread.lock"),
        (lambda pool: list(pool.map(len, iter([[1]] * 7 + [[threading.Lock()]]))), "of the item 7: args[0][0], a"),
        (lambda pool: pool.reduce(len, [[1], [threading.Lock()]]).result(), "of the item 1: args[0][0], a _thread"),
    ],
    ids=["argument", "global", "partial", "closure", "class", "object", "map", "iterator", "reduce"],
)
def test_unpicklable(pool, call, where):
    with pytest.raises(dtpnode.Unpicklable) as e:
        call(pool)
    assert where in str(e.value)
    assert isinstance(e.value, pickle.PicklingError)
    assert pool.submit(pow, 2, 3).result() == 8


def test_unpicklable_initializers(client):
    lock = threading.Lock()
    with pytest.raises(dtpnode.Unpicklable, match="the initializer -> its variable lock, a _thread.lock"):
        client.executor(initializer=lambda: lock)
    with pytest.raises(dtpnode.Unpicklable, match=r"initargs\[1\], a _thread.lock"):
        client.executor(initializer=print, initargs=(1, lock))
    with pytest.raises(TypeError, match="not iterable"):
        client.executor(initializer=print, initargs=3)


class Analysis:
    """Has what it runs on, as many do."""

    def __init__(self, pool, client=None):
        self.pool, self.client = pool, client

    def run(self):
        return 1


@pytest.mark.parametrize(
    "make, where, hint",
    [
        (lambda pool, _: Analysis(pool), ".pool, a dtpnode._executor.Executor: an executor is", "in a call that needs"),
        (lambda _, client: Analysis(None, client), ".client, a dtpnode._client.Client: a client is", "__getstate__"),
        (lambda pool, _: Analysis(pool.submit(abs, -1)), ".pool, a dtpnode._held.LateFuture: ", "its result() gives"),
        (lambda *_: Analysis(multiprocessing.Lock()), ".pool, a multiprocessing.synchronize.Lock: ", "no memory, lock"),
        (lambda *_: Analysis(threading.local()), ".pool, a _thread._local: ", "each process has one of its own"),
        (lambda *_: Analysis(sqlite3.connect(":memory:")), ".pool, a sqlite3.Connection: ", "path of the database"),
    ],
    ids=["executor", "client", "future", "lock", "local", "database"],
)
def test_methods_of_objects_with_more(pool, client, make, where, hint):
    """The part that cannot be sent is the one that the user has put there, and nothing inside of it."""
    with pytest.raises(dtpnode.Unpicklable) as e:
        pool.submit(make(pool, client).run)
    assert f"the function.__self__{where}" in str(e.value) and hint in e.value.hint


def test_unpicklable_result(pool):
    def make():
        import threading

        class Thing:
            pass

        thing = Thing()
        thing.parts = {"lock": threading.Lock()}
        return thing

    with pytest.raises(pickle.PicklingError, match=r"the result\.parts\['lock'\], a _thread\.lock: cannot pickle") as e:
        pool.submit(make).result()
    assert "\nreturn what is in it that can be pickled" in str(e.value)
    with pytest.raises(pickle.PicklingError, match=r"the result, a generator: .*\nreturn list\(...\) of what"):
        pool.submit(lambda: (i for i in range(3))).result()

    async def later(x):
        return x

    async def parts():
        yield 1

    with pytest.raises(pickle.PicklingError, match=r"the result, a coroutine: .*\nthe function is async.*asyncio\.run"):
        pool.submit(later, 1).result()
    with pytest.raises(pickle.PicklingError, match=r"the result, an async_generator: .*\nreturn what it yields"):
        pool.submit(parts).result()
    with pytest.raises(dtpnode.Unpicklable, match=r"args\[0\], a coroutine: .*\nsend the function that makes it") as e:
        pool.submit(later, c := later(1))
    c.close()
    assert pool.submit(lambda: asyncio.run(later(1))).result() == 1


@pytest.mark.parametrize(
    "make, hint",
    [
        (lambda: (i for i in range(3)), "send list(...) of what it yields"),
        (lambda: open(os.devnull, "w"), "send the path of the file, and open it in the function itself"),
        (threading.Lock, "share no lock"),
        (sys._getframe, "make it where it is used"),
    ],
    ids=["generator", "file", "lock", "frame"],
)
def test_advice_on_what_cannot_be_sent(pool, make, hint):
    with pytest.raises(dtpnode.Unpicklable) as e:
        pool.submit(len, make())
    assert hint in e.value.hint


def test_result_whose_class_is_not_here(pool):
    def make():
        import sys
        import types

        module = sys.modules["only_there"] = types.ModuleType("only_there")
        module.__spec__ = None
        exec("class C: pass", module.__dict__)
        return module.C()

    with pytest.raises(dtpnode.RemoteError, match="No module named 'only_there'"):
        pool.submit(make).result()


def test_exception_that_cannot_be_unpickled(pool):
    def fail():
        raise Odd("salt", "pepper")

    with pytest.raises(dtpnode.RemoteError, match="salt and pepper") as e:
        pool.submit(fail).result()
    assert "could not be unpickled" in e.value.hint and e.value.hint.endswith(
        "have its class define __reduce__, or give all parameters of its __init__ defaults"
    )
    assert "in fail\n" in str(e.value.__cause__) and 'raise Odd("salt", "pepper")' in str(e.value.__cause__)


class Refuses(Exception):
    def __reduce__(self):
        raise RuntimeError("not for you")


def with_lock(error, *args):
    """Raises an exception with an attribute that has no pickle, and one that has."""
    e = error(*args)
    e.lock, e.run = threading.Lock(), 362_104
    raise e


def raises_odd():
    raise Odd("salt", "pepper")


def raises_refuses():
    raise Refuses("bad pt")


def every_way(client, pool, function, *args):
    """What a function raises as a call, as an item of remote_map, and of reduce, in which it ends the job, too."""
    (outcome,) = client.remote_map(lambda _: function(*args), [0], progress=False)
    reductions = [client.reduce(lambda _: function(*args), [0], output=None, fail_fast=fast) for fast in (False, True)]
    return [pool.submit(function, *args).exception(), outcome.error, *(r.exception() for r in reductions)]


def test_exception_with_an_attribute_that_has_no_pickle(client, pool):
    """It is caught by its class, and says what it has lost."""
    for e in every_way(client, pool, with_lock, ValueError, "bad pt"):
        assert type(e) is ValueError and e.args == ("bad pt",) and e.run == 362_104 and not hasattr(e, "lock")
        assert "the exception.lock, a _thread.lock: cannot pickle" in e.__notes__[0]


@pytest.mark.parametrize(
    "raises, words, why",
    [
        (raises_refuses, "Refuses: bad pt", "the exception, a test_bad_calls.Refuses: not for you; have"),
        (raises_odd, "Odd: salt and pepper", "have its class define __reduce__, or give all"),
    ],
    ids=["reduce", "init"],
)
def test_exception_that_has_no_pickle(client, pool, raises, words, why):
    """Its class and text are told, what in it is in the way, and what to do."""
    for e in every_way(client, pool, raises):
        assert type(e) is dtpnode.RemoteError and words in e.message and why in e.hint


def test_exception_that_was_given_what_has_no_pickle(client, pool):
    def fails():
        raise ValueError("bad pt", {"lock": threading.Lock()})

    for e in every_way(client, pool, fails):
        assert type(e) is dtpnode.RemoteError and e.message.startswith("ValueError: ('bad pt', {'lock': <unlocked")
        assert "the exception.args[1]['lock'], a _thread.lock: cannot pickle" in e.hint and "raise it without" in e.hint


def test_words_of_an_exception_with_a_note(client, pool):
    """Its text is not taken from the end of its traceback, which a note has."""
    def fails():
        e = Odd("salt\nand", "pepper")
        if hasattr(e, "add_note"):
            e.add_note("of run 7\n(see the log)")
        raise e

    for n, e in enumerate(every_way(client, pool, fails)):
        assert type(e) is dtpnode.RemoteError and "Odd: salt\nand and pepper" in e.message
        if n < 2 and hasattr(e, "add_note"):
            assert e.message.endswith("\nof run 7\n(see the log)")


def test_exception_as_it_was_raised(pool):
    with pytest.raises(ZeroDivisionError) as e:
        pool.submit(divmod, 1, 0).result()
    assert "in the call divmod(1, 0)" in str(e.value.__cause__)


@pytest.mark.parametrize(
    "error, hint",
    [(KeyboardInterrupt, "a Ctrl-C here reaches no call"), (SystemExit, "sys.exit ends no program"),
     (GeneratorExit, "raise an Exception in its place")],
)
def test_exception_that_is_none(pool, error, hint):
    def fails():
        raise error

    with pytest.raises(dtpnode.RemoteError, match=f"the call has raised {error.__name__}") as e:
        pool.submit(fails).result()
    assert hint in str(e.value)


def test_more_memory_than_there_is(pool):
    """numpy's own words reach the user, with the traceback."""

    def large():
        return np.zeros(10**16)

    with pytest.raises(MemoryError, match="Unable to allocate 71.1 PiB") as e:
        pool.submit(large).result()
    assert "in large\n" in str(e.value.__cause__)


class There:
    """It cannot be made from its pickle."""

    def __reduce__(self):
        return int, ("no number",)


def test_arguments_that_cannot_be_read_there(pool):
    with pytest.raises(ValueError, match="no number") as e:
        pool.submit(abs, There()).result()
    cause = str(e.value.__cause__)
    assert "in the call abs(<arguments that could not be unpickled there: ValueError>)" in cause
    assert sys.version_info < (3, 11) or "the arguments of the call could not be unpickled on " in cause


def test_arguments_of_the_process(pool):
    """A call finds no command line, where it would look for arguments of its own."""
    assert pool.submit(lambda: sys.argv).result() == [""]


def test_too_large(pool, monkeypatch):
    for module in (_pickles, _session):
        monkeypatch.setattr(module, "MAX_ITEM", 1000)
    first = pool.submit(pow, 2, 3)
    with pytest.raises(dtpnode.TooLarge, match=r"may have 1,000: most are those of its arguments"):
        pool.submit(len, bytes(1000))
    data = bytes(1000)
    with pytest.raises(dtpnode.TooLarge, match=r"of its function, with what it refers to"):
        pool.submit(lambda: len(data))
    with pytest.raises(dtpnode.TooLarge):
        pool.map(len, [b"", data])
    with pytest.raises(dtpnode.TooLarge, match="of its arguments 994"):  # with its function
        pool.submit(len, bytes(970))
    assert first.result() == 8
    assert pool.submit(len, bytes(900)).result() == 900


class Rest:
    """Has to be pickled after what is large, and must not be."""

    def __reduce__(self):
        raise AssertionError("more was pickled than a call may have")


@pytest.mark.parametrize(
    "large",
    [bytes, lambda n: "x" * n, bytearray, lambda n: np.zeros(n, np.uint8), lambda n: n * [1]],
    ids=["bytes", "str", "bytearray", "array", "list"],
)
def test_too_large_is_known_at_once(pool, large):
    """No more is pickled than it takes to know that it is too much, and no array is copied for that."""
    value = large(64 << 20)
    calls = lambda v: pool.submit(len, v), lambda v: pool.submit(len, [v, Rest()]), lambda v: pool.map(len, [v])
    for send in calls:
        with pytest.raises(dtpnode.TooLarge, match="more than 33,553,408 bytes as a pickle"):
            send(value)
    with pytest.raises(dtpnode.TooLarge, match="of its function, with what it refers to"):
        pool.submit(lambda: (value, Rest()))


def test_largest(pool):
    """What is just not too large is taken, also by the daemon."""
    most = _session.MAX_ITEM - 200
    assert pool.submit(len, bytes(most)).result() == most
    with pytest.raises(dtpnode.TooLarge):
        pool.submit(len, bytes(most + 200))


def test_endless_map(client, monkeypatch):
    monkeypatch.setattr(_executor, "AHEAD", 300)
    monkeypatch.setattr(_executor, "PART", 50)
    taken = itertools.count()
    with client.executor() as pool:
        results = pool.map(lambda x: x * x, taken)
        assert list(itertools.islice(results, 2000)) == [x * x for x in range(2000)]
        results.close()
    assert next(taken) <= 2000 + 300 + 50


def late(gate, more=()):
    """Ten numbers, and others when a gate opens."""
    yield from range(10)
    assert gate.wait(LIMIT), "it was waited for"
    yield from more


def test_slow_map(client):
    """What has come of a source that is slow runs, and its results are given, while the next item is waited for."""
    gate = threading.Event()
    with client.executor() as pool:
        results = pool.map(lambda x: x * x, late(gate, range(10, 300)))
        assert [next(results) for _ in range(10)] == [n * n for n in range(10)]
        with pytest.raises(TimeoutError):
            list(pool.map(abs, late(threading.Event()), timeout=1.0))
        gate.set()
        assert list(results) == [n * n for n in range(10, 300)]
        assert list(pool.map(abs, iter(()))) == []


def test_map_of_what_is_bound_to_its_thread(client):
    """What only the thread may read that has made it is named as such."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db, client.executor() as pool:
        db.execute("create table t (a)")
        db.execute("insert into t values (7)")
        with pytest.raises(sqlite3.ProgrammingError, match="thread") as e:
            list(pool.map(sum, db.execute("select a from t")))
        assert any("hand over list(...)" in note for note in e.value.__notes__)
        assert list(pool.map(sum, list(db.execute("select a from t")))) == [7]


def test_map_of_what_raises(client):
    """The exception of an iterable comes in the place of the item that it has in place of one."""
    gate = threading.Event()
    with client.executor() as pool:
        with pytest.raises(ZeroDivisionError):
            pool.map(abs, (1 // (3 - n) for n in range(10)))
        results = pool.map(abs, late(gate, (1 // (3 - n) for n in range(2, 10))))
        gate.set()
        assert [next(results) for _ in range(11)] == [*range(10), 1]
        with pytest.raises(ZeroDivisionError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        late_pickle = pool.map(id, itertools.chain(range(30_000), [threading.Lock()]))
        assert len(list(itertools.islice(late_pickle, 30_000))) == 30_000
        with pytest.raises(dtpnode.Unpicklable, match="args"):
            next(late_pickle)


def test_map_whose_results_nobody_takes(client, monkeypatch):
    """All items of a source run, as in the standard library, and results that nobody can take are let go."""
    monkeypatch.setattr(_executor, "FIRST", 100)
    read, gate, fd = itertools.count(), threading.Event(), os.pipe()
    with client.executor() as pool, open(fd[0], "rb") as reads, open(fd[1], "wb") as writes:
        path = f"/proc/{os.getpid()}/fd/{writes.fileno()}"
        pool.map(lambda _, path: open(path, "ab", buffering=0).write(b"x"), (next(read) for _ in range(500)),
                 itertools.repeat(path))
        pool.map(lambda n, path: open(path, "ab", buffering=0).write(b"y"), late(gate), itertools.repeat(path))
        threading.Timer(0.5, gate.set).start()
        pool.shutdown()
        writes.close()
        ran = reads.read()
    assert ran.count(b"x") == 500 and ran.count(b"y") == 10


def test_map_that_is_taken_after_shutdown(client, monkeypatch):
    """Results that nobody has begun to take at the end of the with block are all there behind it."""
    monkeypatch.setattr(_executor, "FIRST", 100)
    gate = threading.Event()
    with client.executor() as pool:
        results = pool.map(abs, late(gate, range(10, 500)))
        threading.Timer(0.5, gate.set).start()
    assert list(results) == list(range(500))
    pool = client.executor()
    results = pool.map(abs, late(gate, range(10, 500)))
    pool.shutdown(wait=False)
    assert list(results) == list(range(500))
    pool.shutdown()


def test_map_that_is_cancelled_by_shutdown(client):
    """Nothing more is read then, and whoever takes the results is told."""
    with client.executor() as pool:
        results = pool.map(abs, late(threading.Event()))
        pool.shutdown(cancel_futures=True)
    with pytest.raises((RuntimeError, CancelledError)):
        list(results)


def test_map_of_a_list_that_is_too_large_at_once(client, monkeypatch):
    """All of it runs, also where nobody takes the results."""
    monkeypatch.setattr(_executor, "AHEAD_BYTES", 1 << 20)
    data = [bytes(100_000 + i) for i in range(40)]
    with client.executor() as pool:
        results = pool.map(len, data)
    assert list(results) == [len(d) for d in data]


def test_dropped_map_that_raises_is_told(client, caplog):
    """Items that are never read are told of where nobody takes the results."""
    gate = threading.Event()
    with client.executor() as pool:
        pool.map(abs, late(gate, (1 // (3 - n) for n in range(2, 10))))
        gate.set()
    (told,) = caplog.records
    assert told.exc_info[0] is ZeroDivisionError and "not run" in told.getMessage()


def test_map_after_shutdown(client):
    """What a source gives after the executor was shut down is refused where its result would be, if results were taken
    before: it is read as they are, and may be without end."""
    gate = threading.Event()
    with client.executor() as pool:
        results = pool.map(abs, late(gate, [10]))
        assert next(results) == 0
    gate.set()
    assert [next(results) for _ in range(9)] == list(range(1, 10))
    with pytest.raises(RuntimeError, match="after shutdown"):
        next(results)


@pytest.mark.parametrize("most", [1, 7])
def test_buffersize(pool, most):
    """No more than so many calls are submitted whose results were not taken."""
    read = 0

    def items():
        nonlocal read
        for n in range(40):
            read = n + 1
            yield n

    results = pool.map(abs, items(), buffersize=most)
    for n, value in enumerate(results):
        assert value == n and read <= n + 1 + most
    assert n == 39
    assert list(pool.map(pow, range(20), range(20), buffersize=most)) == [n**n for n in range(20)]
    with pytest.raises(ValueError):
        pool.map(abs, [], buffersize=0)
    with pytest.raises(TypeError):
        pool.map(abs, [], buffersize="1")


def test_dropped_maps_read_no_more(client):
    """A source without end is read no more when nobody takes its results any more."""
    closed = threading.Event()

    def endless():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    with client.executor() as pool:
        assert next(pool.map(abs, endless())) == 0
        assert closed.wait(LIMIT)
        closed.clear()
        pool.map(abs, endless(), buffersize=7)
        assert closed.wait(LIMIT)
        closed.clear()
        pool.map(abs, endless())
        pool.shutdown(cancel_futures=True)
        assert closed.wait(LIMIT)


def test_map_that_is_kept_without_end(client, monkeypatch):
    """The end of the with block does not wait for what is without end where some results were taken."""
    monkeypatch.setattr(_executor, "FIRST", 100)
    with client.executor() as pool:
        results = pool.map(abs, itertools.count())
        assert next(results) == 0
    assert next(results) == 1


def test_large_map(client, monkeypatch):
    """Of arguments that are large in all, only some are held at a time, and all are run."""
    monkeypatch.setattr(_executor, "AHEAD_BYTES", 1 << 20)
    made = 0

    def arguments():
        nonlocal made
        for i in range(40):
            made += 1
            yield bytes(100_000 + i)

    with client.executor() as pool:
        results = pool.map(len, arguments())
        assert made <= 12
        assert list(results) == [100_000 + i for i in range(40)]


def forks():
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return os.getpid()


def threads():
    t = threading.Thread(target=lambda: None)
    t.start()
    t.join()
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return 1


def uses_multiprocessing(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])


def runs():
    return subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True, check=True).stdout


def moves():
    os.chdir("/")
    return os.getcwd()


def closes():
    os.closerange(3, 256)


def test_descriptors_are_closed(client, capfd):
    """A call that closes all descriptors, also those by which its process could say so, is named with the reason."""
    with client.executor() as pool, pytest.raises(dtpnode.ItemLost, match="it closed descriptors that its process"):
        pool.submit(os.closerange, 0, 1 << 16).result()
    assert "it closed descriptors" in capfd.readouterr().err


def keeps(n, _):
    """Has its frames, and with them its item, outlast the call."""
    try:
        raise ValueError(n)
    except ValueError as e:
        kept.append(e)
    return n


kept = []


def test_kept_frames(client):
    """Items whose bytes are still referred to are no matter for those that are appended later."""
    with client.executor(1, output=None) as pool:  # Each append has a file of its own, for items of some size.
        assert [pool.submit(keeps, n, bytes(4 << 10)).result() for n in range(5)] == list(range(5))


def spreads():
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(forks).result()


def test_multiprocessing_of_own_functions(client):
    """A call that gives functions of a script to processes of its own is told why these do not find them."""
    with client.executor(output=None) as pool:
        assert repr(pool) == f"<dtpnode.Executor {pool.name[:12]}>"
        with pytest.raises(pickle.PicklingError) as e:
            pool.submit(spreads).result()
    assert "have a module with them go along (modules=[…]" in str(e.value.__cause__)


def test_habits(client):
    with client.executor(output=None) as pool:
        first, *rest = [pool.submit(forks) for _ in range(10)]
        assert isinstance(first.result(), int) and all(isinstance(f.result(), int) for f in rest)
        assert pool.submit(threads).result() == 1
        assert pool.submit(uses_multiprocessing, "fork").result() == [1, 2, 3]
        assert pool.submit(uses_multiprocessing, "spawn").result() == [1, 2, 3]
        assert pool.submit(runs).result() == "1\n"
        assert pool.submit(moves).result() == "/"
        assert list(pool.map(abs, range(-100, 0))) == list(range(100, 0, -1))


def test_output_is_closed(client):
    """What a call does to its standard output is no matter for the next one."""
    def close():
        import sys

        sys.stdout.close()

    def divert():
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    told = []
    with client.executor(1, output=lambda node, text: told.append(text)) as pool:
        for spoil in close, divert:
            pool.submit(spoil).result()
            pool.submit(print, f"after {spoil.__name__}").result()
    assert "after close\n" in "".join(told) and "after divert\n" in "".join(told)


def test_working_folder_that_is_gone(client, tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with client.executor() as pool:
        assert pool.submit(abs, -1).result() == 1


def test_state_of_functions(client):
    """Each call has its function as it was sent."""
    class Counter:
        n = 0

        def count(self):
            self.n += 1
            return self.n

        __call__ = count

    counter = Counter()
    with client.executor(1) as pool:
        for fn in counter.count, counter, functools.partial(Counter.count, counter):
            assert [pool.submit(fn).result() for _ in range(3)] == [1, 1, 1]
        # One of C, of which the second call would find nothing, and be an IndexError.
        assert [pool.submit([7].pop).result() for _ in range(3)] == [7, 7, 7]
        with pytest.raises(TypeError) as e:
            pool.submit(counter.count, 1).result()
        assert "Counter.count(1)" in str(e.value.__cause__)


def test_state_of_functions_of_totals_and_maps(client):
    """As test_state_of_functions: what is added, and what comes as it is ready, depends on no other item either."""
    class Counter:
        n = 0

        def count(self, i, cache=None):
            self.n += 1
            return self.n

        __call__ = count

    counter, manager = Counter(), Manager(client)
    for fn in counter.count, counter, functools.partial(Counter.count, counter):
        assert client.reduce(fn, range(20)).result() == 20
        assert {outcome.value for outcome in client.remote_map(fn, range(20), progress=False)} == {1}
        assert set(manager.remote_map(fn, range(20), return_metadata=False, progress_bar=False)) == {1}


def test_deep_recursion(client):
    def deep(n):
        import sys

        sys.setrecursionlimit(10**6)
        return deep(n + 1) if n < 20_000 else 1 / 0

    with client.executor(output=None) as pool, pytest.raises(ZeroDivisionError) as e:
        pool.submit(deep, 0).result()
    assert len(str(e.value.__cause__).splitlines()) < 5_000


class Shy:
    def __repr__(self):
        raise OSError("not now")


def ends(*args, **kwargs):
    os._exit(3)


@pytest.mark.parametrize(
    "submit, call",
    [
        (lambda pool: pool.submit(ends, 3, x="a"), "ends(3, x='a')"),
        (lambda pool: pool.submit(ends, Shy(), [1]), "ends(<to show it raised OSError>, [1])"),
        (lambda pool: pool.submit(ends, "x" * 1000, 2), f"ends('{'x' * 79}…, 2)"),
        (lambda pool: pool.submit(ends, np.zeros((2, 2))), "ends(array([[0., 0.],        [0., 0.]]))"),
        (lambda pool: pool.submit(ends, bytes(2 << 20)), "ends(…)"),
        (lambda pool: pool.submit(functools.partial(ends, 1), 2), "functools.partial(<function ends at "),
        (lambda pool: [pool.submit(abs, -1), pool.submit(pow, 2, 3), pool.submit(ends, 7)][2], "ends(7)"),
    ],
    ids=["call", "no repr", "long", "array", "large", "partial", "among others"],
)
def test_lost_calls_are_shown(client, submit, call):
    """The error of a call that is lost has the call as it was written."""
    with client.executor(output=None) as pool:
        lost = submit(pool)
        with pytest.raises(dtpnode.ItemLost) as e:
            lost.result()
        text = str(e.value).partition(": ")[0]
        assert re.fullmatch(r"item [0-2], " + re.escape(call) + (r"[^\n]*" if call[-1] == " " else ""), text), text
        session = pool._session
    assert all(job.shown.find(0) is None for job in session._jobs)


def test_lost_in_a_map(client):
    """Of many calls that were sent together, and others that have long had results, the one is named that is lost."""
    with client.executor(output=None) as pool:
        assert sum(pool.map(abs, range(5_000))) == sum(range(5_000))
        results = pool.map(lambda n, x: n if n != 777 else os._exit(3), range(1_000), "x" * 1_000)
        assert [next(results) for _ in range(777)] == list(range(777))
        with pytest.raises(dtpnode.ItemLost, match=r"item 5,777, test_lost_in_a_map.<locals>.<lambda>\(777, 'x'\): "):
            next(results)


def test_closed_descriptors(client):
    """A call that closes what its process needs loses its own result alone."""
    with client.executor(output=None) as pool:
        lost = pool.submit(closes)
        others = list(pool.map(abs, range(-100, 0)))
        assert others == list(range(100, 0, -1))
        with pytest.raises(dtpnode.ItemLost):
            lost.result()


def test_prints(client):
    told = []
    with client.executor(output=lambda node, text: told.append((node, text))) as pool:
        pool.submit(print, "hello").result()
        pool.submit(print, "to stderr", file=None).result()
    assert {node for node, _ in told} == {"local-0"}
    assert "hello\n" in "".join(text for _, text in told)


def test_output_that_raises(client, caplog):
    """What takes printed lines and raises is told of once, and has the later lines; the session goes on."""
    told = []

    def output(_, text):
        told.append(text)
        if len(told) < 3:
            sys.exit("enough")

    with client.executor(1, output=output) as pool:
        for n in range(4):
            pool.submit(print, n).result()
            end = time.monotonic() + LIMIT
            while f"{n}\n" not in "".join(told):
                assert time.monotonic() < end, told
                time.sleep(0.01)
    assert [r.exc_info[0] for r in caplog.records] == [SystemExit]
    assert "output=" in caplog.text
    assert f"`dtpnode logs {pool.name[:12]}` has the last 256 KiB of each node" in caplog.text


def test_flood(client):
    """Of what is printed without measure, the last lines are told, and how many others there were; the call has its
    result."""

    def flood():
        line = "x" * 1023
        for _ in range(64 << 10):
            print(line)
        print("the end")
        return 1

    told = []
    with client.executor(output=lambda node, text: told.append(text)) as pool:
        assert pool.submit(flood).result() == 1
    assert told and told[-1].endswith("the end\n")
    lines = "".join(told).splitlines()
    marks = [line for line in lines if line.startswith("... ")]
    found = [re.match(r"\.\.\. ([\d,]+) lines? \([\d,]+ bytes\) of local-0 w\w+ dropped here", mark) for mark in marks]
    dropped = sum(int(m[1].replace(",", "")) for m in found)
    assert dropped > 0 and len(lines) - len(marks) + dropped == (64 << 10) + 1


def test_imports(client):
    """What is to be imported is there before the first call. What is missing is told before it, and troubles none."""
    with pytest.warns(dtpnode.NodeWarning) as told:
        pool = client.executor(imports=["no_such_module", "this_is.none", "decimal", "test_bad_calls.x"], output=None)
    assert [str(w.message).partition("has no ")[2].partition(", of the")[0] for w in told] == [
        "no_such_module, this_is.none, test_bad_calls.x"
    ]
    with pool:
        assert pool.submit(lambda: "decimal" in __import__("sys").modules).result() is True
    with client.executor(output=None) as pool:
        assert pool.submit(lambda: "decimal" in __import__("sys").modules).result() is False


@pytest.mark.parametrize("imports", ["numpy", [os], [None]])
def test_imports_are_names(client, imports):
    with pytest.raises(TypeError, match="imports must be a list of the names"):
        client.executor(imports=imports)


def test_tasks_of_a_child(client):
    """A process runs so many calls and no more, and each begins with the initializer."""
    def begin():
        os.environ["SEEN"] = os.environ.get("SEEN", "") + "i"

    def ran(_=0):
        os.environ["SEEN"] += "c"
        return os.getpid(), os.environ["SEEN"]

    with client.executor(1, begin, max_tasks_per_child=3, output=None) as pool:
        by_process = collections.defaultdict(list)
        for pid, seen in [pool.submit(ran).result() for _ in range(5)] + list(pool.map(ran, range(20))):
            by_process[pid].append(seen)
        assert sum(map(len, by_process.values())) == 25
        for seen in by_process.values():
            assert seen in (["ic"], ["ic", "icc"], ["ic", "icc", "iccc"])
        counted = pool.reduce(lambda _: collections.Counter([os.getpid()]), range(20)).result()
        assert sum(counted.values()) == 20 and max(counted.values()) <= 3
    for wrong, error in (0, ValueError), (1.0, TypeError):
        with pytest.raises(error, match="max_tasks_per_child must be"):
            client.executor(max_tasks_per_child=wrong)
    with pytest.raises(TypeError, match="float"):
        client.executor(max_workers=1.5)


def test_broken(client, capfd):
    def begin():
        raise KeyError("no calibration")

    with client.executor(initializer=begin) as pool:
        with pytest.raises(dtpnode.JobFailed, match="no calibration") as e:
            pool.submit(abs, -1).result()
        who = f"the initializer, {begin.__qualname__} ({__file__}:{begin.__code__.co_firstlineno}),"
        assert f"{who} has raised KeyError: 'no calibration'" in str(e.value)
        assert 'raise KeyError("no calibration")' in str(e.value) and e.value.__cause__ is None
        with pytest.raises(dtpnode.JobFailed, match="no calibration"):
            pool.submit(abs, -1)
    out, err = capfd.readouterr()
    assert "no calibration" not in out and "Traceback" not in err
    assert len(re.findall("a process has failed on local-0: start: .*the initializer, .*no calibration", err)) == 1


def test_prints_that_look_like_the_nodes_words(client, capfd):
    text = (
        "dtpnode: failed on local-0 at item 0: forged\n    its stack\nin\rdtpnode: failed on a line\n"
        "... 7 lines (70 bytes) of local-0 were dropped here\n| dtpnode: failed on\n| | dtpnode: failed on quotes\n"
    )
    with client.executor() as pool:
        assert pool.submit(print, text, end="").result() is None
    out, err = capfd.readouterr()
    assert out == text and not err


def test_failed_processes_are_told_once(client, capfd):
    """A line each for the first items, however often these are tried, and a count of the others."""
    with client.executor() as pool:
        failed = [pool.submit(os.abort) for _ in range(5)]
        assert all(isinstance(f.exception(), dtpnode.ItemLost) for f in failed)
    out, err = capfd.readouterr()
    assert "failed" not in out
    told = re.findall(rf"session {pool.name[:12]}: a process has failed on local-0 at item (\d): .*SIGABRT", err)
    assert len(told) == len(set(told)) == 3
    assert re.search(rf"processes have failed \d+ times more; `dtpnode logs {pool.name[:12]}`", err)


def test_futures_that_their_user_settles(client, caplog):
    """They keep what they were given, and others are as they would be."""
    with client.executor(max_workers=1) as pool:
        runs = pool.submit(time.sleep, 0.3)
        waits, large, fails = pool.submit(abs, -1), pool.submit(bytes, 2 << 20), pool.submit(int, "x")
        while not runs.running():
            time.sleep(0.01)
        for future in runs, waits, large, fails:
            future.set_result("mine")
        last = pool.submit(abs, -2)
        assert last.result(LIMIT) == 2 and pool.submit(abs, -3).result(LIMIT) == 3
        assert [f.result() for f in (runs, waits, fails)] == ["mine"] * 3
