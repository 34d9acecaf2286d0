"""Published figures to hold ours against, as printed in their sources.

``published/figures.csv`` has tables, log-likelihoods with the sign that makes more better:

- Lakshminarayanan 2017: Lakshminarayanan, Pritzel & Blundell, Simple and scalable predictive
  uncertainty estimation using deep ensembles, NeurIPS, table 1. The errors of PBP (from
  Hernández-Lobato & Adams 2015) are standard errors, the others standard deviations over splits.
- WEvidential: table of the Wasserstein evidential networks paper, that collects other papers'; for
  most it does not say what the errors are (kind "unknown").
- Wiese 2023: Wiese et al., Towards efficient MCMC sampling in Bayesian neural networks by
  exploiting symmetry, ECML-PKDD, supplement, table 3 (jgwiese/mcmc_bnn_symmetry@72d7af6c).
- bde paper: mean and standard deviation of five seeds (scikit-learn-contrib/bde@4bcfcac1,
  paper/paper.md). Settings of its MILE: 10 members, 50,000 steps of warm-up, 1,000 draws.

``published/dropout_splits.csv`` has MC-dropout trained to convergence, 100x epochs, one hidden
layer, split by split (yaringal/DropoutUncertaintyExps@6eb4497628d1, grid search of its
hyper-parameters on every split), for Gal & Ghahramani (2016), Dropout as a Bayesian approximation.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CONVERGED = "MC-dropout (converged)"
# One draw each of 1,274 chains with 1,024 tuning draws; how many gradients a draw takes is not
# told, but NumPyro's trees have at most 1,023.
WIESE_NUTS = (
    "NUTS of Wiese et al.: 1,274 chains of 1,024 tuning draws and one that is kept, 1.3 million "
    "transitions of all rows, of 1 to 1,023 gradients each (how many is not published). Their code "
    "leaves out test rows whose density underflows to 0; ours counts every row."
)
_FOLDER = Path(__file__).parent / "published"


@dataclass(frozen=True)
class Figure:
    """One published number.

    Attributes
    ----------
    method, source : str
    value : float
    error : float
        Standard error; NaN if there is none.
    splits : dict of int to float
        The value of each split, where published.
    certain : bool
        Whether it is known that the error is one of the mean.
    """

    method: str
    source: str
    value: float
    error: float
    splits: dict[int, float]
    certain: bool = True


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open() as file:
        return list(csv.DictReader(file))


def _printed(row: dict[str, str], runs: int) -> Figure:
    error = float(row["error"] or "nan")
    error /= math.sqrt(runs) if row["kind"] == "sd" else 1
    certain = row["kind"] != "unknown"
    return Figure(row["method"], row["source"], float(row["value"]), error, {}, certain)


def figures(protocol: str, name: str, metric: str, runs: int) -> list[Figure]:
    """What is published of a set and metric.

    Parameters
    ----------
    protocol, name : str
    metric : {"rmse", "ll", "ll_normal", "ll_rmse"}
    runs : int
        Splits or seeds of the set.
    """
    found = [
        _printed(row, runs)
        for row in _rows("figures.csv")
        if (row["protocol"], row["set"], row["metric"]) == (protocol, name, metric)
    ]
    if protocol != "pbp":
        return found
    splits = {
        int(row["split"]): float(row[metric])
        for row in _rows("dropout_splits.csv")
        if row["set"] == name and metric in row
    }
    if splits:
        values = np.array(list(splits.values()))
        error = values.std(ddof=1) / math.sqrt(len(values))
        found.insert(0, Figure(CONVERGED, "Gal 2018", values.mean(), error, splits))
    return found
