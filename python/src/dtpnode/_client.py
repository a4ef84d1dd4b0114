"""The way to the daemon of this user."""

from pathlib import Path
from typing import Any, Callable

from ._control import Control, socket_path, state_folder
from ._executor import Executor


class Client:
    """Talks to the daemon with the state folder ``state``: by default that of this user."""

    def __init__(self, state: str | Path | None = None) -> None:
        self.control = Control(socket_path(Path(state).absolute() if state is not None else state_folder()))

    def executor(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Executor:
        """An executor whose calls run on the nodes of the pool; see Executor."""
        return Executor(self.control, max_workers, initializer, initargs)

    def close(self) -> None:
        """Ends the connections to the daemon. Jobs go on."""
        self.control.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
