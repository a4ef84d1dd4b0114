"""Which node has run an item before, so that the same item goes there again.

A table in the daemon's state folder remembers, for each item, the node that has run it last, and how long it took where
nothing of it was kept: the longest that it ever took, of which each later run takes off a tenth, so that one which was
slow for another reason is forgotten. So another process profits, on another day. It is a hint for the daemon that leads
the job: what is lost of it, or wrong, costs time alone.
"""

import contextlib
import sqlite3
import threading
import time
from pathlib import Path
from typing import Iterable, Mapping, NamedTuple

ITEMS = 200_000  # that are remembered
LEAST = 0.01  # seconds that an item must take to be worth a hint
FADES = 0.9  # what is left of the longest time by each run
WAIT = 1.0  # seconds for which another process may hold the table

_TABLE = """
CREATE TABLE IF NOT EXISTS ran (
    item BLOB PRIMARY KEY, node TEXT NOT NULL, cost REAL NOT NULL, at REAL NOT NULL
) WITHOUT ROWID
"""


class Near(NamedTuple):
    """Where an item is faster than elsewhere."""

    node: str  # its id
    cost: float  # how many seconds it takes elsewhere


class Ran(NamedTuple):
    """What is to be remembered of an item."""

    item: bytes  # its fingerprint
    node: str
    seconds: float


class Affinity:
    """The table of one daemon. Threads and processes may share it."""

    def __init__(self, state: Path) -> None:
        self._path = state / "affinity.sqlite"
        self._lock = threading.Lock()

    def _open(self) -> sqlite3.Connection:
        table = sqlite3.connect(self._path, timeout=WAIT, isolation_level=None)
        table.execute("PRAGMA journal_mode=WAL")
        table.execute("PRAGMA synchronous=OFF")  # What a power cut takes is but a hint.
        table.execute(_TABLE)
        return table

    def near(self, items: Iterable[bytes]) -> Mapping[bytes, Near]:
        """The nodes that are faster with some of the items."""
        found: dict[bytes, Near] = {}
        if not self._path.exists():
            return found
        with self._lock, contextlib.suppress(sqlite3.Error), contextlib.closing(self._open()) as table:
            for item in items:
                row = table.execute("SELECT node, cost FROM ran WHERE item = ?", (item,)).fetchone()
                if row is not None and row[1] >= LEAST:
                    found[item] = Near(*row)
        return found

    def note(self, ran: Iterable[Ran]) -> None:
        """Remembers where items have run: an item that another node has run is that one's from now on. Of those that
        were too short to be worth a hint what was known stays."""
        worth = [r for r in ran if r.seconds >= LEAST]
        if not worth:
            return
        with self._lock:
            try:
                self._note(worth)
            except sqlite3.DatabaseError as e:
                if isinstance(e, sqlite3.OperationalError):  # It is locked, or there is no room.
                    return
                with contextlib.suppress(OSError):  # It is damaged.
                    self._path.unlink()

    def _note(self, ran: list[Ran]) -> None:
        now = time.time()
        with contextlib.closing(self._open()) as table:
            table.execute("BEGIN IMMEDIATE")
            table.executemany(
                "INSERT INTO ran VALUES (?, ?, ?, ?) ON CONFLICT (item) DO UPDATE SET cost = max(cost * ?, "
                "excluded.cost), node = excluded.node, at = excluded.at",
                [(r.item, r.node, r.seconds, now, FADES) for r in ran],
            )
            (n,) = table.execute("SELECT count(*) FROM ran").fetchone()
            if n > ITEMS:
                table.execute(
                    "DELETE FROM ran WHERE item IN (SELECT item FROM ran ORDER BY at LIMIT ?)", (n - ITEMS * 9 // 10,)
                )
            table.execute("COMMIT")
