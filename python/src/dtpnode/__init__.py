"""dtpnode for Python: the pool of your hosts behind the interfaces that you know.

    >>> import dtpnode
    >>> client = dtpnode.Client()
    >>> with client.executor() as pool:
    ...     list(pool.map(abs, [-1, 2, -3]))
    [1, 2, 3]
"""

from ._attach import Attached
from ._client import Client
from ._cluster import LocalCluster
from ._errors import (
    ClusterLost,
    Error,
    ItemLost,
    JobFailed,
    NoDaemon,
    RemoteError,
    RemoteTraceback,
    TooLarge,
    Unpicklable,
)
from ._executor import Executor
from ._job import Job, Results

__version__ = "0.1.0"
__all__ = [
    "Attached",
    "Client",
    "ClusterLost",
    "Error",
    "Executor",
    "ItemLost",
    "Job",
    "JobFailed",
    "LocalCluster",
    "NoDaemon",
    "RemoteError",
    "RemoteTraceback",
    "Results",
    "TooLarge",
    "Unpicklable",
]
