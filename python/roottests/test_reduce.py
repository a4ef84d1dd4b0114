"""Objects of ROOT as values of calls, as arguments and as what a reduction adds."""

import subprocess
import sys
import threading

import ROOT


def test_histograms_are_added(client):
    """Processes that merge have not used ROOT before, and neither has the one that gets the total."""
    given = ROOT.TH1D("given", "", 10, 0, 10)
    given.Fill(3)

    def fill(n, given):
        import ROOT

        h = ROOT.TH1D("h", "", 10, 0, 10)
        h.SetDirectory(ROOT.nullptr)
        h.Fill(n % 10)
        found = ROOT.RDataFrame(5).Histo1D(("r", "", 10, 0, 10), "rdfentry_").GetValue()
        return {"h": h, "r": found, "given": given.GetEntries()}

    def add(a, b):
        a["h"].Add(b["h"])
        a["r"].Add(b["r"])
        return {**a, "given": a["given"] + b["given"]}

    total = client.reduce(fill, range(4), [given] * 4, op=add)
    found = total.result()
    assert [found["h"].GetEntries(), found["r"].GetEntries(), found["given"]] == [4, 20, 4]
    script = "import sys, dtpnode; print(dtpnode.Client(sys.argv[1]).reduction(sys.argv[2]).result()['h'].GetEntries())"
    other = [sys.executable, "-c", script, str(client.state), total.name]
    assert subprocess.run(other, capture_output=True, text=True, check=True).stdout.strip() == "4.0"


class Reader:
    """Becomes the name of the thread that reads it."""

    def __reduce__(self):
        return getattr, (_Current(), "name")


class _Current:
    def __reduce__(self):
        return threading.current_thread, ()


def test_results_are_made_where_they_are_asked_for(client):
    """ROOT is not for several threads at once: while this one does something with it, no other makes its objects."""

    def fill(n):
        import ROOT

        h = ROOT.TH1D("h", "", 10, 0, 10)
        h.SetDirectory(ROOT.nullptr)
        h.Fill(n)
        return Reader(), h

    with client.executor() as pool:
        submitted, here = pool.submit(fill, 3), threading.current_thread().name
        for name, h in [submitted.result(), *pool.map(fill, range(2))]:
            assert (name, h.GetEntries()) == (here, 1)
        assert pool.submit(lambda: Reader()).result() != here, "what has no ROOT is there when its future is done"
