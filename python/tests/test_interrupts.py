"""What a Ctrl-C outside of a with block does to an executor: what it says, and that the next one leaves."""

import signal
import subprocess
import sys
from pathlib import Path

ROUNDS, SWEEP = 900, 300  # SWEEP is microseconds, about as long as a submit takes

SCRIPT = """
import pathlib, sys, time, dtpnode

def wait(started, gate):
    import os, time
    open(started, "w").close()
    while not os.path.exists(gate):
        time.sleep(0.01)

pool = dtpnode.Client(sys.argv[1]).executor()
future = pool.submit(wait, sys.argv[2], sys.argv[3])
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
print(pool.name, flush=True)
future.result()
"""


def test_twice(client, tmp_path):
    args = [str(client.state), str(tmp_path / "started"), str(tmp_path / "gate")]
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    name = program.stdout.readline().strip()
    program.send_signal(signal.SIGINT)
    said = ""
    while f"waiting for 1 call of session {name[:12]}: Ctrl-C cancels" not in said:
        line = program.stderr.readline()
        assert line, said
        said += line
    # Once, unless the signal came before anybody waited, when the program's end alone tells it.
    assert said.count(f"interrupted: session {name[:12]} goes on with 1 call; ") <= 1
    assert f"client.attach({name[:12]!r}) has their futures in another process" in said
    assert said.count("Traceback") == 1 and "KeyboardInterrupt" in said
    program.send_signal(signal.SIGINT)
    _, rest = program.communicate(timeout=900)
    assert program.returncode == -signal.SIGINT and rest == "cancelled 1 call\n", rest
    assert client.job(name).wait(120)["state"] == "cancelled"
    assert not Path(args[2]).exists()


def test_in_submit(pool):
    """Whatever a KeyboardInterrupt has cut short, the executor goes on, and its end is not waited for for ever."""
    armed, cut = False, 0

    def interrupt(_number, _frame):
        if armed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for n in range(ROUNDS):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + n % SWEEP))
                pool.submit(abs, -n)
                armed = False
            except KeyboardInterrupt:
                armed = False
                cut += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert pool.submit(abs, -n).result(60) == n
    finally:
        signal.signal(signal.SIGALRM, before)
    assert cut, "nothing was interrupted"
