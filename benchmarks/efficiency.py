"""Seconds until a posterior is right, by what a user would pick: ATMC, NUTS, ADVI and others.

A run is a process of its own, and its seconds are all of it from the start of Python until there
are draws: imports, data, compilation, warm-up, sampling. It is right if no posterior mean is off by
0.1 posterior standard deviations, and no standard deviation by 10%. The budget of a method grows
until it is right, and only that run's seconds count, so that luck is on everybody's side; where a
step size is to be tuned, only the run of the best. A run is stopped after ``--limit`` seconds, and
longer ones are not tried.

    export PYMC_SGMCMC_DATA=...                           # the folder that has tabular/a9a.npz
    uv run --extra bench python -m benchmarks.efficiency [--cases flights a9a] [--methods ATMC ADVI]
    uv run --extra bench python -m benchmarks.efficiency --cases "2,000 groups" --limit 600

Cases and the moments that runs are held against: ``regressions/cases.py``; methods and what their
users have to give: ``regressions/methods.py``. Methods that are not installed are left out. All get
their defaults for the number of chains: two on two cores.
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
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import measured, speed_tables
from benchmarks.regressions.cases import CASES, NEED_DATA
from benchmarks.regressions.methods import METHODS, Method

_ROOT = Path(__file__).parent.parent
_BLAS = ("OMP", "OPENBLAS", "MKL")


def timed(job: dict[str, Any], moments: Path, limit: float) -> dict[str, Any]:
    """Make a run in a process of its own; gives its seconds, and its errors or why it has none."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(_ROOT / "benchmarks")}
    if not METHODS[job["method"]].threads:
        environment |= {f"{library}_NUM_THREADS": "1" for library in _BLAS}
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.regressions.run", json.dumps(job)]
        started = time.time()
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, str(result), str(moments.absolute())],
                cwd=_ROOT, env=environment, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
            try:
                process.wait(limit)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                return {"seconds": limit, "failed": "stopped"}
        if process.returncode:
            last = log.read_text().strip().split("\n")[-1]
            return {"seconds": time.time() - started, "failed": last[:200]}
        found = json.loads(result.read_text())
    return {"seconds": found.pop("sampled") - started} | found


def runs(case: str, name: str, moments: Path, a: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Make a method's runs, of growing budgets, until one is right or takes too long."""
    method = METHODS[name]
    for budget in method.budgets:
        made = []
        for options in budget:
            job = {"case": case, "method": name, "seed": a.seed, "options": options}
            if name == "SGLD":
                job["options"] = options | {"sd": _median_sd(moments)}
            made.append(timed(job, moments, a.limit))
            yield {"case": case, "method": name, "asks": method.asks, "options": options} | made[-1]
        if any(run.get("met") for run in made) or all("failed" in run for run in made):
            return


def _median_sd(moments: Path) -> float:
    import numpy as np

    from benchmarks.effects.moments import Moments

    return float(
        np.median(np.concatenate([np.ravel(x) for x in Moments.load(moments).sd.values()]))
    )


def told(run: dict[str, Any]) -> str:
    """Say in a line how a run went."""
    options = " ".join(f"{k}={v:,}" for k, v in run["options"].items()) or "defaults"
    head = f"{run['case']:15} {run['method']:17} {options:24} {run['seconds']:7.1f} s"
    if "failed" in run:
        return f"{head}  {run['failed']}"
    ess = "" if run["ess"] is None else f", ESS {run['ess']:,.0f}"
    return (
        f"{head}  mean error {run['mean_error']:.3f}, sds {run['sd_low']:.3f} to "
        f"{run['sd_high']:.3f}{ess}{', right' if run['met'] else ''}"
    )


def short(run: dict[str, Any]) -> dict[str, Any]:
    """Give a run with as many digits as anybody reads."""
    digits = {"seconds": 3, "mean_error": 3, "sd_low": 4, "sd_high": 4, "ess": 4}
    return {
        key: measured.rounded(x, digits[key]) if key in digits and x is not None else x
        for key, x in run.items()
    }


def missing(case: str, method: Method) -> str | None:
    """Say why a method is left out, None if it isn't."""
    if importlib.util.find_spec(method.package) is None:
        return f"{method.package} is not installed"
    if method.logistic_only and "groups" in case:
        return "nobody has written its model"
    return None


def show(rows: list[dict[str, str]]) -> None:
    table = Table(
        caption="Seconds until the posterior is right; effective draws a second of that run."
    )
    for head in rows[0]:
        table.add_column(head)
    for row in rows:
        table.add_row(*row.values())
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120, help="seconds of one run")
    cache = Path(tempfile.gettempdir()) / "efficiency"
    parser.add_argument("--cache", type=Path, default=cache, help="folder of the moments")
    measured.add_arguments(parser)
    a = parser.parse_args()
    needed = set(a.cases) & set(NEED_DATA)
    if needed and "PYMC_SGMCMC_DATA" not in os.environ:
        raise SystemExit(
            f"{', '.join(sorted(needed))} need data: set PYMC_SGMCMC_DATA to the folder that has "
            f"tabular/, or name other --cases of {', '.join(CASES)}."
        )
    found: list[dict[str, Any]] = []
    for case in a.cases:
        moments = a.cache / f"{case}.npz"
        if not moments.exists():
            CASES[case]().moments().save(moments)
        for name in a.methods:
            if why := missing(case, METHODS[name]):
                print(f"{case:15} {name:17} is left out: {why}")
                continue
            for run in runs(case, name, moments, a):
                print(told(run), flush=True)
                found.append(short(run))
                packages = {METHODS[row["method"]].package for row in found}
                peers = {package: version(package) for package in packages}
                measured.save(a, found, versions=peers, limit=a.limit)
    show(speed_tables.efficiency({"rows": found, "limit": a.limit}))


if __name__ == "__main__":
    main()
