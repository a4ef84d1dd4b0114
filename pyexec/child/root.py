"""Pickles of objects of ROOT, from which they are made in processes that have not used ROOT yet.

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


def pickler(base: Any) -> Any:
    """A class of picklers, of that of cloudpickle, for objects of ROOT too."""
    cppyy = sys.modules.get("cppyy")
    instance = getattr(getattr(cppyy, "_backend", None), "CPPInstance", None)
    if instance is None:
        return base

    class Pickler(base):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if not isinstance(obj, instance):
                return super().reducer_override(obj)
            make, *rest = obj.__reduce__()
            return _Maker(make), *rest

    return Pickler
