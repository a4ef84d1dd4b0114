"""What an initializer sets is there for calls, as in a process that has imported their module."""

import functools
import os

import own_module
import pytest

scale = 1.0
kept = {"sent": True}
same = {"a": 1}


class Config:
    place = None
    known: list[str] = []

    @classmethod
    def set(cls, place):
        cls.place = place


class Context:
    calls = 0

    def scaled(self, x):
        return x * scale, Config.place


context = Context()


def set_up(s):
    global scale, connection
    scale = s
    connection = open("/dev/null")  # which nobody could send
    kept["set"] = same["a"]
    helper()
    context.calls = 7


def helper():
    Config.set("there")
    Config.known.append("x")
    own_module.configure("set")


def all_of_it(x):
    found = own_module.X, own_module.get(), context.calls
    return x * scale, connection.readline(), kept, Config.place, Config.known, *found


def apply(f, x):
    return f(x)


SEEN = 20.0, "", {"sent": True, "set": 1}, "there", ["x"], "set", "set", 7


@pytest.mark.parametrize("initializer", [set_up, functools.partial(apply, set_up), lambda s: set_up(s)])
def test_what_an_initializer_sets(client, initializer):
    with client.executor(initializer=initializer, initargs=(10.0,), max_tasks_per_child=4) as pool:
        assert pool.submit(all_of_it, 2).result() == SEEN
        assert list(pool.map(all_of_it, [2.0] * 6)) == [SEEN] * 6
        assert pool.submit(apply, all_of_it, 2).result() == SEEN
        assert pool.submit(Context().scaled, 3).result() == (30.0, "there")
        assert pool.submit(own_module.get).result() == "set"
        assert pool.submit(lambda: Config).result() is Config and Config.place is None
        assert pool.submit(lambda: lambda x: x * scale).result()(3) == 30.0
        assert pool.reduce(lambda x: all_of_it(x)[0], [1, 2]).result() == 30.0


@pytest.mark.parametrize("initializer", [own_module.configure, lambda x: setattr(own_module, "X", x)])
def test_what_an_initializer_sets_is_there_for_reductions(client, initializer):
    """Also in a module, which is there twice: its functions have another copy of its globals than it has itself."""
    with client.executor(initializer=initializer, initargs=("set",)) as pool:
        found = pool.reduce(lambda x: [own_module.X, own_module.get()], [1, 2])
        assert found.result() == ["set"] * 4
        assert pool.submit(lambda: (own_module.X, own_module.get())).result() == ("set", "set")


@pytest.mark.parametrize("opens", [False, True])
def test_object_that_an_initializer_prepares_for_reductions(client, opens):
    """Each item finds it as the initializer has left it, also where that is nothing which could be copied."""
    class Analysis:
        def begin(self):
            self.weight, self.seen = 3, []
            self.file = open(os.devnull) if opens else None

        def process(self, n):
            self.seen.append(n)
            return self.weight if opens else self.weight * len(self.seen)

    analysis = Analysis()
    assert client.reduce(analysis.process, range(10), initializer=analysis.begin).result() == 30


def test_what_an_initializer_leaves_alone(client):
    """What it has only read is as it was sent, also where that was changed in this process meanwhile."""
    seen = [0]

    def begin():
        seen.append(same["a"])

    with client.executor(initializer=begin) as pool:
        assert pool.submit(lambda: same["a"]).result() == 1
        same["a"] = 2
        try:
            assert pool.submit(lambda: same["a"]).result() == 2
        finally:
            same["a"] = 1
