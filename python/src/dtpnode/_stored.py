"""What stands for a value that nodes keep."""

from typing import Any

from . import _graphrun


class Stored:
    """A value that nodes keep, of a graph that was persisted. It is sent to other processes as where the value is."""

    def __init__(self, job: str, unit: int, slot: int, key: Any, token: Any = None) -> None:
        self.job, self.unit, self.slot, self.key = job, unit, slot, key
        self.token = token  # that somebody in this process needs the unit's values; None where that is not known
        self.place: tuple[str, int] | None = None  # the id of a node that has it, and its bytes, once that is known

    def where(self, job: str) -> _graphrun.Where:
        """Where it is, for units of a job."""
        return (self.unit, self.slot) if job == self.job else (self.unit, self.slot, self.job)

    def __reduce__(self) -> Any:
        return _graphrun.stored, (self.job, self.unit, self.slot, self.key)

    def __dask_tokenize__(self) -> Any:
        return "dtpnode-stored", self.job, self.unit, self.slot

    def __repr__(self) -> str:
        return f"<dtpnode: the value of the task {self.key!r}, in the job {self.job[:12]}>"
