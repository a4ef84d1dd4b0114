"""Notebooks that tests run from the first cell to the last, each in a kernel of its own, as a reader would."""

import asyncio
import signal
from collections import deque
from pathlib import Path

import nbformat
import zmq
from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient import NotebookClient
from traitlets import Type

EXAMPLES = Path(__file__).parents[1] / "examples" / "python"
LIMIT = 170  # seconds after which a cell counts as hanging: on a busy host some take half a minute
KILLED = 20  # seconds that a kernel may take to write where it is, and to end
MESSAGES = 12  # of the last ones, which are told of a cell that hangs


def run(name, folder):
    """Runs an example, and returns all that its cells show. Files are made in a folder."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "notebooks are kept without outputs"
    Runner(notebook, folder / "stacks.txt", resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    return [out for cell in notebook.cells for out in cell.get("outputs", ())]


class Hangs(Exception):
    """A cell does not end. It says where the kernel is, and what has come from it."""


class Channel(AsyncZMQSocketChannel):
    """A channel on which no message stays unseen while something is sent.

    A zmq.asyncio socket learns of a message by a descriptor that becomes readable once. jupyter_client 8.10 sends on
    the plain socket below, and that takes the sign away: a message that has come just before then waits in the socket,
    and nobody is told. nbclient sends while it waits for a cell's reply, when the cell prints into a widget, as rich's
    bars do: about once in thirty runs on a busy host such a notebook stood until the limit of its cell. Whoever asks
    the asyncio socket for its events has it hand out what is there.
    """

    def send(self, msg):
        super().send(msg)
        self.socket.get(zmq.EVENTS)


class _Client(AsyncKernelClient):
    shell_channel_class = Type(Channel)


class _Manager(AsyncKernelManager):
    client_factory = Type(_Client)


class Runner(NotebookClient):
    """Runs a notebook. A cell that hangs ends it, with what there is to be known of that."""

    def __init__(self, notebook, stacks, **options):
        # When it is killed by SIGABRT, the kernel writes there where each of its threads is.
        enable = f"__import__('faulthandler').enable(open({str(stacks)!r}, 'w'))"
        arguments = [f"--IPKernelApp.exec_lines={enable}"]
        super().__init__(notebook, kernel_manager_class=_Manager, extra_arguments=arguments, **options)
        self._stacks = stacks
        self._messages = deque(maxlen=MESSAGES)

    async def async_execute_cell(self, cell, cell_index, **options):
        return await self._limited(super().async_execute_cell(cell, cell_index, **options), f"cell {cell_index}")

    async def async_wait_for_reply(self, msg_id, cell=None):
        return await self._limited(super().async_wait_for_reply(msg_id, cell), "the kernel's word of itself")

    def process_message(self, msg, cell, cell_index):
        self._messages.append(f"{msg['msg_type']} {msg['content'].get('execution_state', '')}".strip())
        return super().process_message(msg, cell, cell_index)

    async def limit(self):
        """Returns when what runs has had its time."""
        await asyncio.sleep(LIMIT)

    async def _limited(self, running, what):
        task, limit = asyncio.ensure_future(running), asyncio.ensure_future(self.limit())
        await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
        limit.cancel()
        if task.done():
            return task.result()
        error = Hangs(f"{what} has not come to its end\n{await self._state()}")
        task.cancel()
        await asyncio.wait({task})
        task.exception()  # which is that its kernel has died
        raise error

    async def _state(self):
        """Where the kernel is, which it does not survive, and what has come from it."""
        channels = {"shell": self.kc.shell_channel, "iopub": self.kc.iopub_channel}
        waiting = [name for name, channel in channels.items() if await channel.msg_ready()]
        await self.km.signal_kernel(signal.SIGABRT)
        await asyncio.wait_for(self.km.provisioner.wait(), KILLED)
        return (
            f"messages wait unread on: {', '.join(waiting) or 'no channel'}\n"
            f"the last that were read on iopub: {', '.join(self._messages) or 'none'}\n"
            f"the kernel:\n{self._stacks.read_text()}"
        )
