"""Regressions with thousands of effects, ours beside nutpie, each run in a process of its own.

Ours is ``pm.sample(step=ATMC(batch_size=...))`` with a seed and 4 chains and nothing else; nutpie
is ``pm.sample(nuts_sampler="nutpie")`` with the same. One JSON line is written for each run that is
finished, and a command that was stopped goes on where it was; ``--json FILE`` has those that are
finished with their origin, for docs/figures.

    uv run --extra bench python -m benchmarks.hierarchies                     # gaussian, by both
    uv run python -m benchmarks.hierarchies --groups 200 2000 20000 --methods ours
    uv run --extra bench python -m benchmarks.hierarchies --cases logit poisson --reference
    uv run python -m benchmarks.hierarchies --methods ours "friction 0.9" "scale alone"
    uv run python -m benchmarks.hierarchies --cases choice --methods "independent batches"
    uv run python -m benchmarks.hierarchies --table                           # what is finished

Cases: ``gaussian``, varying intercepts, whose answer is exact (``effects/collapsed.py``);
``logit``, varying intercepts and a slope; ``poisson``, two crossed factors; ``negative_binomial``,
a million sales by store and item; ``choice``, a random-coefficient logit. What the last four are
held against is a run of nutpie with another seed, which ``--reference`` makes first and keeps
beside the output if its chains agree; without one, errors are left out. References of crossed
factors are made in coordinates in which NUTS mixes (``effects/crossed.py``). ``truth`` needs none:
errors of the means against the effects that were simulated, in posterior standard deviations, whose
root mean square is 1 for the right answer. Methods besides "ours" and "nutpie" are ours with one
thing that the warm-up finds taken away, or all of them (``effects/ablations.py``).

Seconds are of the whole process, from the start of Python until the draws are there: imports,
simulating the data, compilation, warm-up, sampling and the convergence checks of PyMC.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import json_lines, measured
from benchmarks.effects import tables
from benchmarks.effects.ablations import ABLATIONS

# Levels of all factors of a case, unless ``--groups`` says how many.
SIZES = {"gaussian": 2000, "logit": 2000, "poisson": 800, "negative_binomial": 800, "choice": 2000}
METHODS = ("ours", "nutpie")
NUTPIE = ("nutpie", "reference")
_KEY = ("case", "groups", "method", "draws", "tune", "seed")
_REFERENCE = {"method": "reference", "draws": 2000, "tune": 1000}
_OTHER_SEED = 1000  # of a reference, beyond that of the runs
_ROOT = Path(__file__).parent.parent
_ONE_THREAD = ("OMP", "OPENBLAS", "MKL")


def key(row: dict[str, Any]) -> tuple:
    """Give what makes a run."""
    return tuple(row[name] for name in _KEY)


def timed(job: dict[str, Any], reference: Path, limit: float) -> dict[str, Any]:
    """Make a run in a process of its own; gives it with the machine's load at its end.

    Raises
    ------
    RuntimeError
        If it fails, with its last line, or takes longer than `limit` seconds.
    """
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "BENCHMARK_STARTED": str(time.time())}
    if job["method"] in NUTPIE:  # ours limits the threads by itself
        environment |= {f"{library}_NUM_THREADS": "1" for library in _ONE_THREAD}
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.effects.run", json.dumps(job)]
        command += [str(result), str(reference.absolute())]
        with log.open("w") as file:
            process = subprocess.Popen(
                command,
                cwd=_ROOT,
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )
            try:
                process.wait(limit)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise RuntimeError(f"stopped after {limit:,.0f} s") from None
                raise
        if process.returncode:
            lines = log.read_text().strip().split("\n")
            raise RuntimeError(f"exit status {process.returncode}: {lines[-1][:300]}")
        return json.loads(result.read_text()) | {"load": os.getloadavg()[0]}


def jobs_of(a: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs that are asked for, case by case."""
    settings = {"draws": a.draws, "tune": a.tune, "seed": a.seed}
    return [
        {"case": case, "groups": groups, "method": method, **settings}
        for case in a.cases
        for groups in a.groups or [SIZES[case]]
        for method in a.methods
    ]


def reference_of(job: dict[str, Any]) -> dict[str, Any]:
    """Run of nutpie that others of the case are held against."""
    return job | _REFERENCE | {"seed": job["seed"] + _OTHER_SEED}


def run_all(jobs: list[dict[str, Any]], a: argparse.Namespace) -> None:
    """Make runs one after the other, and write each down as soon as it is finished."""
    finished = {key(row) for row in json_lines.read(a.output)}
    for job in jobs:
        if key(job) in finished:
            continue
        reference = a.output.parent / "references" / f"{job['case']}-{job['groups']}.npz"
        if a.reference and job["case"] != "gaussian" and not reference.exists():
            run_one(reference_of(job), reference, a)
        run_one(job, reference, a)


def run_one(job: dict[str, Any], reference: Path, a: argparse.Namespace) -> None:
    """Make a run, write it down if it succeeded, and say in a line how it went."""
    try:
        row = timed(job, reference, a.limit)
    except RuntimeError as error:  # the other runs are worth having
        told = str(error)
    else:
        json_lines.append(a.output, row)
        told = f"ESS {row['ess']:,.0f}, R-hat {row['rhat']:.3f}, {row['seconds']:.1f} s"
        if not row.get("kept", True):
            told += "; its chains do not agree, so that nothing is held against it"
    print(f"{job['case']} {job['groups']:,} {job['method']}: {told}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=["gaussian"], choices=SIZES)
    parser.add_argument("--groups", nargs="+", type=int, help="levels of all factors of a case")
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), choices=(*METHODS, *ABLATIONS)
    )
    parser.add_argument("--draws", type=int, help="PyMC's by default")
    parser.add_argument("--tune", type=int, help="PyMC's by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=900, help="seconds of one run")
    parser.add_argument("--reference", action="store_true", help="make those that are missing")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/hierarchies.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    measured.add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    a = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a run ends with this process
    if not a.table:
        if (a.reference or "nutpie" in a.methods) and importlib.util.find_spec("nutpie") is None:
            raise SystemExit(
                "nutpie is not installed. Type `uv run --extra bench python -m "
                "benchmarks.hierarchies ...`, or --methods ours and no --reference."
            )
        run_all(jobs_of(a), a)
    finished = json_lines.read(a.output)
    tables.show(finished)
    nutpie = {"nutpie": version("nutpie")} if any(r["method"] in NUTPIE for r in finished) else {}
    measured.save(a, finished, versions=nutpie)


if __name__ == "__main__":
    main()
