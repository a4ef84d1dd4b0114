"""Has coffea's own tests run over dtpnode's executor, unchanged: a plugin of pytest that their process loads.

``processor.IterativeExecutor`` is replaced by an executor on the cluster that DTPNODE_STATE names, before the tests are
read. Cases of them that have an executor of coffea as a parameter beside it are of those executors alone, and are left
out, as are tests that EXCLUDED names.
"""

import pytest
from coffea import processor
from coffea.processor.executor import ExecutorBase

import dtpnode.coffea

EXCLUDED = {
    "test_futures_mergepool_forms": "it is of an argument of FuturesExecutor, the pool that merges",
    "test_tailtimeout_deprecation_warns_once": "it is of a deprecated argument of FuturesExecutor",
    "test_auto_dask_client_single_and_cleanup": "it is of DaskExecutor's client",
    "test_auto_dask_client_left_alone_for_dataframes": "it is of DaskExecutor's client",
    "test_watcher_recompresses_only_on_change": "it is of how FuturesExecutor merges",
}

processor.IterativeExecutor = dtpnode.coffea.DtpnodeExecutor  # type: ignore[misc]


def others(item: pytest.Item) -> bool:
    """Whether a test is of an executor that is not replaced."""
    callspec = getattr(item, "callspec", None)
    executor = callspec.params.get("executor") if callspec is not None else None
    left = isinstance(executor, type) and issubclass(executor, ExecutorBase)
    return left and executor is not dtpnode.coffea.DtpnodeExecutor or item.name.partition("[")[0] in EXCLUDED


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [item for item in items if others(item)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not others(item)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.nodeid} is skipped: {report.longrepr}"
    return report
