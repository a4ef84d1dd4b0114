"""dask on the pool with packages that are made on it, and with nodes that have another version of it."""

import os
import subprocess
import sys
import warnings

import dask
import pytest

import dtpnode
import dtpnode.dask
import sdist

AWKWARD = '''
import sys

import awkward
import boost_histogram
import dask
import dask.array
import dask_awkward
import dask_histogram.boost
import hist.dask
import numpy
import uproot

import dtpnode
import dtpnode.dask

state, file, *modules = sys.argv[1:]
dask.config.set({"awkward.optimization.enabled": False})
numbers = dask.array.random.default_rng(1).normal(size=1000, chunks=100)
filled = dask_histogram.boost.Histogram(boost_histogram.axis.Regular(10, -3, 3)).fill(numbers)
pt = uproot.dask({file: "Events"}, steps_per_file=4, filter_name=["nMuon", "Muon_pt"]).Muon_pt
of_pt = hist.dask.Hist.new.Reg(20, 0, 200).Double().fill(dask_awkward.flatten(pt[pt > 20]))
lists = dask_awkward.from_awkward(awkward.Array([[1, 2], [], [3.5]] * 10), npartitions=3)
want = dask.compute(filled, of_pt, pt, dask_awkward.sum(lists), scheduler="synchronous")
with dtpnode.Client(state) as client, dtpnode.dask.get(client, modules=modules):
    got = dask.compute(filled, of_pt, pt, dask_awkward.sum(lists))
assert got[0] == want[0] and got[1] == want[1] and got[3] == want[3]
assert len(got[2]) == 40 and awkward.array_equal(got[2], want[2])
'''


@pytest.mark.long
def test_awkward_and_histogram(cluster):
    """dask-awkward and dask-histogram, in a process of their own: nodes have neither, and get them."""
    packages = sdist.awkward()
    sample = sdist.coffea() / "tests" / "samples" / "nano_dy.root"
    modules = [packages / name for name in ("cachetools", "dask_awkward", "dask_histogram")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")])}
    args = [sys.executable, "-c", AWKWARD, cluster.states[0], sample, *modules]
    done = subprocess.run(list(map(str, args)), env=env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr

def another(folder, name, lines):
    """The interpreter of an environment as that of the tests, with more lines at the beginning of where it looks."""
    python = folder / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(os.path.realpath(sys.executable))
    (folder / name / "pyvenv.cfg").write_text(f"home = {os.path.dirname(os.path.realpath(sys.executable))}\n")
    site = folder / name / "lib" / ("python%d.%d" % sys.version_info[:2]) / "site-packages"
    site.mkdir(parents=True)
    (site / "a.pth").write_text("\n".join([*lines, *filter(os.path.isdir, sys.path)]))
    return python


def test_node_with_another_dask(tmp_path, cache):
    """It is said before the first task, which may fail there for that."""
    about = tmp_path / "old" / "dask-2024.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: dask\nVersion: 2024.1.0\n")
    python = another(tmp_path, "env", [str(about.parent)])
    ran = tmp_path / "ran"

    def task():
        ran.touch()

    with dtpnode.LocalCluster(python=str(python), args=["--cache", cache]) as cluster:
        with cluster.client() as client, warnings.catch_warnings():
            warnings.simplefilter("error", dtpnode.NodeWarning)
            with pytest.raises(dtpnode.NodeWarning, match=f"dask 2024.1.0 and not {dask.__version__}"):
                dask.delayed(task)().compute(scheduler=client.get)
        assert not ran.exists()
