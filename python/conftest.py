"""What all tests of the package share, those of its folder tests and those with PyROOT: a client of the cluster that
each folder has, and that no test is skipped, which would look as if it had passed."""

import pytest


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
