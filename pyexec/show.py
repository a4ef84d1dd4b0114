"""Shows values of units: reads each behind its length, as pyexec/partial.go has it, and writes a line behind its length.

Values come from nodes that need not be trusted, and a pickle is a program: it may call whatever it names. Here it can
name Python's own plain types alone. All others are stood in for by objects that take whatever is done to them."""

import io
import pickle
import resource
import struct
import sys

SHOWN = 4096  # characters
PLAIN = {
    "builtins": {"bytearray", "complex", "frozenset", "range", "set", "slice"},
    "collections": {"Counter", "OrderedDict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
}


class Other:
    """Stands for an object of a class, or for what a function has returned."""

    name = ""

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __call__(self, *_, **__):
        return self

    def nothing(self, *_, **__):
        pass

    __setstate__ = __setitem__ = append = extend = add = update = nothing

    def __hash__(self):
        return id(self)

    def __repr__(self):
        return f"<{self.name}>"


class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if name in PLAIN.get(module, ()):
            return super().find_class(module, name)
        return type(name.rpartition(".")[2] or "object", (Other,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid):
        return Other()


def read(pickled):
    return Reader(io.BytesIO(pickled)).load()


def shown(value):
    try:
        if value[0] == 0:
            return repr(read(value[1:]))
        _, words, _, item = read(value[1:])
        return f"raised {words}: the item is {item}"
    except BaseException as e:
        return f"a value of {len(value)} bytes that cannot be shown ({type(e).__name__})"


def main():
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    while True:
        head = sys.stdin.buffer.read(4)
        if len(head) < 4:
            return
        text = " ".join(shown(sys.stdin.buffer.read(struct.unpack(">I", head)[0])).split("\n"))
        if len(text) > SHOWN:
            text = text[:SHOWN] + "…"
        line = text.encode(errors="backslashreplace")
        sys.stdout.buffer.write(struct.pack(">I", len(line)) + line)
        sys.stdout.buffer.flush()


main()
