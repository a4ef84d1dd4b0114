"""What sends tasks, with the interface of redis-htcondor's Manager."""

import random
import re
import time
import warnings
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Callable, Generator, Iterable, Sequence

from ..._client import Client
from ..._control import Control
from ..._errors import Error
from ..._here import cache_of, sampled
from ..._map import Outcome, Outcomes, Running, by_item
from ..._pickles import as_sent
from ..._pickles import function as pickled
from ..._progress import Bar
from ..._worker import fingerprint, user

if TYPE_CHECKING:
    import pandas

Meta = dict[str, Any]


class Manager:
    """Maps functions over the pool.

    ``redis_url``
        is not needed. A value is taken, for scripts that have one, and said once to be without meaning. A
        ``dtpnode.Client`` in its place is the client that is used; by default ``dtpnode.Client()`` is.
    ``qname_results``, ``qname_tasks``
        have no meaning, for there are no queues.
    """

    def __init__(
        self,
        redis_url: "str | Client | None" = None,
        qname_results: str | None = None,
        qname_tasks: str | None = None,
    ) -> None:
        if isinstance(redis_url, str):
            _without_meaning("redis_url", "there is no broker: the daemon of this host takes the tasks")
        if qname_results or qname_tasks:
            _without_meaning("qname_results and qname_tasks", "there are no queues")
        self._owns = not isinstance(redis_url, Client)
        self.client = redis_url if isinstance(redis_url, Client) else Client()
        self.redis_url = self.client.control.socket
        self.user = user()
        self.remote_results: list[Any] = []
        """What the last ``remote_map`` has returned, as far as it was taken."""
        self._running: "list[Outcomes[Any]]" = []
        self._jobs = 0
        self._totals: dict[str, Meta] = {}  # by the worker's name
        self._since = time.time()

    def __repr__(self) -> str:
        try:
            workers = self._workers()
        except Error as e:
            return f"<Manager using broker at {self.redis_url}: {e.message}>"
        nodes = {w["node"] for w in workers}
        return f"<Manager using broker at {self.redis_url} with {len(workers)} workers on {len(nodes)} nodes>"

    # --- maps

    def remote_map(
        self,
        func: Callable[[Any], Any],
        vargs: Iterable[Any],
        return_metadata: bool = True,
        reuse_chunking: bool = False,
        worker_names: Sequence[str] = (),
        shuffle_chunks: bool = False,
        skip_payload_check: bool = False,
        blocking: bool = True,
        progress_bar: bool = True,
    ) -> Any:
        """Calls a function of one argument for each of ``vargs`` on the pool, and returns a list of the results, in the
        order in which they came.

        ``return_metadata``
            makes each a dictionary of ``task_id`` (as ``args`` are numbered, from 0), ``job_num`` (as this manager's
            maps are numbered, from 0), ``worker_name``, ``args``, ``tstart`` and ``tstop`` (seconds since 1970),
            ``read_bytes``, ``write_bytes`` and ``result``. An exception is in ``result``, as its traceback in words.
            Without it only the results come.
        ``reuse_chunking``
            runs each of the arguments on the node that ran it in the last map, if that had them all. Without it nodes
            are preferred that ran the same before, as long as that pays.
        ``worker_names``
            are workers on whose nodes the arguments run, by turns. An unknown one is a ValueError.
        ``shuffle_chunks``
            takes the arguments in random order.
        ``skip_payload_check``
            allows a function that, with what it refers to, has more than 10 MiB as a pickle; else it is refused with a
            ValueError, as data that should be read where they are used.
        ``blocking``
            is False for a generator of the results, which come as they are taken. Closed early, it cancels the rest.
        ``progress_bar``
            shows a bar on a terminal or in a notebook, which ends as a line, also in a log.

        ``vargs`` may be slow to come, as those of a generator: what has come runs meanwhile. To shuffle them, or to
        reuse chunking, all of them are waited for.

        A function that has the parameter ``cache=None`` is given the cache of ``get_worker()``.
        """
        if not skip_payload_check:
            _check_payload(func)
        arguments: Iterable[Any] = vargs
        nodes = self._nodes_of(worker_names) if worker_names else None
        if reuse_chunking and nodes is None:
            arguments, nodes = self._again(list(vargs))
        if shuffle_chunks:
            arguments = list(arguments)
            order = list(range(len(arguments)))
            random.shuffle(order)
            # Nodes are given by turns, so that each argument keeps its own only if there are as many.
            if nodes is not None and len(nodes) >= len(arguments):
                nodes = [nodes[i] for i in order]
            arguments = [arguments[i] for i in order]
        number, self._jobs = self._jobs, self._jobs + 1
        self.remote_results = []
        bar = Bar("remote_map", progress_bar, "tasks")
        call = cache_of(func, as_sent(func))
        outcomes: "Outcomes[Any]" = Outcomes(Running(self.client._maps, call, arguments, by_item, nodes, bar))
        self._running.append(outcomes)
        results = self._results(outcomes, number, return_metadata)
        return results if not blocking else list(results)

    def _results(self, outcomes: "Outcomes[Any]", number: int, whole: bool) -> Generator[Any, None, None]:
        mine = self.remote_results
        try:
            for outcome in outcomes:
                meta = _meta(outcome, number)
                mine.append(meta)
                self._count(meta)
                yield meta if whole else meta["result"]
        finally:
            outcomes.close()
            if outcomes in self._running:
                self._running.remove(outcomes)

    def local_map(self, func: Callable[[Any], Any], vargs: Iterable[Any], progress_bar: bool = True) -> list[Any]:
        """Calls a function for each of ``vargs`` in this process, and returns the results in order. What it raises is
        raised here."""
        arguments = list(vargs)
        bar = Bar("local_map", progress_bar, "tasks")
        bar.start(len(arguments))
        call, results = cache_of(func), []
        try:
            for a in arguments:
                results.append(call(a))
                bar.advance()
        finally:
            bar.stop()
        return results

    def _again(self, arguments: list[Any]) -> tuple[list[Any], list[str] | None]:
        """The arguments, with the nodes that ran each of them in the last map; without any where it had others."""
        ran: dict[Any, list[str]] = {}
        for r in self.remote_results:
            if isinstance(r, dict) and r["_node"]:
                ran.setdefault(fingerprint(r["args"]), []).append(r["_node"])
        nodes = []
        for argument in arguments:
            of = ran.get(fingerprint(argument))
            if not of:
                return arguments, None
            nodes.append(of.pop())
        return arguments, nodes

    # --- workers

    def get_worker_info(self, include_stats: bool = False, min_delay: float = 0.3) -> "pandas.DataFrame":
        """The workers as a pandas.DataFrame, by their names, ``user__node__slot``: ``addr`` of the node, ``age`` in
        seconds since the node has joined, ``id`` of the node, ``idle`` in seconds since this manager had a result from
        there (or has been there itself), and ``node``, the node's name.

        With ``include_stats`` a task runs on each node for ``min_delay`` seconds, and there are ``node_dt``, how long
        it was, ``node_read_bytes``, ``node_write_bytes``, ``node_recv_bytes`` and ``node_sent_bytes``, of all that the
        host did meanwhile, and ``worker_mem_used`` of the process in bytes. ``worker_time_elapsed``,
        ``worker_read_bytes``, ``worker_write_bytes`` and ``worker_tasks`` are those of all that this manager has run
        there. Nodes that did not run it in time are told of, and have no numbers.
        """
        import pandas as pd

        rows = self._workers()
        if include_stats:
            nodes = self._sampled(sorted({row["id"] for row in rows}), min_delay)
            for row in rows:
                row.update(self._totals.get(row["name"], NOTHING))
                row.update(nodes.get(row["id"], {}))
        columns = ["name", "addr", "age", "id", "idle", "node"]
        frame = pd.DataFrame(rows, columns=None if rows else columns).set_index("name")
        return frame.drop(columns="_last", errors="ignore")

    def _sampled(self, nodes: list[str], delay: float) -> dict[str, Meta]:
        """What each node does in so many seconds."""
        delays = [delay] * len(nodes)
        outcomes = Outcomes(Running(self.client._maps, sampled, delays, None, nodes, Bar("get_worker_info", False)))
        found = {o.node: o.value for o in outcomes if o.error is None and o.value is not None}
        if len(found) < len(nodes):
            print(f"{len(nodes) - len(found)} of {len(nodes)} nodes have told nothing of themselves in time")
        return found

    def _workers(self) -> list[Meta]:
        rows, now = workers(self.client.control), time.time()
        for row in rows:
            last = self._totals.get(row["name"], {}).get("_last", self._since)
            row["idle"] = round(max(now - last, 0.0), 1)
        return rows

    def _count(self, meta: Meta) -> None:
        """Adds a result to what its worker has done."""
        total = self._totals.setdefault(meta["worker_name"], {**NOTHING, "_last": 0.0})
        total["worker_time_elapsed"] += meta["tstop"] - meta["tstart"]
        total["worker_read_bytes"] += meta["read_bytes"]
        total["worker_write_bytes"] += meta["write_bytes"]
        total["worker_tasks"] += 1
        total["_last"] = meta["tstop"]

    def _nodes_of(self, names: Sequence[str]) -> list[str]:
        known = {w["name"]: w["id"] for w in self._workers()}
        unknown = [n for n in names if n not in known]
        if unknown:
            raise ValueError(f"there is no worker {unknown[0]!r}; there are {', '.join(known) or 'none'}")
        return [known[n] for n in names]

    # --- the broker

    def clear_queues(self) -> None:
        """Cancels all maps of this manager that are not done."""
        for outcomes in self._running:
            outcomes.close()
        self._running = []

    def stop_all_workers(self) -> None:
        """Cancels all maps of this manager that are not done. Nodes stay up: ``dtpnode down`` ends one."""
        why = "nodes are ended by `dtpnode down`; the maps of this manager are cancelled"
        _without_meaning("stop_all_workers", why)
        self.clear_queues()

    def get_broker_info(self) -> Meta:
        """What the daemon says of itself, as ``dtpnode status --output json`` does."""
        info: Meta = self.client.control.call("GET", "/v1/status")
        return info

    def close(self) -> None:
        """Cancels what is not done, and ends the client if the manager has made it."""
        self.clear_queues()
        if self._owns:
            self.client.close()


def _meta(outcome: Outcome[Any], number: int) -> Meta:
    return {
        "task_id": outcome.index,
        "job_num": number,
        "worker_name": outcome.worker,
        "args": outcome.item,
        "tstart": outcome.start,
        "tstop": outcome.stop,
        "read_bytes": outcome.read_bytes,
        "write_bytes": outcome.write_bytes,
        "result": outcome.value if outcome.error is None else outcome.traceback,
        "_node": outcome.node,
        "_failed": outcome.error is not None,
    }


def workers(control: Control) -> list[Meta]:
    """The slots of all nodes that are up and run Python, a row each."""
    me, now = user(), datetime.now(timezone.utc)
    rows: list[Meta] = []
    for m in control.call("GET", "/v1/members"):
        if not m["up"] or not any(r["kind"] == "Python" for r in m.get("runtimes") or ()):
            continue
        age = round((now - _time(m["joined"])).total_seconds(), 1)
        addr = (m.get("addrs") or [""])[0]
        for slot in range(int(m["slots"])):
            name = f"{me}__{m['name']}__{slot}"
            rows.append({"name": name, "addr": addr, "age": age, "id": m["id"], "idle": 0.0, "node": m["name"]})
    return rows


def _time(text: str) -> datetime:
    """A time as the daemon writes it, with more digits than some versions of Python read."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text).replace("Z", "+00:00"))


NOTHING: Meta = {"worker_time_elapsed": 0.0, "worker_read_bytes": 0, "worker_write_bytes": 0, "worker_tasks": 0}


MAX_PAYLOAD = 10 << 20  # bytes


def _check_payload(func: Callable[[Any], Any]) -> None:
    n = len(pickled(func))
    if n > MAX_PAYLOAD:
        raise ValueError(
            f"the function has {n:,} bytes as a pickle, with what it refers to, and more than {MAX_PAYLOAD:,} are "
            "mostly a mistake: read large data in the function, or say skip_payload_check=True"
        )


_said: set[str] = set()


def _without_meaning(what: str, why: str) -> None:
    """Says once what has no meaning here."""
    if what not in _said:
        _said.add(what)
        warnings.warn(f"{what}: without meaning here, for {why}", stacklevel=3)
