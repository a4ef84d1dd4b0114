"""Measures how long the ElementLinks of a DAOD_PHYSLITE file take to become arrays, here and on the pool.

    python links.py PHYSLITE [--rounds 7] [--binary PATH]

PHYSLITE is a file of that format, such as PHYSLITE_example.root of coffea's repository (tests/samples). The interpreter
needs uproot and awkward, beside this package. PATH is the dtpnode program that a cluster of one daemon is started with,
the installed one by default.

Links are stored as C++ objects. uproot reads them with a program in AwkwardForth, which it makes when it reads a branch
for the first time, or as objects in Python. Each round does it in this process and in one of the pool, in turn, so that
what else the host does meets both alike. Printed are medians. Objects in Python are made once.
"""

import argparse
import statistics
import time

import dtpnode

LINKS = [
    "AnalysisElectronsAuxDyn.trackParticleLinks",
    "AnalysisElectronsAuxDyn.caloClusterLinks",
    "AnalysisJetsAuxDyn.GhostTrack",
]


def arrays(path: str) -> tuple[int, float, float]:
    """How many links there are, and the seconds that it takes to make arrays of them: at first, and afterwards, when
    the program that reads them is there. The least of five readings is what the host disturbs least."""
    import awkward as ak
    import uproot

    with uproot.open({path: "CollectionTree"}, array_cache=None) as tree:
        took = []
        for _ in range(6):
            begin = time.perf_counter()
            links = sum(int(ak.count(tree[name].array().m_persIndex, axis=None)) for name in LINKS)
            took.append(time.perf_counter() - begin)
    return links, took[0], min(took[1:])


def objects(path: str) -> float:
    """The seconds that it takes to make objects in Python of the same links."""
    import uproot

    with uproot.open({path: "CollectionTree"}) as tree:
        begin = time.perf_counter()
        for name in LINKS:
            tree[name].array(library="np")
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="PHYSLITE")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--binary")
    options = parser.parse_args()
    with dtpnode.LocalCluster(nodes=1, slots=1, binary=options.binary) as cluster, cluster.client() as client:
        with client.executor(output=None) as pool:
            ways = {"here": arrays, "on the pool": lambda path: pool.submit(arrays, path).result()}
            took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, way in ways.items():
                    links, first, then = way(options.path)
                    took[name].append((first, then))
    print(f"{links:,} links")
    for name, times in took.items():
        first, then = (1000 * statistics.median(t) for t in zip(*times))
        print(f"{name:12} {then:7.1f} ms, {first:.1f} ms at first")
    print(f"as objects   {1000 * objects(options.path):7.1f} ms")


if __name__ == "__main__":
    main()
