"""dtpnode's executor as the tests of the standard library make one: without a client, and with the number of workers
first."""

import functools
import os

import dtpnode


@functools.cache
def client():
    return dtpnode.Client(os.environ["DTPNODE_FUTURES"])


class PoolExecutor(dtpnode.Executor):
    def __init__(self, max_workers=None, initializer=None, initargs=()):
        super().__init__(client().control, max_workers, initializer, initargs)
