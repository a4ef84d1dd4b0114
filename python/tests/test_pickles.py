"""Pickles of functions are kept, and are as if they were not."""

import abc
import dataclasses
import enum
import fnmatch
import functools
import json
import os
import pickle
import pkgutil
import sys
import types
import typing

import cloudpickle.cloudpickle as by_value
import numpy
import own_module
import pytest

from dtpnode import _calls, _modules, _pickles, _unpickle

NUMBER = 1
LIST = [1]


def scaled(x):
    return x * NUMBER


def listed(x):
    return LIST + [x]


def plain(x: int, y: int = 2, *, z: int = 3) -> int:
    return x + y + z


def _set(fn, **values):
    for name, value in values.items():
        setattr(fn, name, value)


def called(fn, *args):
    """What comes of a call that goes through a pickle."""
    return pickle.loads(_pickles.function(fn))(*args)


def test_kept(monkeypatch):
    """The pickle of a function that refers to nothing is made once, unless a session of this process sends modules as
    files, as other tests do."""
    monkeypatch.setattr(_modules, "_as_files", set())
    assert _pickles.function(plain) is _pickles.function(plain)
    assert called(plain, 1) == 6


@pytest.mark.parametrize(
    "change, result",
    [
        (lambda fn: _set(fn, __defaults__=(20,)), 24),
        (lambda fn: _set(fn, __kwdefaults__={"z": 30}), 33),
        (lambda fn: _set(fn, __code__=(lambda x, y=0, *, z=0: x - y - z).__code__), -4),
    ],
)
def test_changed_functions(change, result):
    fn = types.FunctionType(plain.__code__, globals(), "plain", plain.__defaults__)
    fn.__kwdefaults__ = dict(plain.__kwdefaults__)
    assert called(fn, 1) == 6
    change(fn)
    assert called(fn, 1) == result


def test_changed_globals(monkeypatch):
    assert called(scaled, 2) == 2
    monkeypatch.setitem(globals(), "NUMBER", 10)
    assert called(scaled, 2) == 20
    monkeypatch.setitem(globals(), "NUMBER", True)
    assert called(scaled, 2) == 2
    monkeypatch.delitem(globals(), "NUMBER")
    with pytest.raises(NameError):
        called(scaled, 2)
    assert called(listed, 2) == [1, 2]
    LIST.append(5)
    try:
        assert called(listed, 2) == [1, 5, 2]
    finally:
        LIST.remove(5)


def test_changed_signs_and_modules(monkeypatch):
    """Zeros of both signs are equal, and a module that was loaded by its path may be changed in place."""
    monkeypatch.setitem(globals(), "NUMBER", 0.0)
    assert str(called(scaled, 2)) == "0.0"
    monkeypatch.setitem(globals(), "NUMBER", -0.0)
    assert str(called(scaled, 2)) == "-0.0"
    settings = types.ModuleType("settings_by_path")
    settings.cut = 20

    def cut():
        return settings.cut

    assert called(cut) == 20
    settings.cut = 30
    assert called(cut) == 30


def test_changed_cells():
    n, some = 1, []

    def number(x):
        return x + n

    def append(x):
        return [*some, x]

    assert called(number, 1) == 2
    n = 5
    assert called(number, 1) == 6
    assert called(append, 1) == [1]
    some.append(0)
    assert called(append, 1) == [0, 1]


def test_attributes():
    def counts():
        return counts.n

    counts.n = [1]
    assert called(counts) == [1]
    counts.n.append(2)
    assert called(counts) == [1, 2]
    assert pickle.loads(_pickles.function(counts)).n == [1, 2]


def test_functions_go():
    """Who has submitted a function keeps nothing of it."""
    before = len(_pickles._kept)
    for i in range(10):
        called(eval(f"lambda x: x + {i}"), 1)
    assert len(_pickles._kept) == before


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("n", [8_000, 9_000, 3_000_000])
def test_arrays(pool, n, order):
    array = numpy.arange(float(n)).reshape((-1, 4), order=order)
    assert pool.submit(numpy.sum, array).result() == array.sum()
    assert pool.submit(lambda: array.sum()).result() == array.sum()


@functools.cache
def fib(n):
    """Calls itself by its name, which is that of what has the cache."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)


class Shape:
    def __init__(self, side):
        self.side = side

    @functools.lru_cache(maxsize=3)
    def area(self):
        return self.side**2

    @functools.cached_property
    def edge(self):
        return 4 * self.side

    @functools.singledispatchmethod
    def scaled(self, by):
        return by

    @scaled.register
    def _(self, by: int):
        return self.side * by


class Slots:
    __slots__ = ("a", "__hidden", "__weakref__")
    kind = "slots"

    def __init__(self, a):
        self.a, self.__hidden = a, -a

    def both(self):
        return self.a, self.__hidden


class More(Slots):
    """Its objects have attributes, too."""

    __slots__ = "b"

    def both(self):
        return *super().both(), self.b


@dataclasses.dataclass(slots=True)
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list)


def test_slots(pool):
    """Objects of classes with __slots__ go there and come back."""
    def made(cls, *args):
        thing = cls(*args)
        return thing, hasattr(thing, "__dict__")

    thing, loose = pool.submit(made, Slots, 1).result()
    assert type(thing) is Slots and thing.both() == (1, -1) and not loose and Slots.kind == "slots"
    assert pool.submit(thing.both).result() == (1, -1)
    more = More(2)
    more.b = 3
    assert pool.submit(more.both).result() == (2, -2, 3)
    assert pool.submit(lambda m: m, more).result().both() == (2, -2, 3)
    assert pool.submit(made, Point, 1).result() == (Point(1), False)
    assert pool.submit(lambda p: p.y.append(p.x) or p, Point(4)).result() == Point(4, [4])

    class Local:
        __slots__ = {"a": "its documentation"}

    local = pool.submit(lambda: Local()).result()
    local.a = 1
    assert type(local) is Local and Local.__slots__ == {"a": "its documentation"}


@dataclasses.dataclass(frozen=True)
class Refused(Exception):
    code: int
    words: str = "no"


@dataclasses.dataclass
class Named(Exception):
    code: int


@dataclasses.dataclass(frozen=True, slots=True)
class Small(Exception):
    code: int


@pytest.mark.parametrize("error", [Refused(3), Refused(code=4, words="never"), Named(code=5), Small(6)], ids=repr)
def test_exceptions_that_are_dataclasses(pool, client, error):
    """They come back as they were raised, also those whose attributes nobody may set."""
    def fail(n):
        raise error

    for get in (
        lambda: pool.submit(fail, 1).result(),
        lambda: list(pool.map(fail, [1])),
        lambda: client.reduce(fail, [1], output=None).result(),
        lambda: next(client.remote_map(fail, [1], progress=False)).result(),
    ):
        with pytest.raises(type(error)) as e:
            get()
        assert e.value == error and dataclasses.astuple(e.value) == dataclasses.astuple(error)
        assert "raise error" in str(e.value.__cause__)


@functools.singledispatch
def kind(x):
    return "object"


@kind.register
def _(x: int):
    return "int"


@kind.register(list)
def _(x):
    return [kind(e) for e in x]


def test_caches(pool):
    """What functools.lru_cache has made goes along with its bounds and attributes, and without what it has kept, which
    the calls of a process share; so do those of methods, also in what comes back."""
    fib(20)
    fib.note = ["a"]
    there = pool.submit(lambda: (fib(50), fib.note, fib.cache_parameters(), fib.__doc__[:5], fib.cache_info().misses))
    assert there.result() == (12586269025, ["a"], {"maxsize": None, "typed": False}, "Calls", 51)
    assert pool.submit(fib, 30).result() == 832040
    assert _pickles.function(fib) == _pickles.function(fib) and called(fib, 30) == 832040
    shape = pool.submit(lambda side: Shape(side), 3).result()
    assert isinstance(shape, Shape) and (shape.area(), shape.edge) == (9, 12)
    assert pool.submit(shape.area).result() == 9
    assert pool.submit(lambda: (Shape(5).area(), Shape(5).edge, Shape.area.cache_parameters()["maxsize"])).result() == (
        25, 20, 3,
    )

    @functools.lru_cache
    def local(x):
        return x + 1

    assert list(pool.map(local, range(3))) == [1, 2, 3]
    here = functools.lru_cache(json.dumps)
    assert pool.submit(here, (1,)).result() == "[1]"


def test_caches_last(client):
    """Calls that a process runs one after the other share the cache of the function that they call."""

    @functools.cache
    def number(x):
        return os.getpid(), os.urandom(8)

    with client.executor(1) as pool:
        found = {*pool.map(number, [1] * 200), *(pool.submit(number, 1).result() for _ in range(5))}
    # On a busy host a process may end between two calls, and another one go on, which has a cache of its own.
    assert len(found) == len({pid for pid, _ in found}) < 100


def test_dispatch(pool):
    """A function that chooses by the class of its argument has all choices there."""
    assert pool.submit(kind, 1.0).result() == "object"
    assert pool.submit(kind, [1, [2.0], "a"]).result() == ["int", ["object"], "object"]
    assert pool.submit(lambda: (Shape(2).scaled(3), Shape(2).scaled("x"))).result() == (6, "x")
    assert called(kind, 1) == "int"

    class Local:
        @functools.singledispatchmethod
        def kind(self, value):
            return "object"

        @kind.register
        def _(self, value: int):
            return "int"

    assert Local().kind(1) == "int"
    assert pool.submit(lambda: (Local().kind(1), Local().kind("x"))).result() == ("int", "object")


def test_names_are_enough():
    """What another process has under its name is sent as that."""
    pickled = _pickles.function(fnmatch._compile_pattern)
    assert len(pickled) < 100 and pickle.loads(pickled) is fnmatch._compile_pattern
    assert pickle.loads(_pickles.function(pkgutil.simplegeneric)) is pkgutil.simplegeneric


def test_kept_functions(monkeypatch):
    """A process keeps functions by their bytes, too, since each call may have one with data of its own. The last one
    stays whatever it has: the next call mostly has it again."""
    monkeypatch.setattr(_calls, "_functions", type(_calls._functions)())
    monkeypatch.setattr(_calls, "KEPT_BYTES", 3_000)
    read = []
    monkeypatch.setattr(_calls, "_read", lambda pickled, what: read.append(what) or pickle.loads(pickled))

    def call(function):
        batch = _calls.Batch()
        batch.add(pickle.dumps(function), pickle.dumps(((), {})))
        return _calls.call(batch.items[0], batch.items, 0)

    chunks = [functools.partial(len, bytes([n]) * 1_000) for n in range(5)]
    assert [call(chunk) for chunk in chunks] == [1_000] * 5
    assert len(_calls._functions) == 2 and sum(map(len, _calls._functions)) <= _calls.KEPT_BYTES
    large = functools.partial(len, b"." * 5_000)
    read.clear()
    assert [call(large), call(large)] == [5_000] * 2 and read.count("the function") == 1
    assert len(_calls._functions) == 1
    for _ in range(2):
        assert [call(functools.partial(abs, -n)) for n in range(_calls.KEPT)] == list(range(_calls.KEPT))
    assert len(_calls._functions) <= _calls.KEPT


def test_classes_that_are_changed_between_calls(monkeypatch):
    """A function that a process keeps finds its class as it was for its call, and not as another call has it."""
    monkeypatch.setattr(_calls, "_functions", type(_calls._functions)())
    monkeypatch.setattr(_calls, "_states", _calls.States())
    monkeypatch.setattr(by_value, "_class_setstate", by_value._class_setstate)

    class Settings:
        factor = 1
        cuts = {"pt": 20}

        @property
        def sign(self):
            return 1

    def scaled(x, *more):
        seen.append(x)
        more = getattr(Settings, "more", lambda: 0)()
        return x * Settings.factor * Settings().sign + more, Settings.cuts["pt"], len(seen)

    seen = []

    def pickled():
        return _pickles.function(scaled)

    def call(function, *args):
        batch = _calls.Batch()
        batch.add(function, _pickles.arguments(args, {}))
        return _calls.call(batch.items[0], batch.items, 0)

    first = pickled()
    Settings.factor = 2
    second = pickled()
    Settings.cuts["pt"] = 30
    third = pickled()
    Settings.sign = property(lambda self: -1)
    fourth = pickled()
    Settings.more = staticmethod(lambda by=5: by)
    fifth = pickled()
    Settings.more = staticmethod((lambda by: lambda: by)(6))
    sixth = pickled()
    Settings.more = staticmethod((lambda by: lambda: by)(7))
    seventh = pickled()
    del Settings.more  # which a process does not have that no such pickle has come to
    results = {
        first: (10, 20), second: (20, 20), third: (20, 30), fourth: (-20, 30), fifth: (-15, 30), sixth: (-14, 30),
        seventh: (-13, 30),
    }
    order = first, second, first, third, fourth, third, fourth, first, fifth, sixth, seventh, sixth, fifth, fourth
    for function in order:
        assert call(function, 10)[:2] == results[function]
    # What it keeps itself it keeps as long as no class has changed, also where arguments bring the same class.
    seen.clear()
    function, object_ = pickled(), Settings()
    assert [call(function, 1, object_)[2] for _ in range(3)] == [1, 2, 3]


class Place(typing.NamedTuple):
    x: int
    y: float = 2.0

    def total(self):
        return self.x + self.y


def test_named_tuples(pool):
    """Objects of classes that typing.NamedTuple makes go there and come back."""
    class Local(typing.NamedTuple):
        value: Place

    total, place, local = pool.submit(lambda p: (p.total(), Place(5), Local(p)), Place(3)).result()
    assert total == 5 and type(place) is Place and place._asdict() == {"x": 5, "y": 2.0}
    assert type(local) is Local and type(local.value) is Place


class Model:
    known = {}
    count = 0

    def add(self):
        global added
        added += 1


class Failed(Exception):
    count = 0


class Colour(enum.Enum):
    RED = 1


added = 0


def test_classes_stay_as_they_are_here(pool):
    """What comes back of a class of this process changes nothing of that."""
    class Local(Model):
        count = 1

    def work(_=0):
        Model.count += 1
        return Model(), Local(), Colour.RED

    def fail(_=0):
        Failed.count += 1
        raise Failed()

    add, known = Model.add, Model.known
    future, failed = pool.submit(work), pool.submit(fail)
    Model.count, Model.known["here"], Failed.count, Colour.RED.note = 100, None, 100, "here"
    model, local, colour = future.result()
    with pytest.raises(Failed):
        failed.result()
    assert isinstance(model, Model) and isinstance(local, Local) and colour is Colour.RED and colour.note == "here"
    list(pool.map(work, range(2)))
    assert pool.reduce(lambda _: [Model()], range(3)).result()[2].count == 100
    with pytest.raises(Failed):
        pool.reduce(fail, range(3)).result()
    assert (Model.count, Failed.count, Local.count) == (100, 100, 1) and Model.add is add and Model.known is known
    assert Model.known == {"here": None}
    model.add()
    assert added == 1
    large = pool.submit(lambda: (Model(), bytes(2 << 20))).result()
    assert type(large[0]) is Model and Model.count == 100


def test_classes_that_are_made_there(pool):
    """Those of which this process has none come with all that they have."""
    def make(_=0):
        class There(Model):
            count = 5

            def get(self):
                return self.count

        return There()

    one, other = pool.submit(make).result(), pool.submit(make).result()
    assert one.get() == other.get() == 5 and isinstance(one, Model)


class Planet(enum.Enum):
    """An enumeration as in Python's documentation."""

    EARTH = (2.0, 3.0)
    MARS = (4.0, 5.0)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius

    @property
    def product(self):
        return self.mass * self.radius


class Unit(enum.Enum):
    def __new__(cls, value, label):
        made = object.__new__(cls)
        made._value_, made.label = value, label
        return made

    GEV = 1, "GeV"


def test_members_of_enumerations_have_their_attributes(pool):
    """In calls, and where this process has no such class."""
    mars, products, label = pool.submit(lambda: (Planet.MARS, [p.product for p in Planet], Unit.GEV.label)).result()
    assert mars is Planet.MARS and products == [6.0, 20.0] and label == "GeV"
    assert pool.submit(lambda unit, planet=Planet.EARTH: (unit.label, planet.mass), Unit.GEV).result() == ("GeV", 2.0)

    def make():
        class There(enum.Enum):
            A = 1

            def __init__(self, n):
                self.more = n + 1

        return There.A

    assert pool.submit(make).result().more == 2
    try:
        Planet.MARS.mass = 7.0  # Here it stays so.
        assert pool.submit(lambda: Planet.MARS.mass).result() == 7.0
        future = pool.submit(lambda: setattr(Planet.MARS, "mass", 8.0) or Planet.MARS)
        assert future.result().mass == 7.0
    finally:
        Planet.MARS.mass = 4.0


EventId = typing.NewType("EventId", int)
Parameters = typing.ParamSpec("Parameters")


def following(event: EventId) -> EventId:
    return EventId(event + 1)


def passed(f: typing.Callable[Parameters, int], *args: Parameters.args, **kwargs: Parameters.kwargs) -> int:
    return f(*args, **kwargs)


@dataclasses.dataclass
class Found:
    event: EventId


def test_names_of_types(pool):
    """What annotations are made of goes along."""
    assert pool.submit(following, 1).result() == 2
    assert pool.submit(passed, abs, -3).result() == 3
    assert pool.submit(lambda: Found(EventId(3))).result() == Found(3)


def test_names_of_types_in_new_syntax(pool):
    if sys.version_info < (3, 12):
        return  # There is no such syntax.
    space = {"__name__": "__main__"}
    exec("type Ids = list[int]\ndef f[*T, **P](ids: Ids, *more: *T, **kw: P.kwargs) -> Ids:\n    return ids", space)
    assert pool.submit(space["f"], [1]).result() == [1]


class Plugin:
    known = {}
    count = 0

    def __init_subclass__(cls, key=None, **kwargs):
        super().__init_subclass__(**kwargs)
        Plugin.known[key] = cls.__name__
        Plugin.count += 1


class Reader(Plugin, key="reader"):
    pass


class Needs:
    def __init_subclass__(cls, *, key):
        cls.key = key


class Writer(Needs, key="writer"):
    class Part:
        pass


def test_subclasses_are_made_once(pool):
    """What is called where a class is made is not called again on nodes, where nobody knows its arguments; it is called
    for what is made there."""
    def found(_):
        return Reader.__name__, dict(Plugin.known), Plugin.count, Writer().key

    expected = "Reader", {"reader": "Reader"}, 1, "writer"
    for _ in range(2):
        assert pool.submit(found, Reader()).result() == expected

    def make():
        class Late(Plugin, key="late"):
            pass

        return dict(Plugin.known), Plugin.count

    assert pool.submit(make).result() == ({"reader": "Reader", "late": "Late"}, 2)
    assert type(pool.submit(lambda: Writer()).result()) is Writer and Plugin.known == {"reader": "Reader"}
    assert pool.submit(lambda: Writer.Part.__qualname__).result() == "Writer.Part"


class Registry(abc.ABCMeta):
    known = []

    def __new__(cls, name, bases, space, *, key):
        made = super().__new__(cls, name, bases, space)
        made.key = key
        return made

    def __init__(cls, name, bases, space, *, key):
        super().__init__(name, bases, space)
        Registry.known.append(key)


class Figure(metaclass=Registry, key="figure"):
    @abc.abstractmethod
    def area(self):
        ...


class Square(Figure, key="square"):
    def area(self):
        return 4


def test_metaclasses_make_classes_once(pool):
    """As where a class has keywords for its metaclass, which nodes do not know."""
    def found(square):
        class Late(Figure, key="late"):
            pass

        late = Registry.known.pop()
        return square.area(), Square.key, list(Registry.known), isinstance(square, Figure), type(Square).__name__, late

    for _ in range(2):
        assert pool.submit(found, Square()).result() == (4, "square", ["figure", "square"], True, "Registry", "late")
    with pytest.raises(TypeError, match="abstract"):
        pool.submit(lambda: Figure()).result()
    assert type(pool.submit(lambda: Square()).result()) is Square and Registry.known == ["figure", "square"]


def test_classes_that_another_process_has_sent():
    """Where this one has those of these names they are taken, as by pickle."""
    def make():
        class Local:
            pass

        return Local()

    values = Planet.MARS, Writer.Part(), Failed("x"), Point(1), own_module.Thing(), make()
    pickled = _pickles.value(values, "the result")
    for cls in map(type, values):
        by_value._DYNAMIC_CLASS_TRACKER_BY_ID.pop(by_value._DYNAMIC_CLASS_TRACKER_BY_CLASS.pop(cls))
    found = _unpickle.loads(pickled)
    assert [type(v) is type(f) for v, f in zip(values, found)] == [True] * 5 + [False]
    assert found[0] is Planet.MARS and found[3] == Point(1)
