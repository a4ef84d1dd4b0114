"""Measures RDataFrame on dtpnode beside two threads of one process, and beside ROOT's own backend for Dask.

Each system has a process of its own, which stays, and is asked for one round after the other, in turn, so that what
else the host does meets all of them alike. The first round of each is not counted: it compiles, and starts what stays.
Printed are medians with minimum and maximum in seconds, and the ratio of the medians to that of two threads.

    python rdataframe.py [--events 4000000] [--rounds 5] [--files 8] [--state FOLDER] [--json FILE]

The interpreter needs ROOT, and dask with distributed if that is to be measured. FOLDER is the state folder of a daemon
with two slots, beside which nothing else should run; without it one is started for the time of the measurement.

The job is the spectrum of dimuons: events with two muons of opposite charge, their invariant mass, and a histogram.
Data are drawn by this script, with as many events as asked for.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SYSTEMS = ("two threads", "dtpnode", "dask")
THREADS = 2
ANSWER = "round: "  # begins the line with which a system answers


def made(folder: Path, events: int, files: int) -> list[str]:
    """Draws the data, in files of their own, and returns their names."""
    import ROOT

    ROOT.gInterpreter.Declare("""
        #include <TRandom3.h>
        ROOT::RVecF drawn(unsigned n, ULong64_t event, unsigned which) {
           TRandom3 random(1 + 4 * event + which);
           ROOT::RVecF out(n);
           for (auto &x : out)
              x = which == 0 ? 5 + random.Exp(20) : which == 1 ? random.Gaus(0, 1.2) : random.Uniform(-3.1416, 3.1416);
           return out;
        }""")
    names = []
    for f in range(files):
        name = str(folder / f"events-{f}.root")
        frame = ROOT.RDataFrame(events // files).Define("event", f"rdfentry_ + {f}ULL * {events // files}")
        frame = frame.Define("nMuon", "unsigned(event % 4)")
        for which, column in enumerate(("pt", "eta", "phi")):
            frame = frame.Define(f"Muon_{column}", f"drawn(nMuon, event, {which})")
        frame = frame.Define("Muon_mass", "ROOT::RVecF(nMuon, 0.1057f)")
        charges = "ROOT::RVecI out(nMuon, 1); for (unsigned i = event & 4; i < nMuon; i += 2) out[i] = -1; return out;"
        frame = frame.Define("Muon_charge", charges)
        columns = ["nMuon", "Muon_pt", "Muon_eta", "Muon_phi", "Muon_mass", "Muon_charge"]
        frame.Snapshot("Events", name, columns)
        names.append(name)
    return names


def spectrum(frame: Any) -> tuple[float, float]:
    """Entries and mean of the histogram."""
    frame = frame.Filter("nMuon == 2").Filter("Muon_charge[0] != Muon_charge[1]")
    frame = frame.Define("Dimuon_mass", "ROOT::VecOps::InvariantMass(Muon_pt, Muon_eta, Muon_phi, Muon_mass)")
    h = frame.Histo1D(("mass", "mass", 30000, 0.25, 300.0), "Dimuon_mass")
    return h.GetEntries(), h.GetMean()


def frames(system: str, state: str, files: list[str]) -> Any:
    """A function that makes the frame of a system, whose connection stays."""
    import ROOT

    if system == "two threads":
        ROOT.EnableImplicitMT(THREADS)
        return lambda: ROOT.RDataFrame("Events", files)
    if system == "dtpnode":
        import dtpnode

        if state:
            client = dtpnode.Client(state)
        else:
            cluster = dtpnode.LocalCluster(nodes=1, slots=THREADS)
            client = cluster.client()
        return lambda: dtpnode.RDataFrame("Events", files, executor=client)
    from dask.distributed import Client, LocalCluster

    client = Client(LocalCluster(n_workers=THREADS, threads_per_worker=1, processes=True, dashboard_address=None))
    return lambda: ROOT.RDataFrame("Events", files, executor=client)


def serve(system: str, state: str, files: list[str]) -> None:
    """Runs a round for each line that it is sent, and says how long it took and what came out."""
    frame = frames(system, state, files)
    for _ in sys.stdin:
        begin = time.perf_counter()
        entries, mean = spectrum(frame())
        print("\n" + ANSWER + json.dumps([time.perf_counter() - begin, entries, mean]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--state", default="")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--json", default="")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    args, files = parser.parse_known_args()
    if args.serve:
        serve(args.serve, args.state, files)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(args, made(Path(folder), args.events, args.files))


def measure(args: argparse.Namespace, files: list[str]) -> None:
    systems = args.systems.split(",")
    processes = {}
    for system in systems:
        command = [sys.executable, __file__, "--serve", system, "--state", args.state, *files]
        processes[system] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    took: dict[str, list[float]] = {system: [] for system in systems}
    seen: set[tuple[float, float]] = set()
    for r in range(args.rounds + 1):
        for system, p in processes.items():
            assert p.stdin is not None and p.stdout is not None
            p.stdin.write("\n")
            p.stdin.flush()
            line = p.stdout.readline()
            while line and not line.startswith(ANSWER):  # Something else that was printed there, such as a bar.
                line = p.stdout.readline()
            if not line:
                raise SystemExit(f"{system} has ended: see above")
            seconds, entries, mean = json.loads(line.removeprefix(ANSWER))
            seen.add((entries, round(mean, 6)))
            if r:
                took[system].append(seconds)
            else:
                print(f"{system}: first round {seconds:.1f} s", flush=True)
    for p in processes.values():
        assert p.stdin is not None
        p.stdin.close()
        p.wait()
    if len(seen) != 1:
        raise SystemExit(f"the systems do not agree: entries and means {sorted(seen)}")
    base = statistics.median(took[systems[0]])
    print(f"{args.events:,} events in {args.files} files, {args.rounds} rounds: {next(iter(seen))[0]:,.0f} dimuons")
    for system, all_of in took.items():
        median = statistics.median(all_of)
        print(f"{system:12s} {median:7.2f} s ({min(all_of):.2f} to {max(all_of):.2f})  {median / base:.2f}")
    if args.json:
        Path(args.json).write_text(json.dumps({"events": args.events, "files": args.files, "seconds": took}))


if __name__ == "__main__":
    main()
