"""Updates per second of this package beside its peers', on the same posteriors, in one run.

Each peer is a process of its own that compiles and then waits; in every round each is asked in
turn, the order rotating, to run for a second or so while the others sleep. Same data, model, batch
size, dtype (float32), chains and cores for all; every peer first shows that its gradient is that
of the same posterior. Installs nothing: peers that this Python has not are looked for where
PEER_BLACKJAX_PYTHON, PEER_POSTERIORS_PYTHON and PEER_SGMCMCJAX_PYTHON say, or ``--python``.

    python benchmarks/compare.py                                       # all of it: an hour or two
    python benchmarks/compare.py --workloads logistic --chains 1 4     # some minutes
    python benchmarks/compare.py --python posteriors=/path/to/python --peers ours-numba posteriors

"import+compile" is from the start of the process to the first block of draws, without the seconds
that a block takes; what packages keep on disk is warm, unless ``--cold``. CPU time is that of all
threads, peak memory that of the process. "ours/it" is what the better of our engines does in the
same round over what this row does. Numba takes one core for each chain, XLA and PyTorch all they
are given. MNIST needs PYMC_SGMCMC_DATA, the folder that has images/mnist.npz. ``--json FILE``
writes the rows with their origin (``measured.py``), medians of the rounds' ratios among them.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import measured
import numpy as np
import workloads
from measured import rounded
from peers.workers import PEERS, Worker, why_absent
from workloads import Workload

Row = tuple[str, str]  # peer and sampler
PAUSE = 0.3  # seconds in which the threads of the last process fall asleep
TOLERANCE = 1e-3  # of a gradient in float32, over all rows


def environment(threads: int, cold: str | None) -> dict[str, str]:
    one_number = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
    variables = {f"{library}_NUM_THREADS": str(threads) for library in one_number}
    variables |= {"JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"}
    variables |= {"JAX_TRACEBACK_FILTERING": "off"}
    if cold is not None:
        variables |= {"NUMBA_CACHE_DIR": cold, "PYTENSOR_FLAGS": f"base_compiledir={cold}"}
    return variables


def busy_seconds() -> float:
    """CPU time that all processes of the machine have taken, 0 where nothing tells."""
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return 0.0
    user, nice, system, _, _, *interrupts = map(int, statistics.read_text().split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def fits(name: str, workload: str, chains: int) -> bool:
    return chains <= PEERS[name].max_chains and not (workload == "mnist" and chains > 4)


class Cell:
    """All rows of one workload and one number of chains, measured in turn."""

    def __init__(self, path: Path, workload: Workload, chains: int, a: argparse.Namespace) -> None:
        self.path, self.workload, self.chains, self.a = path, workload, chains, a
        self.workers: dict[Row, Worker] = {}
        self.startups: dict[Row, list[float]] = {}
        self.runs: dict[Row, list[dict]] = {}
        self.failed: dict[Row, str] = {}
        self.others: list[float] = []

    def start(self, row: Row) -> None:
        """Start the process of a peer and sampler, and wait for its first draws."""
        name, sampler = row
        print(f"{self.workload.name}, {self.chains} chains: {name} {sampler}", file=sys.stderr)
        cold = tempfile.mkdtemp(dir=self.path.parent) if self.a.cold else None
        try:
            variables = environment(self.a.threads, cold)
            worker = Worker(PEERS[name], self.path, sampler, self.chains, variables)
        except RuntimeError as error:
            self.failed[row] = str(error)
            return
        self.workers[row] = worker
        self.startups.setdefault(row, []).append(worker.startup)

    def measure(self) -> None:
        """Ask all of them in turn, as often as there are rounds."""
        rows = list(self.workers)
        for number in range(self.a.rounds if rows else 0):
            turn = number % len(rows)
            for row in rows[turn:] + rows[:turn]:
                if self.a.fresh and number:
                    self.workers.pop(row).close()
                    self.start(row)
                if row not in self.failed:
                    self.measure_one(row)

    def measure_one(self, row: Row) -> None:
        """Ask one of them, and see how busy other processes keep the machine meanwhile."""
        time.sleep(PAUSE)
        busy = busy_seconds()
        try:
            run = self.workers[row].ask("time", self.a.seconds)
        except RuntimeError as error:
            self.failed[row] = str(error)
            self.workers.pop(row).close()
            self.runs.pop(row, None)
            return
        others = busy_seconds() - busy - run["cpu"]
        self.others.append(max(0.0, others) / run["seconds"])
        self.runs.setdefault(row, []).append(run)

    def check(self, checked: dict[str, float]) -> None:
        """Errors of the peers' gradients, once for each peer."""
        for (name, _), worker in self.workers.items():
            if name not in checked:
                checked[name] = worker.ask("check")["gradient_error"]

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers.values():
            worker.close()

    def speeds(self, row: Row) -> np.ndarray:
        """Updates per second of all chains, by round."""
        return np.array([run["updates"] / run["seconds"] for run in self.runs[row]])

    def best(self, sampler: str) -> Row | None:
        """Our faster engine."""
        ours = [row for row in self.runs if row[0].startswith("ours") and row[1] == sampler]
        return max(ours, key=lambda row: np.median(self.speeds(row)), default=None)

    def print(self) -> None:
        """Print the table of this cell."""
        w = self.workload
        print(
            f"\n{w.name}: {w.size:,} parameters, batches of {w.batch_size} of {len(w.X):,} rows, "
            f"float32, chains: {self.chains}, cores: {self.a.threads}\n"
            f"median (range) of {self.a.rounds} rounds, in which other processes took "
            f"{np.median(self.others or 0):.2f} cores, {max(self.others, default=0):.2f} at most\n"
            f"{'':24}{'updates/s per chain':>28}{'in total':>10}{'CPU µs':>9}"
            f"{'import+compile s':>18}{'peak MB':>9}{'ours/it':>19}"
        )
        for row in sorted(self.runs, key=lambda row: row[1]):
            runs, speed = self.runs[row], self.speeds(row)
            cpu = [1e6 * run["cpu"] / run["updates"] for run in runs]
            best = self.best(row[1])
            ratio = "" if best is None else spread(self.speeds(best) / speed, ".2f")
            finite = all(run["finite"] for run in runs)
            print(
                f"{row[1]:9}{row[0]:15}{spread(speed / self.chains, ',.0f'):>28}"
                f"{np.median(speed):10,.0f}{np.median(cpu):9,.1f}"
                f"{spread(self.startups[row], '.1f'):>18}{runs[-1]['peak']:9,.0f}{ratio:>19}"
                f"{'' if finite else '   NOT FINITE'}"
            )
        for row, error in self.failed.items():
            print(f"{row[1]:9}{row[0]:15} failed: {error}")

    def record(self) -> list[dict]:
        """Rows of a file, one for each peer and sampler."""
        rows = []
        for row in self.runs:
            speeds, blackjax = self.speeds(row), ("blackjax", row[1])
            told = {
                "workload": self.workload.name,
                "chains": self.chains,
                "peer": row[0],
                "sampler": row[1],
                "updates_per_second": rounded(np.median(speeds)),
                "rounds": [rounded(speed) for speed in speeds],
                "cpu_us": rounded(
                    np.median([1e6 * run["cpu"] / run["updates"] for run in self.runs[row]])
                ),
                "startup_s": rounded(np.median(self.startups[row])),
                "peak_mb": round(self.runs[row][-1]["peak"]),
            }
            if blackjax in self.runs and row != blackjax:
                told["over_blackjax"] = rounded(np.median(speeds / self.speeds(blackjax)))
            rows.append(told)
        return rows


def spread(values, form: str) -> str:
    low, middle, high = np.min(values), np.median(values), np.max(values)
    if len(values) == 1:
        return format(middle, form)
    return f"{middle:{form}} ({low:{form}}-{high:{form}})"


def summary(cells: dict[tuple[str, int], Cell]) -> None:
    """Ratios that matter: to BlackJAX, of four chains to one, and between samplers."""
    print("\nIn short (median of the rounds' ratios)")
    for (workload, chains), cell in cells.items():
        for sampler in ("sgld", "sgnht"):
            best, peer = cell.best(sampler), ("blackjax", sampler)
            if best is None or peer not in cell.runs:
                continue
            against = cell.speeds(peer)
            text = f"{best[0]} {np.median(cell.speeds(best) / against):.2f}x"
            jax = ("ours-jax", sampler)
            if jax in cell.runs and jax != best:
                text += f", ours-jax {np.median(cell.speeds(jax) / against):.2f}x"
            print(f"{workload:11}{chains:3} chains {sampler:6} over blackjax: {text}")
    for (workload, chains), cell in cells.items():
        single = cells.get((workload, 1))
        for row in cell.runs if single and chains > 1 else ():
            if row[0].startswith("ours") and row in single.runs:
                ratio = np.median(cell.speeds(row)) / np.median(single.speeds(row))
                print(
                    f"{workload:11}{chains:3} chains {' '.join(row)} over one chain: {ratio:.2f}x"
                )
    for (workload, chains), cell in cells.items():
        for name, sampler in cell.runs if chains == 1 else ():
            if not name.startswith("ours") or sampler == "sgld":
                continue
            backend, costs = name.removeprefix("ours-"), []
            for other in ((name, "sgld"), (f"gradient-{backend}", "gradient")):
                if other in cell.runs:
                    ratio = np.median(cell.speeds(other) / cell.speeds((name, sampler)))
                    what = "SGLD updates" if other[1] == "sgld" else "bare gradients"
                    costs.append(f"{ratio:.2f} {what}")
            if costs:
                print(f"{workload:11}{name} {sampler}: an update costs {', '.join(costs)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = list(workloads.WORKLOADS)
    parser.add_argument("--workloads", nargs="+", default=names, choices=names)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--samplers", nargs="+", default=["sgld", "sgnht", "atmc", "gradient"])
    parser.add_argument("--chains", nargs="+", type=int, default=[1, 4, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one run, at least")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    parser.add_argument("--threads", type=int, default=len(cores) or os.cpu_count())
    parser.add_argument("--python", nargs="+", default=[], metavar="PEER=PATH")
    parser.add_argument("--fresh", action="store_true", help="a new process in every round")
    parser.add_argument("--cold", action="store_true", help="with empty caches on disk")
    measured.add_arguments(parser)
    a = parser.parse_args()
    for assignment in a.python:
        name, path = assignment.split("=")
        os.environ[PEERS[name].variable] = path
    if cores:
        os.sched_setaffinity(0, cores[: a.threads])  # the peers' processes inherit it

    started = time.time()
    print(f"{platform.platform()}, {a.threads} of {os.cpu_count()} cores")
    absent = {name: why_absent(PEERS[name]) for name in a.peers}
    for name, reason in absent.items():
        if reason:
            print(f"{name} is left out: {reason}.")
    print("numpyro is left out: it has no stochastic-gradient sampler; see efficiency.py.")
    there = [name for name in a.peers if not absent[name]]
    cells, versions = {}, {}
    for name in a.workloads:
        if reason := workloads.missing(name):
            print(f"\n{name} is left out: {reason}.")
            continue
        with tempfile.TemporaryDirectory() as folder:
            workload, path = workloads.WORKLOADS[name](), Path(folder) / f"{name}.npz"
            workloads.save(workload, path)
            checked: dict[str, float] = {}
            for chains in a.chains:
                rows = [
                    (peer, sampler)
                    for sampler in a.samplers
                    for peer in there
                    if sampler in PEERS[peer].samplers and fits(peer, name, chains)
                ]
                if not rows:
                    print(f"\n{name} with {chains} chains is left out: a minute for each draw.")
                    continue
                cell = cells[name, chains] = Cell(path, workload, chains, a)
                try:
                    for row in rows:
                        cell.start(row)
                    cell.measure()
                    cell.check(checked)
                finally:
                    cell.close()
                versions |= {p: w.versions for (p, _), w in cell.workers.items()}
                cell.print()
        wrong = {peer: error for peer, error in checked.items() if not error < TOLERANCE}
        print(
            f"Gradients against NumPy's, relative: "
            f"{', '.join(f'{peer} {error:.0e}' for peer, error in checked.items())}"
            f"{': NOT THE SAME POSTERIOR' if wrong else ', the same posterior'}"
        )
    summary(cells)
    for peer, of_peer in versions.items():
        print(f"{peer}: {', '.join(f'{k} {v}' for k, v in of_peer.items())}")
    print(f"{time.time() - started:.0f} s; load averages {os.getloadavg()}")
    measured.save(
        a,
        [row for cell in cells.values() for row in cell.record()],
        versions={k: v for of_peer in versions.values() for k, v in of_peer.items()},
        rounds=a.rounds,
        other_processes_cores=rounded(
            np.median([x for cell in cells.values() for x in cell.others] or [0]), 2
        ),
    )


if __name__ == "__main__":
    main()
