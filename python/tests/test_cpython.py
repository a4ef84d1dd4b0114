"""The interpreter's own tests of concurrent.futures, over dtpnode's executor."""

import os

import pytest

from dtpnode_pool import PoolExecutor, client
from test.test_concurrent_futures import executor, test_as_completed, test_init, test_shutdown, test_wait
from test.test_concurrent_futures.util import BaseTestCase, ExecutorMixin


@pytest.fixture(autouse=True)
def daemon(cluster, monkeypatch):
    """Has executors, also those of other processes, use the tests' cluster."""
    monkeypatch.setenv("DTPNODE_FUTURES", str(cluster.states[0]))


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
