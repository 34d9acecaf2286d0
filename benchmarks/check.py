"""Has an update become slower? Ratios to BlackJAX and to a bare gradient, against committed ones.

    uv run --extra bench python benchmarks/check.py            # some minutes on two cores
    uv run --extra bench python benchmarks/check.py --write    # commits to what it finds: see below

Both engines, BlackJAX and a plain loop over the gradient (`peers/gradient.py`) take turns in every
round, each in a process of its own, on the posteriors of `compare.py`; a ratio is that of updates
in a second of the processor's time, all threads added up, the median over the rounds: the clock's
seconds tell of what else the machine does, too. The exit status is 1 where one is lower than the
committed one (`check.json`) by more than the tolerance there, and 2 where BlackJAX is missing. A
ratio that regresses is measured once more, in new processes, before it counts.

Write `check.json` anew after a change that was meant to change speed, on a machine that does
nothing else, and say in the commit why ratios fell.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import measured
import numpy as np
import workloads
from compare import Cell
from peers.workers import PEERS, why_absent
from ratios import HEADINGS, judge, key

CASES = (
    ("logistic", 1, "sgnht"),
    ("logistic", 4, "sgld"),
    ("digits-32", 1, "atmc"),  # beside the gradient alone: BlackJAX has no ATMC
    ("digits-128", 4, "sgnht"),
)
COMMITTED = Path(__file__).with_name("check.json")
TOLERANCE = 0.3
INSTALL = (
    "{reason}. Type `uv run --extra bench python benchmarks/check.py`, which brings BlackJAX, or "
    "name a Python that has it: PEER_BLACKJAX_PYTHON=/path/to/python."
)


def measure(case: tuple[str, int, str], a: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the ratios of a case; those of programs that fail are left out."""
    name, chains, sampler = case
    peers = ("ours-numba", "ours-jax", "blackjax")
    rows = [(peer, sampler) for peer in peers if sampler in PEERS[peer].samplers]
    if chains == 1:
        rows += [("gradient-numba", "gradient"), ("gradient-jax", "gradient")]
    with tempfile.TemporaryDirectory() as folder:
        workload, path = workloads.WORKLOADS[name](), Path(folder) / f"{name}.npz"
        workloads.save(workload, path)
        cell = Cell(path, workload, chains, a)
        try:
            for row in rows:
                cell.start(row)
            cell.measure()
            for worker in cell.workers.values():
                a.versions |= worker.versions
        finally:
            cell.close()
    for row, reason in cell.failed.items():
        print(f"{name}, {chains} chains, {' '.join(row)} failed: {reason}", file=sys.stderr)
    found = []
    for engine in ("numba", "jax"):
        ours = (f"ours-{engine}", sampler)
        for peer in (("blackjax", sampler), (f"gradient-{engine}", "gradient")):
            if ours in cell.runs and peer in cell.runs:
                ratio = np.median(costs(cell, peer) / costs(cell, ours))
                against = peer[0].split("-")[0]
                told = dict(zip(("workload", "chains", "sampler"), case, strict=True))
                told |= {"engine": engine, "against": against}
                found.append(told | {"ratio": measured.rounded(ratio, 3)})
    return found


def costs(cell: Cell, row: tuple[str, str]) -> np.ndarray:
    """Give the processor's seconds for an update, of all threads, by round."""
    return np.array([run["cpu"] / run["updates"] for run in cell.runs[row]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one run, at least")
    parser.add_argument("--write", action="store_true", help="commit to the ratios of this run")
    parser.set_defaults(cold=False, fresh=False, threads=measured.machine()["cores"])
    parser.set_defaults(note=None, versions={})
    a = parser.parse_args()
    if reason := why_absent(PEERS["blackjax"]):
        print(INSTALL.format(reason=reason), file=sys.stderr)
        sys.exit(2)
    found = [row for case in CASES for row in measure(case, a)]
    if a.write:
        a.json = COMMITTED
        measured.save(a, found, tolerance=TOLERANCE, rounds=a.rounds, versions=a.versions)
        return
    committed = json.loads(COMMITTED.read_text())
    expected, tolerance = committed["rows"], committed["tolerance"]
    again = {
        key(row)[:3]
        for row, judged in zip(expected, judge(found, expected, tolerance), strict=True)
        if judged.regressed
    }
    better = {key(row): row for row in found}
    for case in CASES:
        for row in measure(case, a) if case in again else ():
            before = better.get(key(row), row)
            better[key(row)] = max(before, row, key=lambda r: r["ratio"])
    results = judge(list(better.values()), expected, tolerance)
    print(HEADINGS, *results, sep="\n")
    if any(judged.regressed for judged in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
