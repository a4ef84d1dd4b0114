"""Tracebacks from the nodes, as their users want to read them."""

import linecache
import os
import re

from . import _calls, _excepted, _graphrun, _here

_FRAME = re.compile(r'  File "(.*)", line (\d+), in ')
_OWN = {os.path.realpath(str(module.__file__)) for module in (_calls, _excepted, _graphrun, _here)}


def readable(text: str) -> str:
    """A traceback without what this package does to run a call, and with the lines of source that this host has: where
    it was made there is no such file."""
    lines = text.split("\n")
    out: list[str] = []
    at = 0
    while at < len(lines):
        frame = _FRAME.match(lines[at])
        if frame is None:
            out.append(lines[at])
            at += 1
            continue
        end = at + 1
        while end < len(lines) and lines[end].startswith("    "):
            end += 1
        if os.path.realpath(frame[1]) not in _OWN:
            out += lines[at:end]
            source = linecache.getline(frame[1], int(frame[2])).strip()
            if end == at + 1 and source:
                out.append("    " + source)
        at = end
    return "\n".join(out)
