"""The examples as notebooks, each run from its first cell to its last in a kernel of its own, as a reader would."""

import asyncio
import os
import select

import nbformat
import pytest
import zmq.asyncio
from jupyter_client.session import Session

import notebooks
import sdist
from notebooks import EXAMPLES

WITH_ROOT = ("treeplayer.ipynb",)  # which roottests runs
OFTEN = ("coffea.ipynb", "futures.ipynb")  # which run every day
END = 60  # seconds after which what hangs is ended


@pytest.mark.parametrize("name", [
    pytest.param(p.name, marks=[] if p.name in OFTEN else pytest.mark.long)
    for p in sorted(EXAMPLES.glob("*.ipynb")) if p.name not in WITH_ROOT
])
def test_notebook(name, cache, tmp_path, monkeypatch):
    for folder in ("DTPNODE_STATE", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):  # No daemon runs there.
        monkeypatch.setenv(folder, str(tmp_path / folder))
    monkeypatch.setenv("DTPNODE_CACHE", cache)
    samples = os.environ.get("DTPNODE_SAMPLES") or EXAMPLES.parents[2] / "shared" / "data"  # real data, where there are
    monkeypatch.setenv("NANOAOD", f"{samples}/nano*.root")
    monkeypatch.setenv("PHYSLITE", str(sdist.coffea() / "tests" / "samples" / "PHYSLITE_example.root"))
    shown = notebooks.run(name, tmp_path)
    assert any("image/png" in out.get("data", {}) for out in shown), "there is a plot"
    said = [line for out in shown if out.get("name") == "stderr" for line in out["text"].splitlines()]
    slow = "dtpnode: loading "  # which is said of a node that takes its time, as those of a busy host do
    assert not [line for line in said if not line.startswith(slow)], "nothing is warned of"


def test_there_are_notebooks():
    assert list(EXAMPLES.glob("*.ipynb"))


def test_a_reply_that_comes_while_something_is_sent():
    """It is read, also if nothing else ever comes: the notebook that waits for it would stand."""

    async def both():
        with zmq.asyncio.Context() as context, context.socket(zmq.PAIR) as here:
            here.bind("inproc://pair")
            with zmq.Context.shadow(context.underlying).socket(zmq.PAIR) as there:
                there.connect("inproc://pair")
                session = Session(key=b"")
                waits = asyncio.ensure_future(notebooks.Channel(here, session).get_msg())
                await asyncio.sleep(0)  # so that it does
                session.send(there, "execute_reply")
                assert select.select([here.FD], [], [], END)[0], "the reply is there, and the loop has not seen it"
                notebooks.Channel(here, session).send(session.msg("comm_msg"))
                return await asyncio.wait_for(waits, END)

    assert asyncio.run(both())["msg_type"] == "execute_reply"


def test_a_cell_that_hangs(tmp_path):
    """It ends the notebook with where the kernel is, and with what has come from it."""

    class Once(notebooks.Runner):
        begun = None

        async def limit(self):
            self.begun = asyncio.Event()
            await self.begun.wait()

        def output(self, *about):
            self.begun.set()
            return super().output(*about)

    cell = nbformat.v4.new_code_cell(
        "import threading\n\ndef stands():\n    print('begun', flush=True)\n    threading.Event().wait()\n\nstands()"
    )
    with pytest.raises(notebooks.Hangs) as raised:
        Once(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "stacks.txt").execute()
    told = str(raised.value)
    assert told.startswith("cell 0 has not come to its end\nmessages wait unread on: no channel\n")
    assert "status busy, execute_input, stream\n" in told and " in stands\n" in told and "zmq" in told
