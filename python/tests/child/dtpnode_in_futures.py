"""Has ``from concurrent.futures import PoolExecutor`` give dtpnode's executor where DTPNODE_FUTURES names a daemon.

Tests of the standard library write programs that import the executor under test by its name from there. All
interpreters of the tests' environment import this module at their start (dtpnode.pth).
"""

import os

if os.environ.get("DTPNODE_FUTURES"):
    import concurrent.futures

    _original = concurrent.futures.__getattr__

    def _with_dtpnode(name):
        if name != "PoolExecutor":
            return _original(name)
        from dtpnode_pool import PoolExecutor

        return PoolExecutor

    concurrent.futures.__getattr__ = _with_dtpnode
