"""The interpreter's own tests of concurrent.futures, over dtpnode's executor. Run with: python -m unittest -v"""

import concurrent.futures
import os
import sys
import unittest

from test.test_concurrent_futures import executor, test_as_completed, test_init, test_shutdown, test_wait
from test.test_concurrent_futures.util import BaseTestCase, ExecutorMixin

import dtpnode

client = dtpnode.Client(os.environ["DTPNODE_STATE"])


class PoolExecutor(dtpnode.Executor):
    def __init__(self, max_workers=None, initializer=None, initargs=()):
        super().__init__(client.control, max_workers, initializer, initargs)


class PoolMixin(ExecutorMixin):
    executor_type = PoolExecutor


class PoolExecutorTest(PoolMixin, executor.ExecutorTest, BaseTestCase):
    pass


class PoolWaitTest(PoolMixin, test_wait.WaitTests, BaseTestCase):
    pass


class PoolAsCompletedTest(PoolMixin, test_as_completed.AsCompletedTests, BaseTestCase):
    pass


class PoolShutdownTest(PoolMixin, test_shutdown.ExecutorShutdownTest, BaseTestCase):
    pass


class PoolInitTest(test_init.InitializerMixin, PoolMixin, BaseTestCase):
    pass


class PoolFailingInitTest(test_init.FailingInitializerMixin, PoolMixin, BaseTestCase):
    pass


if __name__ == "__main__":
    unittest.main(verbosity=2)
