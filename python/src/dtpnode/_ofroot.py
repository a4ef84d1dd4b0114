"""Pickles of objects of ROOT, from which they are made in processes that have not used ROOT yet.

For results pyexec/child/root.py is the same: nodes need not have this package, and it none of what nodes have.

The pickle of such an object names the function that makes it, and that ends the process by a crash as long as ROOT has
not been begun, which the first use of the module does.
"""

import importlib
import operator
import sys
from typing import Any


class _Module:
    """Becomes the module where it is unpickled."""

    def __reduce__(self) -> Any:
        return importlib.import_module, ("ROOT",)


class _Begun:
    """Has ROOT begun where it is unpickled."""

    def __reduce__(self) -> Any:
        return getattr, (_Module(), "TObject")


class _Maker:
    """Becomes the function that makes an object, once ROOT has begun where it is unpickled."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __reduce__(self) -> Any:
        return operator.getitem, ((_Begun(), self._make), 1)


def of_root(obj: Any) -> bool:
    """Whether an object is one of ROOT, or of any other C++ by cppyy."""
    instance = getattr(getattr(sys.modules.get("cppyy"), "_backend", None), "CPPInstance", None)
    return instance is not None and isinstance(obj, instance)


def reduced(obj: Any) -> Any:
    """How an object of ROOT is pickled."""
    make, *rest = obj.__reduce__()
    return _Maker(make), *rest
