"""What is written for users is true: its examples are run."""

import doctest
import inspect
import re
from pathlib import Path

import pytest

import dtpnode
import dtpnode.joblib
from dtpnode import _client, _cluster, _executor, _reduction


@pytest.fixture
def here(cluster, monkeypatch):
    monkeypatch.setenv("DTPNODE_STATE", str(cluster.states[0]))
    with dtpnode.Client() as client:
        yield client


def test_package(here):
    """The first thing that is read."""
    run = doctest.testmod(dtpnode)
    assert run.attempted >= 9 and run.failed == 0


@pytest.mark.parametrize("module", [_client, _cluster, _executor, _reduction, dtpnode.joblib], ids=lambda m: m.__name__)
def test_examples(here, cache, monkeypatch, module):
    names = {"client": here, "Client": dtpnode.Client}
    names["LocalCluster"] = lambda **given: dtpnode.LocalCluster(**given, args=["--cache", cache])
    run = doctest.testmod(module, extraglobs=names)
    assert run.attempted > 0 and run.failed == 0
    if module is dtpnode.joblib:
        end_joblib()


def end_joblib():
    for executors in dtpnode.joblib._shared._executors.values():
        for _, executor in executors.values():
            executor.shutdown()
    dtpnode.joblib._shared.__init__()


def test_readme(here, cache, tmp_path, monkeypatch):
    text = (Path(__file__).parent.parent / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    blocks = re.findall("```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    names = {}
    for block in blocks:
        exec(block, names)
    names["client"].close()
    end_joblib()


def test_all_is_documented():
    """Each exported name says what it is, and so does each of its methods."""
    for name in dtpnode.__all__:
        thing = getattr(dtpnode, name)
        assert inspect.getdoc(thing), name
        for method, f in vars(thing).items():
            if not method.startswith("_") and (callable(f) or isinstance(f, property)):
                assert inspect.getdoc(f), f"{name}.{method}"
