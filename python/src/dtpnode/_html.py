"""What notebooks show of a client and of a cluster."""

from html import escape
from typing import Any

from ._control import Control
from ._errors import Error

JOBS = 10  # that are shown, the newest


def overview(title: str, control: Control) -> str:
    """Members, slots, runtimes and jobs, as the daemon knows them now. An error is shown in their place."""
    try:
        status = control.call("GET", "/v1/status")
        members: list[dict[str, Any]] = control.call("GET", "/v1/members")
        jobs: list[dict[str, Any]] = control.call("GET", "/v1/jobs?at-once") or []
    except Error as e:
        return f"<p><b>dtpnode.{title}</b></p><pre>{escape(str(e))}</pre>"
    slots = sum(m["slots"] for m in members if m["up"])
    head = f"<p><b>dtpnode.{title}</b> at node {escape(status['name'])}: {counted(members, slots)}</p>"
    hosts = [[m["name"], "up" if m["up"] else "away", m["slots"], ", ".join(map(runtime, m.get("runtimes") or ()))]
             for m in members]
    newest = sorted(jobs, key=lambda j: str(j["submitted"]), reverse=True)[:JOBS]
    work = [[short(j["id"]), j["title"], j["state"], f"{j['done']:,} of {j['units']:,}", f"{j['seconds']:.1f} s"]
            for j in newest]
    out = head + table(["node", "state", "slots", "runs"], hosts)
    return out + (table(["job", "title", "state", "done", "time"], work) if work else "")


def counted(members: list[dict[str, Any]], slots: int) -> str:
    up = sum(bool(m["up"]) for m in members)
    return f"{up} of {len(members)} nodes up, {slots} slots"


def runtime(r: dict[str, Any]) -> str:
    return f"{r['kind']} {r['version']}" + (f" ({r['problem']})" if r.get("problem") else "")


def short(job: str) -> str:
    """The beginning of a job's name, which stands for it in commands."""
    return job[:8]


def table(head: list[str], rows: list[list[Any]]) -> str:
    def row(cells: list[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(c))}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + row(head, "th") + "".join(row(r, "td") for r in rows) + "</table>"
