"""Bayesian networks of 478,410 parameters on MNIST and Fashion-MNIST, beside the usual baselines.

A 784-400-400-10 network on all 60,000 images: error, log-likelihood, calibration, and how well the
predictive entropy tells letters (notMNIST) from what the network was trained on. One
JSON line for each finished run; a command that was stopped goes on where it was.

    export PYMC_SGMCMC_DATA=...
    uv run python -m benchmarks.images                               # all methods, both sets
    uv run python -m benchmarks.images --sets mnist --methods ATMC
    uv run python -m benchmarks.images --table                       # print what is finished

Methods: ATMC, MAP (Adam with weight decay), an ensemble of 5 of those, and MC-dropout of the same
size (dropout of half the hidden units, a fifth of the pixels; 100 samples).
"""

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
from rich.console import Console
from rich.table import Table
from scipy.stats import mannwhitneyu
from xarray import Dataset, DataTree

import pymc_sgmcmc as sg
from benchmarks.networks import dropout
from pymc_sgmcmc.diagnostics import calibration_error

HIDDEN = (400, 400)
SETS = {"mnist": "mnist.npz", "fashion": "fashion_mnist.npz"}
METHODS = ("ATMC", "MAP", "ensemble", "MC-dropout")
# JavierAntoran/Bayesian-Neural-Networks@49a02f18, README: 2 x 1200 ReLU, 100 posterior samples.
PUBLISHED = {
    "MAP": (1.58, -572.9),
    "MAP ensemble": (1.53, -496.54),
    "Bayes by backprop": (2.60, -1100.29),
    "MC-dropout": (1.37, -435.458),
    "SGLD": (1.76, -828.29),
    "pSGLD": (1.76, -661.25),
}


class Images(NamedTuple):
    """Images as rows of pixels less their mean, and what they show.

    Attributes
    ----------
    X, X_test, X_other : ndarray
        ``(rows, 784)``, float32; the last are of another distribution.
    y, y_test : ndarray
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    X_other: np.ndarray


def load(name: str) -> Images:
    folder = Path(os.environ["PYMC_SGMCMC_DATA"]) / "images"
    file, other = np.load(folder / SETS[name]), np.load(folder / "notmnist_test.npz")
    mean = file["X_train"].mean() / 255

    def rows(x: np.ndarray) -> np.ndarray:
        return (x.reshape(len(x), -1) / 255 - mean).astype(np.float32)

    return Images(
        rows(file["X_train"]),
        file["y_train"].astype(int),
        rows(file["X_test"]),
        file["y_test"].astype(int),
        rows(other["X_test"]),
    )


def atmc(images: Images, a: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, dict]:
    """Class probabilities of test images and of others, averaged over the draws of ATMC."""
    with pm.Model() as model:
        features = sg.nn.mlp(pm.Data("X", images.X), HIDDEN, activation="relu")
        sg.nn.classification(features, images.y)
        step = sg.ATMC(
            batch_size=a.batch_size,
            dtype="float32",
            steps_per_draw=a.steps_per_draw,
            temperature=a.temperature,
            warmup=sg.WarmUp(target_bias=a.target_bias),
        )
    weights = [v.name for v in model.deterministics]
    idata = sg.sample(
        a.draws,
        tune=a.tune,
        chains=a.chains,
        step=step,
        model=model,
        var_names=[*weights, *(v.name for v in model.free_RVs if v.name.endswith("bias"))],
        random_seed=a.seed,
        progressbar=False,
    )

    def predictive(X: np.ndarray) -> np.ndarray:
        new = sg.predict(idata, {"X": X}, model=model)["predictions"]["y_probability"]
        return new.mean(("chain", "draw")).values

    kept = ("updates", "step_size", "batch_size", "backend", "warmup_updates", "temperature")
    extras = {k: idata["posterior"].attrs[k] for k in kept}
    extras["configurational"] = float(idata["sample_stats"]["configurational_temperature"].mean())
    return predictive(images.X_test), predictive(images.X_other), extras | {"chains": a.chains}


def run(name: str, method: str, a: argparse.Namespace) -> dict[str, Any]:
    """Fit one set by one method, and score it."""
    images = load(name)
    started = time.perf_counter()
    if method == "ATMC":
        inside, outside, extras = atmc(images, a)
    else:
        inside, outside, extras = dropout.fit(method, images, HIDDEN, a.epochs, a.seed)
    return {
        "set": name,
        "method": method,
        **score(inside, outside, images.y_test),
        "seconds": time.perf_counter() - started,
        "seed": a.seed,
        **{k: v.item() if isinstance(v, np.generic) else v for k, v in extras.items()},
    }


def score(inside: np.ndarray, outside: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Error in percent, total log-likelihood in nats, calibration error, and AUROC of entropies."""
    inside, outside = (x / x.sum(-1, keepdims=True) for x in (inside, outside))
    tree = DataTree.from_dict(
        {
            "/predictions": Dataset({"p": (("chain", "draw", "row", "class"), inside[None, None])}),
            "/observed_data": Dataset({"p": (("row",), y)}),
        }
    )
    entropies = [-(x * np.log(np.maximum(x, 1e-30))).sum(-1) for x in (outside, inside)]
    rank_sum = mannwhitneyu(*entropies).statistic
    return {
        "error": 100 * float((inside.argmax(-1) != y).mean()),
        "ll": float(np.log(np.maximum(inside[np.arange(len(y)), y], 1e-30)).sum()),
        "ece": float(calibration_error(tree, "p", observed=y)),
        "auroc": float(rank_sum / (len(outside) * len(inside))),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print what is finished, and what is published."""
    for name in SETS:
        table = Table(
            "method", "T", "error %", "log-lik.", "ECE", "AUROC notMNIST", "s", title=name
        )
        for row in (r for r in rows if r["set"] == name):
            table.add_row(
                row["method"],
                f"{row.get('temperature', '')}",
                f"{row['error']:.2f}",
                f"{row['ll']:.0f}",
                f"{row['ece']:.4f}",
                f"{row['auroc']:.3f}",
                f"{row['seconds']:.0f}",
            )
        for method, (error, ll) in PUBLISHED.items() if name == "mnist" else ():
            table.add_row(f"published, 2 x 1200: {method}", "", f"{error:.2f}", f"{ll:.0f}")
        Console().print(table)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--tune", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--steps-per-draw", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=0.01)
    parser.add_argument("--target-bias", type=float, default=0.45)
    parser.add_argument("--epochs", type=int, default=10, help="of the baselines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/images.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    return parser.parse_args()


def main() -> None:
    a = parse()
    logging.getLogger("pymc").setLevel(logging.ERROR)
    rows = [json.loads(x) for x in a.output.read_text().splitlines()] if a.output.exists() else []
    finished = {(row["set"], row["method"]) for row in rows}
    for name in a.sets if not a.table else ():
        for method in a.methods:
            if (name, method) in finished:
                continue
            rows.append(run(name, method, a))
            a.output.parent.mkdir(parents=True, exist_ok=True)
            with a.output.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(rows[-1], flush=True)
    show(rows)


if __name__ == "__main__":
    main()
