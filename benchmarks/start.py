"""Where a second goes, from the start of Python to the first draw that is kept.

Every run is a process of its own, with nothing chosen but the batch size and a seed: once with
empty caches ("cold") and once more with what the first has left ("warm"). Seconds are since the
start of Python, and in brackets the processor's, which a busy machine changes less; below them what
compiling took of these, by who did it and in how many programs.

    uv run python -m benchmarks.start [--cases readme digits] [--engines auto numba] [--json FILE]

Cases: ``readme``, README's logistic regression of 100,000 × 5; ``small``, a posterior of 3
parameters (kidiq-kidscore_momiq, from the folder that PYMC_SGMCMC_DATA names); ``digits``, the
network of examples/digits.py without what its pictures need; ``groups-200`` and ``groups-2000``,
varying intercepts with 250 and 100 rows each.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import measured

CASES = ("readme", "small", "digits", "groups-200", "groups-2000")
_ROOT = Path(__file__).parent.parent


class Timeline:
    """Seconds and the processor's at which things were done, since the start of Python."""

    def __init__(self) -> None:
        self.started = float(os.environ["BENCHMARK_STARTED"])
        self.marks: dict[str, tuple[float, float]] = {}
        self.compiled: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])

    def mark(self, what: str) -> None:
        """Note the time at which something was done first."""
        self.marks.setdefault(what, (time.time() - self.started, time.process_time()))

    def count(self, who: str, seconds: float, programs: int = 1) -> None:
        """Add what a compiler took."""
        self.compiled[who][0] += programs
        self.compiled[who][1] += seconds


def listen(timeline: Timeline) -> None:
    """Have the compilers tell how long they took."""
    import jax
    import pytensor
    from numba.core import event

    class Listener(event.Listener):
        begun: list[float]

        def on_start(self, event: Any) -> None:
            self.begun = [*getattr(self, "begun", []), time.time()]

        def on_end(self, event: Any) -> None:
            seconds = time.time() - self.begun.pop()
            if not self.begun:  # what one function calls is compiled within it
                timeline.count("Numba", seconds)

    event.register("numba:compile", Listener())

    def of_jax(name: str, seconds: float, **_: Any) -> None:
        what = name.rpartition("/")[2]
        if what == "backend_compile_duration":
            timeline.count("XLA", seconds)
        elif what in ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration"):
            timeline.count("JAX's tracing", seconds, 0)

    jax.monitoring.register_event_duration_secs_listener(of_jax)
    function = pytensor.function

    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.time()
        try:
            return function(*args, **kwargs)
        finally:
            timeline.count("PyTensor", time.time() - begun)

    pytensor.function = timed


def watch(timeline: Timeline) -> None:
    """Have a run tell when its phases end."""
    from pymc_sgmcmc.run.phases import Run

    search, advance = Run._search, Run.advance

    def searching(self: Any) -> Any:
        positions = search(self)
        timeline.mark("search")
        return positions

    def advancing(self: Any, n_draws: int) -> Any:
        draws = advance(self, n_draws)
        timeline.mark("first tuning draw")
        if self.made > self.tune:
            timeline.mark("first kept draw")
        return draws

    Run._search, Run.advance = searching, advancing  # type: ignore[method-assign]


def build(case: str) -> tuple[Any, dict[str, Any]]:
    """Make a model, and the settings of its step."""
    import numpy as np
    import pymc as pm

    rng = np.random.default_rng(0)
    if case == "readme":
        X = rng.normal(size=(100_000, 5))
        y = rng.random(100_000) < 1 / (1 + np.exp(-X @ [1, -1, 0.5, 0, 0]))
        with pm.Model() as model:
            slopes = pm.Normal("slopes", 0, 1, shape=5)
            pm.Bernoulli("y", logit_p=pm.Data("X", X) @ slopes, observed=y)
        return model, {"batch_size": 500}
    if case == "small":
        from tests.posteriors import load

        return load("kidiq-kidscore_momiq").model, {"batch_size": 43}
    if case == "digits":
        from sklearn.datasets import load_digits

        from pymc_sgmcmc import nn

        images, y = (x[:1347] for x in load_digits(return_X_y=True))
        with pm.Model() as model:
            features = nn.mlp(pm.Data("images", images / 16 - 0.3), hidden=(50, 50))
            nn.classification(features, y, classes=10, name="digit")
        return model, {"batch_size": 128, "dtype": "float32"}
    groups = int(case.removeprefix("groups-"))
    rows = groups * (250 if groups < 1000 else 100)
    g = rng.integers(groups, size=rows)
    y = rng.normal(rng.normal(1.0, 0.5, groups)[g], 1.0)
    with pm.Model() as model:
        mu, sigma, tau = pm.Normal("mu", 0, 5), pm.HalfNormal("sigma", 2), pm.HalfNormal("tau", 2)
        effect = pm.Normal("a", mu, tau, shape=groups)
        pm.Normal("y", effect[pm.Data("g", g)], sigma, observed=y)
    return model, {"batch_size": 1000}


def run(case: str, engine: str, draws: int, tune: int) -> dict[str, Any]:
    """Make a run in this process, and give its timeline."""
    timeline = Timeline()
    timeline.mark("Python")
    import pymc as pm

    timeline.mark("import pymc")
    import pymc_sgmcmc

    timeline.mark("import pymc_sgmcmc")
    watch(timeline)
    import jax  # noqa: F401  # as the first engine would

    listen(timeline)
    timeline.mark("import jax")
    model, settings = build(case)
    timeline.mark("data and model")
    with model:
        step = pymc_sgmcmc.ATMC(engine=engine, **settings)
        timeline.mark("step")
        idata = pm.sample(draws, tune=tune, chains=4, step=step, random_seed=1, progressbar=False)
    timeline.mark("end")
    attributes = idata["posterior"].attrs
    return {
        "marks": timeline.marks,
        "compiled": timeline.compiled,
        "backend": attributes["backend"],
        "updates": int(attributes["updates"]),
    }


def in_process(job: dict[str, Any], caches: Path) -> dict[str, Any]:
    """Make a run in a process of its own, with its caches in a folder."""
    flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={caches / 'pytensor'}"]
    environment = os.environ | {
        "BENCHMARK_STARTED": str(time.time()),
        "PYTENSOR_FLAGS": ",".join(filter(None, flags)),
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        "PYMC_SGMCMC_CACHE": str(caches / "programs"),
    }
    command = [sys.executable, "-m", "benchmarks.start", "--job", json.dumps(job)]
    made = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(made.stderr.strip().split("\n")[-1])
    return job | json.loads(made.stdout.strip().split("\n")[-1]) | {"load": os.getloadavg()[0]}


def table(rows: list[dict[str, Any]]) -> str:
    """Give the timelines of a case's runs, one column each."""
    lines = [f"{'':20}" + "".join(f"{r['backend'] + ', ' + r['caches']:>18}" for r in rows)]
    for what in max((r["marks"] for r in rows), key=len):
        found = (r["marks"].get(what) for r in rows)
        cells = (f"{x[0]:10.1f} ({x[1]:5.1f})" if x else f"{'':18}" for x in found)
        lines.append(f"{what:20}" + "".join(f"{cell:>18}" for cell in cells))
    for who in sorted({who for r in rows for who in r["compiled"]}):
        found = (r["compiled"].get(who, (0, 0)) for r in rows)
        cells = (f"{seconds:.1f} in {programs}" if programs else f"{seconds:.1f}"
                 for programs, seconds in found)  # fmt: skip
        lines.append(f"  {who:18}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def short(row: dict[str, Any]) -> dict[str, Any]:
    """Give a run with seconds to a hundredth."""
    marks = {what: [round(x, 2) for x in times] for what, times in row["marks"].items()}
    compiled = {who: [n, round(x, 2)] for who, (n, x) in row["compiled"].items()}
    return row | {"marks": marks, "compiled": compiled, "load": round(row["load"], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--engines", nargs="+", default=["auto"], choices=["auto", "jax", "numba"])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=1000)
    measured.add_arguments(parser)
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        wanted = (asked.job[name] for name in ("case", "engine", "draws", "tune"))
        print(json.dumps(run(*wanted)))
        return
    runs = []
    for case in asked.cases:
        rows = []
        for engine in asked.engines:
            job = {"case": case, "engine": engine, "draws": asked.draws, "tune": asked.tune}
            with tempfile.TemporaryDirectory() as caches:
                for kind in ("cold", "warm"):
                    rows.append(in_process(job | {"caches": kind}, Path(caches)))
        print(f"{case}\n{table(rows)}\n", flush=True)
        runs += rows
        measured.save(asked, [short(row) for row in runs])


if __name__ == "__main__":
    main()
