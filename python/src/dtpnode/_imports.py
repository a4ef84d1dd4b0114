"""The modules that a function imports, so that the nodes can do so once, before they fork what runs it."""

import dis
import sys
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

LATER = {"uproot": ("awkward", "fsspec.implementations.http")}  # what a package imports only where it is used
NOT_BEFORE = {"__main__", "dtpnode", "dtpnode_worker", "ROOT"}  # ROOT has threads, which a fork has not


def imported_by(function: Any) -> set[str]:
    """The modules that a function imports when it is called, as far as its code says so, and those that it uses of what
    its own module has imported. Functions of the same module that it uses count too. What every Python has is left out:
    it is there in no time."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    found: set[str] = set()
    codes, seen = [getattr(function, "__code__", None)], set[int]()
    scope = getattr(function, "__globals__", {})
    for cell in getattr(function, "__closure__", None) or ():
        try:
            codes.append(getattr(cell.cell_contents, "__code__", None))
        except ValueError:  # It is empty.
            pass
    while codes:
        code = codes.pop()
        if not isinstance(code, CodeType) or id(code) in seen:
            continue
        seen.add(id(code))
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
        for step in dis.get_instructions(code):
            if step.opname == "IMPORT_NAME":
                found.add(str(step.argval))
            elif step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                value = scope.get(step.argval)
                if isinstance(value, ModuleType):
                    found.add(value.__name__)
                elif isinstance(value, FunctionType) and value.__module__ == getattr(function, "__module__", None):
                    codes.append(value.__code__)
    found |= {late for name in found for late in LATER.get(name.partition(".")[0], ())}
    return {name for name in found if name and name.partition(".")[0] not in NOT_BEFORE | sys.stdlib_module_names}
