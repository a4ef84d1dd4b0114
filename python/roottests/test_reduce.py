"""Objects of ROOT as values of calls, as arguments and as what a reduction adds."""

import subprocess
import sys

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
