"""Pickles of what goes to the nodes."""

import pickle
from typing import Any

import cloudpickle

from ._errors import Unpicklable
from ._unpicklable import unpicklable

_PLAIN = frozenset((int, float, str, bytes, bool, complex, type(None)))
_DEEP = 3  # levels of tuples and lists that are looked through


def plain(value: Any, deep: int = _DEEP) -> bool:
    """Whether a value needs no code to be unpickled: pickle makes the same of it as cloudpickle, ten times as fast."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if deep and (kind is tuple or kind is list) and len(value) <= 16:
        return all(plain(v, deep - 1) for v in value)
    return kind is dict and not value


def dumps(value: Any, what: str) -> bytes:
    """Pickles a value so that another process reads it which has none of this one's code. What it is, is for the error
    that says which part of it cannot be pickled."""
    if plain(value):
        return pickle.dumps(value, 5)
    try:
        pickled: bytes = cloudpickle.dumps(value, 5)
    except Exception as e:
        why = unpicklable(value, what) or f"{what}: {type(e).__name__}: {e}"
        raise Unpicklable(f"could not send a call: {why}", "make it where it is used, in the function itself") from e
    return pickled
