"""Bayesian neural networks on the sets of published tables, beside the published figures.

Runs methods on the splits that others used, one JSON line for each that is finished, and prints
mean ± standard error over splits and the differences to published figures. A command that was
stopped goes on where it was.

    export PYMC_SGMCMC_DATA=...
    uv run python -m benchmarks.uci                                     # ATMC, table of PBP
    uv run python -m benchmarks.uci --protocol wiese --methods ATMC Laplace --processes 2
    uv run python -m benchmarks.uci --sets yacht --splits 0 --draws 20 --tune 20 --chains 2
    uv run python -m benchmarks.uci --protocol bde --table              # print what is finished
    uv run python -m benchmarks.uci --noise input                       # of all methods that can
    uv run --with sklearn-contrib-bde==1.0.2 python -m benchmarks.uci --methods MILE

Protocols: ``pbp``, one hidden layer and the splits of Hernández-Lobato & Adams (2015); ``wiese``,
the two small networks that Wiese et al. (2023) sampled by NUTS; ``bde``, the airfoil set of the
paper of the bde package. Methods: ATMC, MAP, ensemble, ADVI, Laplace, NUTS for few rows, and MILE,
the bde package's. Their settings are in ``networks/settings.py``, the same for all sets. A run
takes one core, and as many run at once as there are ``--processes``. With ``--noise`` the networks
of pbp and bde have one noise for all rows ("learned", the default) or one that depends on the
input; results of both can be in one file. The ensemble and MILE always have the latter, and Laplace
the former.
"""

import argparse
import logging
import multiprocessing
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks import json_lines
from benchmarks.networks import protocols, results, tables
from benchmarks.networks.settings import Settings

METHODS = ("ATMC", "MAP", "ensemble", "ADVI", "Laplace", "NUTS", "MILE")
_ONE_THREAD = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")


def pin(cores: Any) -> None:
    """Keep this process on a core that no other has; JAX asks when it starts how many there are."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores.get()})


def run(job: results.Key, settings: Settings, seed: int) -> dict[str, Any]:
    """Fit, predict and score one split by one method."""
    from benchmarks.networks.methods import METHODS as functions
    from benchmarks.networks.scores import score

    logging.getLogger("pymc").setLevel(logging.ERROR)
    protocol, name, number, method, noise = job
    chosen = protocols.PROTOCOLS[protocol]
    split, network = chosen.load(name, number), chosen.network_with(name, noise)
    started = time.perf_counter()
    predicted = functions[method](split.X, split.y, split.X_test, network, settings, seed + number)
    return {
        **{"protocol": protocol, "set": name, "split": number, "method": method, "noise": noise},
        **score(predicted, split),
        "seconds": time.perf_counter() - started,
        **predicted.extras,
        "seed": seed + number,
        "settings": settings.as_json(),
    }


def run_all(jobs: list[results.Key], settings: Settings, a: argparse.Namespace) -> None:
    """Run jobs in processes of one core each, and write each down as soon as it is finished."""
    os.environ |= {f"{library}_NUM_THREADS": "1" for library in _ONE_THREAD}
    os.environ["JAX_PLATFORMS"] = "cpu"
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for number in range(a.processes):
        cores.put(available[number % len(available)])
    with ProcessPoolExecutor(a.processes, context, pin, (cores,)) as pool:
        futures = {pool.submit(run, job, settings, a.seed): job for job in jobs}
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                told = _write(future, a.output)
                print(
                    f"[{number}/{len(jobs)}] {' '.join(map(str, futures[future]))}: {told}",
                    flush=True,
                )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write(future: Future, output: Path) -> str:
    """Write a run down if it succeeded, and say in a line how it went."""
    try:
        row = future.result()
    except Exception as error:  # the other runs are worth having
        return f"{type(error).__name__}: {error}"
    json_lines.append(output, row)
    return f"rmse {row['rmse']:.4f}, ll {row['ll']:.4f}, {row['seconds']:.0f} s"


def chosen_sets(protocol: str, given: list[str] | None) -> list[str]:
    """Names of sets, where that of a set alone stands for it with every network."""
    known = protocols.PROTOCOLS[protocol].sets()
    if given is None:
        return known
    found = [name for name in known if name in given or name.partition("/")[0] in given]
    if not found:
        raise SystemExit(f"Sets of {protocol} are {', '.join(known)}, got {', '.join(given)}.")
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", default="pbp", choices=protocols.PROTOCOLS)
    parser.add_argument("--sets", nargs="+", metavar="SET")
    parser.add_argument("--splits", nargs="+", type=int, metavar="NUMBER", help="all by default")
    parser.add_argument("--methods", nargs="+", default=["ATMC"], choices=METHODS)
    parser.add_argument("--noise", choices=("input", "learned"), help="the protocol's by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/uci.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    for option in ("draws", "tune", "chains"):
        parser.add_argument(f"--{option}", type=int, help="for a quick look")
    parser.add_argument("--updates", type=int, help="of the optimisers, for a quick look")
    return parser.parse_args()


def main() -> None:
    a = parse()
    chosen = protocols.PROTOCOLS[a.protocol]
    sets = chosen_sets(a.protocol, a.sets)
    runs = {name: chosen.splits(name) for name in sets}
    settings = Settings(**chosen.settings).overridden(a.chains, a.draws, a.tune, a.updates)
    if not a.table:
        finished = results.read(a.output)
        jobs = [
            (a.protocol, name, number, method, chosen.noise(name, method, a.noise))
            for method in a.methods
            for name in sets
            for number in (range(runs[name]) if a.splits is None else a.splits)
            if number < runs[name]
        ]
        others = [
            j for j in jobs if j in finished and finished[j]["settings"] != settings.as_json()
        ]
        if others:
            print(f"{len(others)} of the finished runs had other settings. Use another --output.")
        run_all([job for job in jobs if job not in finished], settings, a)
    tables.show(list(results.read(a.output).values()), a.protocol, runs)


if __name__ == "__main__":
    main()
