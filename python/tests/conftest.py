"""The cluster that the tests share."""

import sys

import pytest

import dtpnode

# Beside the environment's interpreter, where the test in Go has built it, there is the binary. A cache of the tests'
# own has no ROOT, which would be loaded for nothing.


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def cluster(cache):
    args = ["--cache", cache, "--python", f"here={sys.executable}"]
    with dtpnode.LocalCluster(nodes=1, slots=5, args=args) as cluster:
        yield cluster


@pytest.fixture
def pool(client):
    with client.executor() as pool:
        yield pool
