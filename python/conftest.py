"""What all tests of the package share, those of its folder tests and those with PyROOT: a client of the cluster that
each folder has, and that no test is skipped, which would look as if it had passed."""

import gc
import os

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "long: for make test-all alone, which sets DTPNODE_PYTHON_LONG")


def pytest_collection_modifyitems(config, items):
    """Leaves out what is marked as long, unless it is asked for."""
    if os.environ.get("DTPNODE_PYTHON_LONG"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_collection_finish(session):
    """What the tests have imported lives as long as they do: a collector that looks at all of it takes a second each
    time, and some tests have it look hundreds of times."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def client(cluster):
    with cluster.client() as client:
        yield client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.nodeid} is skipped: {report.longrepr}"
    return report
