"""Reductions: totals that are added on the nodes, what is missing in them, and who gets them."""

import array
import collections
import functools
import itertools
import operator
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, as_completed

import numpy
import pytest

import dtpnode
from dtpnode import _reduction

LIMIT = 900.0  # seconds after which what is waited for hangs


def until(so, what):
    """Waits until something is so."""
    end = time.monotonic() + LIMIT
    while not so():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def waiting(gate, last):
    """A function of items, of which those behind the last wait until there is a file."""

    def wait(n):
        import os
        import time

        while n > last and not os.path.exists(gate):
            time.sleep(0.01)
        return 1

    return wait


def test_totals(client):
    """What functools.reduce would give of map, on one item, many, and a generator of unknown length."""
    reduce = client.reduce
    totals = [
        reduce(lambda a, b: a * b, range(100), iter(range(200))),
        reduce(str, [7]),
        reduce(lambda n: {n}, (n for n in range(30_000)), op=operator.or_),
        reduce(lambda n: [n], range(100), op=operator.iadd, initial=["first"]),
        reduce(len, [], initial="none"),
        reduce(len, []),
    ]
    assert {f for f in as_completed(totals, LIMIT)} == set(totals)
    assert totals[0].result() == sum(n * n for n in range(100))
    assert totals[1].result() == "7"
    assert totals[2].result() == set(range(30_000))
    values = totals[3].result()
    assert values[0] == "first" and sorted(values[1:]) == list(range(100))
    assert totals[4].result() == "none"
    with pytest.raises(TypeError, match="no initial value"):
        totals[5].result()
    assert all(f.report.empty for f in totals[:4])
    assert totals[2].progress == (30_000, 30_000)


def test_arguments(client):
    with pytest.raises(TypeError, match="iterable"):
        client.reduce(len)
    with pytest.raises(TypeError, match="not iterable"):
        client.reduce(len, 7)
    with pytest.raises(TypeError, match="op"):
        client.reduce(len, [], op=7)
    with pytest.raises(dtpnode.Unpicklable, match="op.*a _thread.lock"):
        client.reduce(len, [""], op=lambda a, b, lock=threading.Lock(): a)


def uneven(n):
    if n % 10 == 3:
        raise ValueError(n)
    if n == 25:
        os.abort()
    return n


@pytest.mark.parametrize("partial", [False, True])
def test_missing(client, partial, monkeypatch, capfd):
    """Items that raise and one that crashes: the rest has a total, and each of them is named with its reason."""
    f = client.reduce(uneven, range(100), partial=partial)
    total = sum(n for n in range(100) if n % 10 != 3 and n != 25)
    if partial:
        assert f.result(LIMIT) == total
    else:
        with pytest.raises(ValueError, match="^3$") as e:
            f.result(LIMIT)
        assert "uneven(3)" in str(e.value.__cause__) and "raise ValueError(n)" in str(e.value.__cause__)
    assert f.total == total
    rows = f.report.to_dict("records")
    assert [(r["first"], r["last"], r["kind"]) for r in rows] == sorted(
        [(n, n + 1, "raised") for n in range(3, 100, 10)] + [(25, 26, "lost")]
    )
    assert rows[2]["reason"] == "ValueError: 23" and "SIGABRT" in rows[3]["reason"]
    f.join()
    out, err = capfd.readouterr()
    assert out == "" and "Traceback" not in err
    assert re.findall(r"item (\d+) has raised ValueError: \1\n", err) == ["3", "13", "23"] and "and 8 items more" in err
    again = client.reduction(f.name)  # as another process would
    if partial:
        assert again.result(LIMIT) == total
    assert again.total == total and again.report.to_dict("records") == rows == again.missing
    with monkeypatch.context() as m:
        m.setitem(sys.modules, "pandas", None)
        with pytest.raises(dtpnode.Error, match="(?s)there is no pandas here.*dtpnode\\[results\\].*\\.missing has them"):
            again.report
        assert again.missing == rows
    if not partial:
        with pytest.raises(ValueError, match="^3$"):
            again.result()


def test_all_missing(client):
    f = client.reduce(lambda n: 1 // 0, range(50), partial=True, output=None)
    with pytest.raises(ZeroDivisionError):
        f.result(LIMIT)
    with pytest.raises(dtpnode.Error, match="no item has a value"):
        f.total
    assert f.report[["first", "last"]].values.tolist() == [[0, 50]]


def ends(a, b):
    os._exit(3)


def crashes(a, b):
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize("items", [2, 1_000], ids=["in the last merge", "as items run"])
@pytest.mark.parametrize("op, how", [(ends, "exit status 3"), (crashes, "SIGSEGV")])
def test_operator_ends_its_process(client, op, how, items, capfd):
    """It is told after three tries, or the last merge, which operator that is, and not after each item by itself."""
    f = client.reduce(int, range(items), op=op, partial=True)
    with pytest.raises(dtpnode.JobFailed) as e:
        f.result(LIMIT)
    text = str(e.value)
    assert f"op, {op.__name__} ({__file__}:{op.__code__.co_firstlineno}), ended its process: " in text and how in text
    assert "try it, as op(fn(a), fn(b))" in text and "dtpnode finish" not in text and "Terminate" not in text
    if items > 2:
        assert re.search(r"the value that was being added is that of item \d+", text)
    status = client.control.call("GET", f"/v1/jobs/{f.name}")
    assert sum(node["failures"] for node in status["nodes"]) <= 3


def test_operator_raises(client):
    """Its exception, as that of a call, ends the reduction, whatever else there would be to run."""
    def add(a, b):
        raise KeyError("never")

    def endless():
        for n in itertools.count():
            yield n

    f = client.reduce(int, endless(), op=add, partial=True)
    with pytest.raises(KeyError, match="never") as e:
        f.result(LIMIT)
    cause = str(e.value.__cause__)
    assert re.search(r"when the value of the item (\d+) was added, int\(\1\)", cause)
    assert 'raise KeyError("never")' in cause and "_sums" not in cause and "workers.py" not in cause
    with pytest.raises(dtpnode.Error, match="failed as a whole"):
        f.total


def test_operator_raises_late(client):
    """So does one that has added well before, by one try."""
    def add(a, b):
        if 700 in (a, b):
            raise Odd("seven", "hundred")
        return max(a, b, -1) if max(a, b) < 600 else min(a, b)

    f = client.reduce(int, itertools.count(), op=add)
    with pytest.raises(dtpnode.RemoteError, match="seven and hundred"):
        f.result(LIMIT)
    assert client.job(f.name).wait(LIMIT)["state"] == "failed"


class Odd(Exception):
    """It has a pickle, from which it cannot be made."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def test_fail_fast(client):
    """The first item that raises, or ends its process, ends it, whatever else there would be to run."""
    def work(n):
        if n == 300:
            raise ZeroDivisionError("three hundred")
        return n

    f = client.reduce(work, itertools.count(), fail_fast=True, partial=True)
    with pytest.raises(ZeroDivisionError, match="three hundred") as e:
        f.result(LIMIT)
    cause = str(e.value.__cause__)
    assert "work(300)" in cause and 'raise ZeroDivisionError("three hundred")' in cause and "_sums" not in cause
    assert client.job(f.name).wait(LIMIT)["state"] == "failed"
    again = client.reduction(f.name)
    for end in f, again:
        before, at, after = end.missing
        assert (before["first"], before["last"], before["kind"]) == (0, 300, "undone")
        assert (at["first"], at["last"], at["kind"]) == (300, 301, "raised")
        assert at["reason"] == "ZeroDivisionError: three hundred" and "no total" in after["reason"]
        assert after["first"] == 301 and after["last"] == end.progress[1]
    lost = client.reduce(lambda n: n if n != 7 else os._exit(3), itertools.count(), fail_fast=True)
    with pytest.raises(dtpnode.ItemLost, match="item 7: .*exit status 3"):
        lost.result(LIMIT)
    assert [(m["first"], m["kind"]) for m in lost.missing] == [(0, "undone"), (7, "lost"), (8, "undone")]
    stopped = client.reduce(lambda n: time.sleep(0.01) or n, itertools.count(), fail_fast=True)
    until(lambda: stopped.progress[0] > 0, "none has run")
    stopped.stop()
    assert stopped.total > 0 and stopped.counted > 1


def test_operator_returns_nothing(client):
    with pytest.raises(TypeError, match="op, list.extend, returned None for two values, of list and list: op must"):
        client.reduce(lambda n: [n], range(100), op=list.extend).result(LIMIT)
    assert client.reduce(lambda n: None, range(100), op=lambda a, b: None).result(LIMIT) is None


def test_no_pickle(client):
    """Totals that cannot be sent, from a process and to this one; items that cannot, or that an iterable raises."""
    def make(n):
        import threading

        return [n, threading.Lock()]

    with pytest.raises(dtpnode.JobFailed, match=r"could not send the sum: the total\[1\], a _thread\.lock"):
        client.reduce(make, range(3), op=lambda a, b: a, output=None).result(LIMIT)
    with pytest.raises(dtpnode.Unpicklable, match=r"args\[0\], a _thread\.lock"):
        client.reduce(id, [1, 2, threading.Lock()]).result(LIMIT)
    with pytest.raises(dtpnode.TooLarge, match="the item 1 "):
        client.reduce(len, [b"", bytes(33 << 20)]).result(LIMIT)
    with pytest.raises(ZeroDivisionError):
        client.reduce(int, (1 // (3 - n) for n in range(9))).result(LIMIT)


def test_class_is_not_there(client):
    """A total whose class only the processes of items have: its name and module are told, and how it gets there."""
    def make(n):
        import sys
        import types

        if "only_there" not in sys.modules:
            module = sys.modules["only_there"] = types.ModuleType("only_there")
            module.__spec__ = None
            exec("class C:\n    n = 1", module.__dict__)
        return sys.modules["only_there"].C()

    f = client.reduce(make, range(50), op=lambda a, b: a, output=None)
    with pytest.raises(dtpnode.JobFailed) as e:
        f.result(LIMIT)
    text = str(e.value)
    assert "C of the module only_there cannot be imported where sums are merged: ModuleNotFoundError: No module" in text
    assert "modules=['only_there']" in text
    assert f"if that node has the module meanwhile, `dtpnode finish {f.name[:8]}` makes the total" in text


def test_cancelled_and_stopped(client, tmp_path):
    gate = str(tmp_path / "gate")
    wait = waiting(gate, 50)
    f = client.reduce(wait, range(100))
    assert f.running() and f.cancel() and f.cancel() and f.done() and not f.running()
    with pytest.raises(CancelledError):
        f.result()
    assert client.job(f.name).wait(LIMIT)["state"] == "cancelled"
    with client.executor() as pool:
        f = pool.reduce(wait, range(1_000))
        until(lambda: f.progress[0] > 0, "some have run")
        f.stop()
        open(gate, "w").close()
        with pytest.raises(dtpnode.Error, match="it was stopped"):
            f.result(LIMIT)
    undone = f.report
    assert set(undone.kind) == {"undone"} and set(undone.reason) == {"stopped by the user"}
    assert (undone["last"] - undone["first"]).sum() == 1_000 - f.total


def test_stopped_while_items_are_sent(client):
    """The append that is on its way when a reduction is stopped takes nothing from what is done."""
    f = client.reduce(lambda n: 1, itertools.count())
    until(lambda: f.progress[0] > 0, "some have run")
    f.stop()
    with pytest.raises(dtpnode.Error, match="it was stopped"):
        f.result(LIMIT)
    assert f.total > 0
    assert sum(m["last"] - m["first"] for m in f.missing) == f.progress[1] - f.total, "each that was sent is told of"


def test_stopped_where_jobs_have_ended(client, monkeypatch, tmp_path):
    """Of several jobs those are stopped that have not ended. Where all items have run nothing is stopped."""
    monkeypatch.setattr(_reduction, "MAX_APPENDS", 2)
    monkeypatch.setattr(_reduction, "MAX_CALLS", 10)
    gate = str(tmp_path / "gate")
    wait = waiting(gate, 45)
    f = client.reduce(wait, range(100))
    until(lambda: len(f._run._parts) > 1 and f._run._look()[0]["state"] == "done", "the first job is done")
    f.stop()
    open(gate, "w").close()
    with pytest.raises(dtpnode.Error, match="it was stopped"):
        f.result(LIMIT)
    assert f.total > 0 and sum(m["last"] - m["first"] for m in f.missing) == f.progress[1] - f.total
    f = client.reduce(wait, range(30))
    assert f.result(LIMIT) == 30
    f.stop()
    assert f.result() == f.total == 30 and not f.missing
    settle = _reduction._Run.settle
    monkeypatch.setattr(_reduction._Run, "settle", lambda run: settle(run) or run.stop())  # when all have run
    assert client.reduce(wait, range(30)).result(LIMIT) == 30


def test_exit_is_no_end(client):
    """An item that calls sys.exit ends neither the others nor the program that waits for it."""
    def leave(n):
        import sys

        return n if n != 3 else sys.exit(0)

    with pytest.raises(dtpnode.RemoteError, match="SystemExit: 0"):
        client.reduce(leave, range(5), output=None).result(LIMIT)
    found = sorted(client.remote_map(leave, range(5)), key=lambda o: o.index)
    assert [o.value for o in found] == [0, 1, 2, None, 4] and isinstance(found[3].error, dtpnode.RemoteError)
    with client.executor(output=None) as pool, pytest.raises(dtpnode.RemoteError, match="SystemExit: 0"):
        pool.submit(leave, 3).result(LIMIT)


def test_items_that_are_lost_before_that_is_told():
    """The end of a job may be known sooner than which items it has given up."""
    status = {"state": "failed", "units": 1, "committed": 0, "id": "1" * 32}
    given_up = "given up, since no entry could be processed:  entry 0: stall"
    assert type(_reduction.why_none({**status, "error": given_up}, [])) is dtpnode.ItemLost
    assert type(_reduction.why_none({**status, "error": "op, sum, failed"}, [])) is dtpnode.JobFailed


def test_initial_is_added_once(client):
    """An op that changes its first argument finds initial as it was given, however often the total is looked at."""
    mine = [0]
    f = client.reduce(lambda n: [n], range(1, 4), op=operator.iadd, initial=mine)
    assert sorted(f.result(LIMIT)) == sorted(f.total) == [0, 1, 2, 3]
    assert len(f.total) == len(f.result()) == 4 and mine == [0]


def test_several_jobs(client, monkeypatch):
    """Items that are too many for one job."""
    monkeypatch.setattr(_reduction, "MAX_APPENDS", 2)
    monkeypatch.setattr(_reduction, "MAX_CALLS", 50)
    f = client.reduce(lambda n: n, range(500), initial=1)
    assert f.result(LIMIT) == sum(range(500)) + 1
    assert client.reduction(f.name).result(LIMIT) == sum(range(500)) + 1
    jobs = [j for j in client.control.call("GET", "/v1/jobs") if f.name in j["title"]]
    assert len(jobs) >= 4  # more where items are read more slowly than they are sent


def test_executor(client):
    """A reduction has the initializer of its executor, which waits for it."""
    def start(value):
        import builtins

        builtins.dtpnode_test_value = value

    with client.executor(initializer=start, initargs=(7,), output=None) as pool:
        f = pool.reduce(lambda n: dtpnode_test_value, range(10), name="sevens")  # noqa: F821
        job = client.control.call("GET", f"/v1/jobs/{f.name}")
        assert job["title"] == "sevens (reduce)"
    assert f.done() and f.result() == 70
    with pytest.raises(dtpnode.Error, match="client.reduction"):
        client.attach(f.name)
    partial = client.reduce(int, range(3), partial=True)
    with pytest.raises(dtpnode.Error, match="client.reduction"):
        client.attach(partial.name)
    with pytest.raises(dtpnode.Error, match="no reduction"):
        client.reduction(pool.name)
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.reduce(len, [""])


SCRIPT = """
import sys, dtpnode
client = dtpnode.Client(sys.argv[1])
print(client.reduce(lambda n: n, (n for n in range(50_000))).name)
"""


def test_interpreter_ends(client, cluster):
    """A process that ends sends all items first, and leaves its reduction to others."""
    command = [sys.executable, "-c", SCRIPT, str(cluster.states[0])]
    name = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT).stdout.strip()
    assert client.reduction(name[:8]).result(LIMIT) == sum(range(50_000))


OWNED = """
import sys, time, dtpnode
client = dtpnode.LocalCluster(nodes=1, slots=1, args=["--cache", sys.argv[1]]).client()
total = client.reduce(lambda n: time.sleep(0.5) or n, range(4))
total.add_done_callback(lambda f: print(f.result()))
"""


def test_interpreter_ends_with_its_daemon(cache):
    """A reduction that nobody waits for is waited for where the daemon ends with the program."""
    done = subprocess.run([sys.executable, "-c", OWNED, cache], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("6\n", "")


def test_arrays(client):
    """A merge has the total and one value beside it in memory, and no copy of either."""
    def fill(n):
        import numpy

        a = numpy.zeros(8 << 20)
        a[n] = 1
        return a, 0

    def add(a, b):
        import resource

        a[0][:] += b[0]
        return a[0], max(a[1], b[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)

    total, peak = client.reduce(fill, range(6), op=add, imports=["numpy"]).result(LIMIT)
    assert total.sum() == 6 and (total[:6] == 1).all()
    assert peak < 3.5 * total.nbytes, peak


def test_objects_that_items_use_again(pool):
    """What fn returns may be an object that it changes for the next item, and op may change its first argument."""
    buffer, template = [0], {"n": 0}

    def same(i):
        buffer[0] = i
        return buffer

    def often_empty(i):
        return template if i % 2 == 0 else {"n": 1}

    def merged(a, b):
        a["n"] += b["n"]
        return a

    assert pool.reduce(same, range(100), op=lambda a, b: [a[0] + b[0]]).result() == [4950]
    assert pool.reduce(same, range(100), op=lambda a, b: max(a, b)).result() == [99]
    assert pool.reduce(often_empty, range(100), op=merged).result() == {"n": 50}


@pytest.mark.parametrize(
    "kind", [list, collections.deque, bytearray, numpy.array, functools.partial(array.array, "q")]
)
def test_items_that_are_changed_meanwhile(client, kind, monkeypatch):
    """Items are those that there were as reduce was called, though another thread reads them."""
    ready, read = threading.Event(), _reduction._Run.read
    monkeypatch.setattr(_reduction._Run, "read", lambda run, items: ready.wait(LIMIT) and read(run, items))
    items = kind(range(100))
    total = client.reduce(int, items)
    for i in range(100):
        items[i] = 0
    ready.set()
    assert total.result() == sum(range(100))


def test_items_larger_than_a_batch(pool):
    items = [bytes(9 << 20), bytes(9 << 20), b"", bytes(1 << 20), bytes(20 << 20)]
    assert pool.reduce(len, items).result() == sum(map(len, items))
    assert pool.reduce(len, items[:1]).result() == len(items[0])


def test_load_of_a_reduction(client, tmp_path):
    """What `dtpnode get` writes of a reduction is read as its total, and what is missing is told."""
    total = client.reduce(lambda i: 1 / i, range(5), initial=10, partial=True)
    assert total.result() == pytest.approx(10 + 1 + 1 / 2 + 1 / 3 + 1 / 4)
    path = tmp_path / "total"
    with open(path, "wb") as f:
        for block in client.control.download(f"/v1/jobs/{total.name}/result"):
            f.write(block)
    with pytest.raises(ZeroDivisionError):
        dtpnode.load(path)
    assert dtpnode.load(path, partial=True) == total.result()
