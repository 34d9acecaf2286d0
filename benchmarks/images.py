"""Bayesian networks for images, beside the usual baselines.

MNIST and Fashion-MNIST, all 60,000 images, with a 784-400-400-10 network of 478,410 parameters or
LeNet-5 of 61,706; 10,000 images of CIFAR-10 with residual networks. Error, log-likelihood,
calibration, and how well the predictive entropy tells letters (notMNIST) from what the network was
trained on; error and log-likelihood of a single draw as well. One JSON line for each finished run;
a command that was stopped goes on where it was, within a run too.

    export PYMC_SGMCMC_DATA=...
    uv run python -m benchmarks.images                               # all methods, both MNISTs
    uv run python -m benchmarks.images --network lenet --temperature 1 .01    # LeNet-5, in one run
    uv run python -m benchmarks.images --sets mnist --network lenet_small --temperature 1
    uv run python -m benchmarks.images --sets cifar10 --network resnet_pp --paper --temperature 1
    uv run python -m benchmarks.images --smoke --network lenet       # a few minutes: does it run
    uv run python -m benchmarks.images --table                       # print what is finished

Methods: ATMC and SGNHT; SGD (momentum, no noise, the same model); MAP (Adam with weight decay), an
ensemble of 5 of those, and MC-dropout of the same size (dropout of half the hidden units, a fifth
of the pixels; 100 samples): these three for "mlp" and "lenet". "lenet_small", whose scales are
fixed, has the mode of its posterior and the linearised Laplace approximation there, with the prior
as it is and by EM.
"""

import argparse
import logging
import time
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import mannwhitneyu
from xarray import Dataset, DataTree

from benchmarks import json_lines
from benchmarks.networks import dropout, image_models, linearised
from benchmarks.networks.image_models import NETWORKS, SAMPLERS
from benchmarks.networks.image_sets import SETS, Images, load
from pymc_sgmcmc.diagnostics import calibration_error

POINTS = ("MAP", "ensemble", "MC-dropout")
WARM = ("ATMC", "SGNHT")  # have a temperature
METHODS = (*SAMPLERS, *POINTS, *linearised.METHODS)
# Images, test images, epochs, tuning and other draws, and updates of each, of a smoke run.
SMOKE = {"rows": 500, "tests": 200, "epochs": 1, "tune": 2, "draws": 3, "steps_per_draw": 5}
SMOKE |= {"laplace_updates": 20, "em_rounds": 2}
# JavierAntoran/Bayesian-Neural-Networks@49a02f18, README: 2 x 1200 ReLU, 100 posterior samples.
PUBLISHED = {
    "MAP": (1.58, -572.9),
    "MAP ensemble": (1.53, -496.54),
    "Bayes by backprop": (2.60, -1100.29),
    "MC-dropout": (1.37, -435.458),
    "SGLD": (1.76, -828.29),
    "pSGLD": (1.76, -661.25),
}


# The paper's table 1, CIFAR-10 and ResNet-56: error in percent and negative log-likelihood a row.
PAPER = {
    "SGD": (8.5, 0.370),
    "SGD with batch normalisation": (5.6, 0.243),
    "SGNHT, single sample": (8.3, 0.343),
    "SGNHT, predictive": (6.5, 0.211),
    "ATMC, single sample": (7.6, 0.303),
    "ATMC, predictive": (6.1, 0.194),
}


def run(name: str, method: str, temperature: float | None, a: argparse.Namespace) -> dict[str, Any]:
    """Fit one set by one method, and score it."""
    images = load(name).first(a.rows, a.tests)
    if a.half:
        images = images.halved()
    started = time.perf_counter()
    row = {"set": name, "network": a.network, "method": method}
    if method in POINTS:
        inside, outside, extras = dropout.fit(method, images, a.network, a.epochs, a.seed)
    elif method in linearised.METHODS:
        inside, outside, extras = linearised.fit(method, images, a)
    else:
        inside, outside, extras = sampled(row, images, temperature, a)
    return row | {
        **score(inside, outside, images.y_test),
        "seconds": time.perf_counter() - started,
        "seed": a.seed,
        "rows": len(images.X),
        "paper": a.paper,
        **{k: v.item() if isinstance(v, np.generic) else v for k, v in extras.items()},
    }


def sampled(
    row: dict[str, str], images: Images, temperature: float | None, a: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Class probabilities of test images and of others, averaged over the draws of a sampler."""
    model = image_models.build(a.network, images, a)
    step = image_models.step_of(model, row["method"], temperature, a)
    words = [*row.values(), "" if temperature is None else f"{temperature:g}"]
    words += ["smoke"] if a.smoke else []
    store = a.output.parent / f"images-{'-'.join(filter(None, words))}.zarr"
    ends = timedelta(minutes=a.minutes) if a.minutes else None
    idata = image_models.sample(model, step, a, store, ends)
    shown = np.concatenate([images.X_test, images.X_other])

    def of(idata: DataTree) -> list[np.ndarray]:
        return np.split(image_models.probabilities(idata, model, shown), [len(images.X_test)])

    one = of(image_models.last_draw(idata))
    kept = ("updates", "step_size", "batch_size", "backend", "warmup_updates", "temperature")
    attributes = idata["posterior"].attrs
    extras = {k: attributes[k] for k in kept if k in attributes}
    statistics = idata["sample_stats"]
    extras["rejected"] = float(statistics["rejected"].sum())
    extras["configurational"] = float(statistics["configurational_temperature"].mean())
    single = score(*one, images.y_test)
    extras |= {"single_error": single["error"], "single_ll": single["ll"], "chains": a.chains}
    # A mode is a point: the last one of the first chain is all there is.
    inside, outside = one if row["method"] == "SGD" else of(idata)
    return inside, outside, extras


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


def run_of(row: dict[str, Any]) -> tuple[str, str, str, float | None]:
    """What tells one run from another: the set, the network, the method and its temperature."""
    temperature = row.get("temperature") if row["method"] in WARM else None
    return row["set"], row["network"], row["method"], temperature


def show(rows: list[dict[str, Any]]) -> None:
    """Print what is finished, and what is published."""
    for name, network in dict.fromkeys((row["set"], row["network"]) for row in rows):
        table = Table(
            "method", "T", "error %", "log-lik.", "ECE", "AUROC notMNIST", "of one draw", "s",
            title=f"{name}, {network}",
        )  # fmt: skip
        for row in (r for r in rows if (r["set"], r["network"]) == (name, network)):
            single = "single_error" in row
            table.add_row(
                row["method"],
                f"{row.get('temperature', '')}",
                f"{row['error']:.2f}",
                f"{row['ll']:.0f}",
                f"{row['ece']:.4f}",
                f"{row['auroc']:.3f}",
                f"{row['single_error']:.2f}, {row['single_ll']:.0f}" if single else "",
                f"{row['seconds']:.0f}",
            )
        for method, (error, ll) in PUBLISHED.items() if name == "mnist" else ():
            table.add_row(f"published, 2 x 1200: {method}", "", f"{error:.2f}", f"{ll:.0f}")
        for method, (error, nll) in PAPER.items() if name == "cifar10" else ():
            shown = f"{error:.1f}", f"{-1e4 * nll:.0f}"
            table.add_row(f"published, 50,000 images, ResNet-56: {method}", "", *shown)
        Console().print(table)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=["mnist", "fashion"], choices=SETS)
    parser.add_argument("--network", default="mlp", choices=NETWORKS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="those that make sense")
    parser.add_argument("--depth", type=int, default=11, help="layers of a residual network")
    parser.add_argument("--width", type=int, default=8, help="its filters")
    parser.add_argument("--half", action="store_true", help="images of half the height and width")
    parser.add_argument("--paper", action="store_true", help="settings of Heek & Kalchbrenner")
    parser.add_argument("--rows", type=int, default=60_000, help="images to train with")
    parser.add_argument("--tests", type=int, default=10_000, help="images to test with")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--tune", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--steps-per-draw", type=int, default=100)
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.01], help="one run each")
    parser.add_argument("--target-bias", type=float, default=0.45)
    parser.add_argument("--epochs", type=int, default=10, help="of the baselines")
    parser.add_argument("--laplace-draws", type=int, default=8)
    parser.add_argument("--laplace-updates", type=int, default=9_000, help="at most")
    parser.add_argument("--em-rounds", type=int, default=10, help="at most")
    parser.add_argument("--minutes", type=float, help="end the sampling of a method then")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/images.jsonl"))
    parser.add_argument("--smoke", action="store_true", help="a few minutes, to a file of its own")
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    a = parser.parse_args()
    if a.methods is None:
        others = linearised.METHODS if a.network == "lenet_small" else POINTS
        a.methods = SAMPLERS if a.network.startswith("resnet") else ("ATMC", *others)
    if a.network not in dropout.SHAPES and set(a.methods) & set(POINTS):
        parser.error(f"{', '.join(POINTS)} are for {', '.join(dropout.SHAPES)}")
    if a.network != "lenet_small" and set(a.methods) & set(linearised.METHODS):
        parser.error(f"{', '.join(linearised.METHODS)} are for lenet_small")
    if a.network.startswith("resnet") != ("cifar10" in a.sets):
        parser.error("mlp and lenets are for images in grey, residual networks for cifar10")
    if a.smoke:
        vars(a).update(SMOKE)
        a.output = a.output.with_stem(f"{a.output.stem}-smoke")
    return a


def main() -> None:
    a = parse()
    logging.getLogger("pymc").setLevel(logging.ERROR)
    rows = [{"network": "mlp"} | row for row in json_lines.read(a.output)]
    finished = {run_of(row) for row in rows}
    wanted = [(m, t) for m in a.methods for t in (a.temperature if m in WARM else [None])]
    for name, (method, temperature) in () if a.table else product(a.sets, wanted):
        if (name, a.network, method, temperature) in finished:
            continue
        rows.append(run(name, method, temperature, a))
        json_lines.append(a.output, rows[-1])
        print(rows[-1], flush=True)
    show(rows)


if __name__ == "__main__":
    main()
