"""Daemons are killed one after the other while calls run: each call's effect is in the results exactly once.

DTPNODE_CHAOS_TIME is how long that goes on, as "300s" or "5m", DTPNODE_CHAOS_NODES how many daemons there are, and
DTPNODE_CHAOS_SEED what the schedule is drawn from, which every run prints.
"""

import itertools
import os
import random
import re
import signal
import threading
import time
from collections import Counter

import dtpnode
from dtpnode import _cluster

def seconds(text):
    return sum(float(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in re.findall(r"([\d.]+)([hms])", text))


TIME = seconds(os.environ.get("DTPNODE_CHAOS_TIME", "16s"))
NODES = int(os.environ.get("DTPNODE_CHAOS_NODES", "4"))
SEED = int(os.environ.get("DTPNODE_CHAOS_SEED", "0")) or time.time_ns()
PERIOD = 2.0  # seconds from one kill to the next
AWAY = 3.0  # seconds for which a daemon that was killed stays away at most
LIMIT = 2000.0  # seconds after which what is waited for hangs
AHEAD = 200  # calls of submit that are not settled


class Storm(threading.Thread):
    """Kills a daemon every two seconds: any, or that which leads a job, or the one that the client talks to."""

    def __init__(self, cluster, jobs):
        super().__init__(name="storm")
        self._daemons = cluster._processes.daemons
        self._control = [cluster.client(i).control for i in range(len(self._daemons))]
        self._jobs = jobs  # names of the jobs that run
        self._random = random.Random(SEED)
        self._due = {}  # when a daemon that is out comes back
        self.over = threading.Event()
        self.killed = Counter()  # by what they were
        self.error = None

    def run(self):
        try:
            strike = time.monotonic() + PERIOD
            while not self.over.wait(0.05):
                self._come_back(time.monotonic())
                if time.monotonic() >= strike:
                    strike += PERIOD
                    self._strike()
            self._come_back(float("inf"))
        except BaseException as e:
            self.error = e

    def _strike(self):
        # What is drawn depends on nothing but the seed, and so does who is killed as far as it can.
        kind, any_one, away = self._random.random(), self._random.randrange(len(self._daemons)), self._random.random()
        victim, what = any_one, "any"
        if kind < 0.25:
            victim, what = 0, "the client's"
        elif kind < 0.5:
            home = self._home()
            if home is not None:
                victim, what = home, "a home"
        if victim in self._due:
            return
        daemon = self._daemons[victim]
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
        _cluster._shut(daemon.process)
        self.killed[what] += 1
        self._due[victim] = time.monotonic() + away * AWAY

    def _home(self):
        for i, control in enumerate(self._control):
            if i in self._due:
                continue
            try:
                return int(control.call("GET", f"/v1/jobs/{self._jobs()[-1]}")["home_name"].partition("-")[2])
            except (dtpnode.Error, ValueError, IndexError, OSError):
                pass
            except Exception as e:
                if type(e).__module__.partition(".")[0] != "httpx":
                    raise
        return None

    def _come_back(self, now):
        for i, due in list(self._due.items()):
            if due <= now:
                del self._due[i]
                self._daemons[i].launch()


def paced(n):
    """An item's effect: its number, and a token that no other run of it has."""
    import time
    import uuid

    time.sleep(0.02)
    return n, uuid.uuid4().hex


def counted(n):
    n, token = paced(n)
    from collections import Counter

    return Counter({n: 1}), {token}


def merged(a, b):
    a[0].update(b[0])
    a[1].update(b[1])
    return a


class Work(threading.Thread):
    """Runs rounds of something until the storm is over, and at least one."""

    def __init__(self, name, over, round_):
        super().__init__(name=name)
        self._over, self._round = over, round_
        self.rounds = self.items = 0
        self.error = None

    def run(self):
        try:
            while not self._over.is_set() or not self.items:
                self.items += self._round()
                self.rounds += 1
        except BaseException as e:
            self.error = e


def begun(begin):
    """Begins something when the daemon is there that the client talks to."""
    while True:
        try:
            return begin()
        except dtpnode.NoDaemon:
            time.sleep(0.1)


def check(pairs, numbers, tokens):
    """Each number is there once, with a token that was not there before."""
    assert [n for n, _ in pairs] == list(numbers)
    fresh = {t for _, t in pairs}
    assert len(fresh) == len(pairs) and tokens.isdisjoint(fresh)
    tokens |= fresh
    return len(pairs)


def test_chaos(cache):
    print(f"DTPNODE_CHAOS_SEED={SEED}")
    many = 40 * NODES  # items of a round: it takes a second or two where nothing is killed
    with dtpnode.LocalCluster(nodes=NODES, slots=1, args=["--cache", cache]) as cluster, cluster.client() as client:
        names = []
        with client.executor(output=None) as maps, client.executor(output=None) as submits:
            names += [maps.name, submits.name]
            storm = Storm(cluster, lambda: list(names))
            tokens = {"map": set(), "submit": set(), "reduce": set()}
            numbers = itertools.count()

            def run_map():
                first = next(numbers) * many
                wanted = range(first, first + many)
                return check(list(maps.map(paced, wanted, timeout=LIMIT)), wanted, tokens["map"])

            def run_submit():
                futures = []
                for n in range(many):
                    futures.append(submits.submit(paced, n))
                    if n >= AHEAD:
                        futures[n - AHEAD].result(LIMIT)
                return check([f.result(LIMIT) for f in futures], range(many), tokens["submit"])

            def run_reduce():
                future = begun(lambda: client.reduce(counted, range(many), op=merged, output=None))
                names.append(future.name)
                try:
                    have, fresh = future.result(LIMIT)
                except dtpnode.JobFailed as e:
                    # The daemon was killed before the job was on its disk, and says so: no append was acknowledged.
                    first = future._run._parts[0].unanswered
                    if "no other knows of the job" not in str(e) or not first or first[0][0] != 1:
                        raise
                    return 0
                assert have == Counter(range(many)) and len(fresh) == many and tokens["reduce"].isdisjoint(fresh)
                assert future.report.empty
                tokens["reduce"] |= fresh
                return many

            rounds = {"map": run_map, "submit": run_submit, "reduce": run_reduce}
            work = [Work(name, storm.over, f) for name, f in rounds.items()]
            for thread in (storm, *work):
                thread.start()
            told = time.monotonic()
            until = told + TIME
            while time.monotonic() < until and all(w.error is None for w in work) and storm.error is None:
                time.sleep(0.1)
                if time.monotonic() > told + 10:
                    told = time.monotonic()
                    print(f"after {TIME + told - until:.0f} s: {dict(storm.killed)}, {[w.items for w in work]}")
            storm.over.set()
            for thread in (storm, *work):
                thread.join(2 * LIMIT)
            for w in work:
                print(f"{w.name}: {w.rounds} rounds, {w.items} items")
            print(f"killed: {dict(storm.killed)}")
            for thread in (storm, *work):
                if thread.error is not None:
                    raise AssertionError(f"{thread.name} failed") from thread.error
            assert sum(storm.killed.values()) >= TIME / PERIOD / 2
            assert all(w.items for w in work)
