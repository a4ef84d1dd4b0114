"""What runs tasks, with the interface of redis-htcondor's Worker."""

from typing import Any

from ..._cluster import LocalCluster


class Worker:
    """A node of this host for as long as ``run`` goes on.

    There it takes a process for each worker; here a daemon is a node, which is started by ``dtpnode up`` or, on a batch
    system, by ``dtpnode join``, and has as many slots as its host has processors. ``run`` is that: it starts a daemon
    of this process with one slot, and waits. ``redis_url`` is an invitation of the cluster that it joins (``dtpnode
    invite``), or None for a cluster of its own. ``worker_name`` is what the object is called here, and nothing more.
    With ``verbose`` it is said what runs.
    """

    def __init__(self, redis_url: str | None = None, worker_name: str | None = None, verbose: bool = True) -> None:
        self.token, self.worker_name, self.verbose = redis_url, worker_name, verbose
        self.cluster: LocalCluster | None = None

    def start(self) -> LocalCluster:
        """Starts the node, and returns it as a cluster of one, which ends with this process."""
        if self.cluster is None:
            self.cluster = LocalCluster(nodes=1, slots=1)
            if self.token is not None:
                self.cluster._processes.hands_back = True
                daemon: Any = self.cluster._processes.daemons[0]
                daemon.control.call("POST", "/v1/join", {"token": self.token})
        return self.cluster

    def run(self) -> None:
        """Starts the node, and waits until its daemon ends, or a Ctrl-C ends it."""
        cluster = self.start()
        if self.verbose:
            print(f"a node with one slot runs: {cluster!r}")
        try:
            for daemon in cluster._processes.daemons:
                daemon.process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            cluster.close()

    def __repr__(self) -> str:
        return f"<Worker {self.worker_name or 'of this host'}>"
