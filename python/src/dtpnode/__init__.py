"""dtpnode for Python: the pool of your hosts behind the interfaces that you know.

A client talks to the daemon of this host. Where none runs, it starts one that lasts as long as the client, so that the
same code works on a laptop and on all hosts that have joined (``dtpnode join``):

    >>> import dtpnode
    >>> client = dtpnode.Client()

An executor is one of ``concurrent.futures``. Functions travel with what they refer to, and with modules of your own:

    >>> with client.executor() as pool:
    ...     squares = list(pool.map(lambda x: x * x, range(1000)))
    ...     future = pool.submit(pow, 2, 10)
    >>> squares[-1], future.result()
    (998001, 1024)

A call counts once, whatever dies: a node, the daemon, the leader of the job. An exception is raised as it was on the
node, with the traceback from there. A call that ends its process, such as by a crash, is lost alone:

    >>> with client.executor(output=None) as pool:
    ...     crash, other = pool.submit(lambda: __import__("os").abort()), pool.submit(abs, -1)
    >>> other.result()
    1
    >>> type(crash.exception()).__name__
    'ItemLost'

What one process has submitted is there for others, also after that process was killed, by the session's name:

    >>> with client.executor() as pool:
    ...     first = pool.submit(str.upper, "kept")
    >>> with client.attach(pool.name) as session:
    ...     [f.result() for f in session]
    ['KEPT']

Several daemons on this host, to try things, are a ``LocalCluster(nodes=2, slots=2)``. ``import dtpnode.joblib`` has
``joblib.Parallel(backend="dtpnode")`` run here, and so scikit-learn. ``client.run("DiMuon.C+", tree="Events",
files=["data/*.root"])`` runs a ROOT TSelector, ``with dtpnode.proof(chain):`` has a chain of PyROOT run on the pool,
and ``dtpnode.treeplayer`` is dask_treeplayer's session.

Look at ``help(dtpnode.Executor)`` for what an executor takes, bounds and raises, and at ``help(dtpnode.Client)``. All
errors are ``dtpnode.Error``, whose ``hint`` says what to do next.
"""

from ._attach import Attached
from ._client import Client
from ._cluster import LocalCluster
from ._errors import (
    ClusterLost,
    DiskFull,
    Error,
    ItemLost,
    JobFailed,
    NoDaemon,
    NodeWarning,
    RemoteError,
    RemoteTraceback,
    ResultTaken,
    TooLarge,
    Unpicklable,
)
from ._executor import Executor
from ._here import get_worker
from ._job import Job, Results
from ._load import Loaded, load
from ._map import Outcome, Outcomes
from ._proof import MissingEntries, proof
from ._rdataframe import RDataFrame, install
from ._reduction import Incomplete, Reduction

__version__ = "0.1.0"
__all__ = [
    "Attached",
    "Client",
    "ClusterLost",
    "DiskFull",
    "Error",
    "Executor",
    "Incomplete",
    "ItemLost",
    "Job",
    "JobFailed",
    "Loaded",
    "LocalCluster",
    "MissingEntries",
    "NoDaemon",
    "NodeWarning",
    "Outcome",
    "Outcomes",
    "RDataFrame",
    "Reduction",
    "RemoteError",
    "RemoteTraceback",
    "ResultTaken",
    "Results",
    "TooLarge",
    "Unpicklable",
    "get_worker",
    "load",
    "proof",
]

install()
del install
