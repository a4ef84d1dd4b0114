"""Drawings of what a map has done and when, with the interface of redis-htcondor's plotting. They need matplotlib."""

from typing import TYPE_CHECKING, Any, Callable, Sequence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..._map import Outcome

Results = Sequence["dict[str, Any] | Outcome[Any]"]
"""What ``Manager.remote_map`` returns with its metadata, or ``Client.remote_map`` does."""

LONG = 5  # standard deviations above the mean at which a task is drawn as one that took long


def plot_timeflow(results: Results, ax: "Axes | None" = None) -> "Axes":
    """Draws a line for each worker, with a bar for each task from its begin to its end in seconds, and returns the
    axes. Those that took far longer than the mean are red. The title has which part of the time workers were busy, and
    the mean times of tasks and between them. Clocks of hosts may differ by what they differ.

    Of no results it draws nothing but the axes.
    """
    tasks = _tasks(results)
    names = sorted({t["worker_name"] for t in tasks})
    ax = ax if ax is not None else _axes((15.0, min(max(3.0, len(names) / 12), 15.0)))
    ax.set_xlabel("time since start [s]")
    ax.set_ylabel("worker")
    if not tasks:
        return ax
    first, last = min(t["tstart"] for t in tasks), max(t["tstop"] for t in tasks)
    took = [t["tstop"] - t["tstart"] for t in tasks]
    mean = sum(took) / len(took)
    spread = (sum((x - mean) ** 2 for x in took) / len(took)) ** 0.5
    rows = {name: i for i, name in enumerate(names)}
    for long, colour in (False, "C0"), (True, "C3"):
        some = [t for t, x in zip(tasks, took) if (x > mean + LONG * spread) is long]
        ax.barh(
            [rows[t["worker_name"]] for t in some], [t["tstop"] - t["tstart"] for t in some],
            left=[t["tstart"] - first for t in some], height=0.9, color=colour, edgecolor="black", linewidth=0.3,
        )
    if len(names) <= 40:
        ax.set_yticks(range(len(names)), names)
    ax.set_xlim(0, max(last - first, 1e-9))
    busy = 100 * sum(took) / max((last - first) * len(names), 1e-9)
    gaps = _gaps(tasks)
    between = f", mean time between {1e3 * sum(gaps) / len(gaps):.1f} ms" if gaps else ""
    ax.set_title(f"{busy:.1f}% busy, mean task {1e3 * mean:.1f} ms{between}")
    return ax


def plot_cumulative_read(results: Results, ax: "Axes | None" = None) -> "Axes":
    """Draws how many GB were read, over the time in seconds, with a line through the middle half of the tasks whose
    slope is in the legend, and returns the axes."""
    return _cumulative(results, ax, lambda t: float(t["read_bytes"]) / 1e9, "read", "GB", "GB/s")


def plot_cumulative_events(results: Results, ax: "Axes | None" = None) -> "Axes":
    """Draws how many millions of events were processed, over the time in seconds, as plot_cumulative_read does.
    Arguments are chunks of ``utils.get_chunking``; a ValueError says if they are not."""
    for t in _tasks(results):
        args = t["args"]
        if not (isinstance(args, (tuple, list)) and len(args) >= 3):
            raise ValueError(f"the arguments of a task are {args!r}, and must be (file, first, last) to count events")
    return _cumulative(
        results, ax, lambda t: 0 if t.get("_failed") else (t["args"][2] - t["args"][1]) / 1e6, "processed", "Mevents", "MHz"
    )


def _cumulative(
    results: Results, ax: "Axes | None", of: Callable[[dict[str, Any]], float], what: str, unit: str, rate: str
) -> "Axes":
    tasks = sorted(_tasks(results), key=lambda t: float(t["tstop"]))
    ax = ax if ax is not None else _axes(None)
    ax.set_xlabel("time since start [s]")
    ax.set_ylabel(f"{unit} {what}")
    if not tasks:
        return ax
    first = min(t["tstart"] for t in tasks)
    xs, ys, total = [], [], 0.0
    for t in tasks:
        total += of(t)
        xs.append(t["tstop"] - first)
        ys.append(total)
    ax.step(xs, ys, where="post")
    n = len(xs)
    middle = slice(n // 4, n - n // 4)
    if n >= 4 and xs[middle][-1] > xs[middle][0]:
        slope, at = _line(xs[middle], ys[middle])
        ax.plot(xs[middle], [slope * x + at for x in xs[middle]], label=f"{slope:.3g} {rate}")
        ax.legend()
    ax.set_title(f"{total:.3g} {unit} {what} in {xs[-1]:.2f} s, {total / max(xs[-1], 1e-9):.3g} {rate}")
    return ax


def _line(xs: list[float], ys: list[float]) -> tuple[float, float]:
    """The slope and the ordinate at 0 of the line of least squares."""
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)
    return slope, y - slope * x


def _gaps(tasks: list[dict[str, Any]]) -> list[float]:
    """The times between the tasks of each worker."""
    last: dict[str, float] = {}
    out = []
    for t in sorted(tasks, key=lambda t: float(t["tstart"])):
        if t["worker_name"] in last:
            out.append(max(t["tstart"] - last[t["worker_name"]], 0.0))
        last[t["worker_name"]] = t["tstop"]
    return out


def _tasks(results: Results) -> list[dict[str, Any]]:
    """The metadata of results, without those that were lost, of which nobody knows when they ran."""
    out = []
    for r in results:
        t = r if isinstance(r, dict) else {
            "worker_name": r.worker, "tstart": r.start, "tstop": r.stop, "read_bytes": r.read_bytes, "args": r.item,
        }
        if t["worker_name"]:
            out.append(t)
    return out


def _axes(size: tuple[float, float] | None) -> "Axes":
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=size)
    return ax
