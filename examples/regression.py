"""Linear regression, made-up and real: minibatches of ATMC beside NUTS on all rows.

The made-up data have known slopes; the real ones are scikit-learn's diabetes patients. Prints the
posterior means and standard deviations of both samplers, and the difference in units of sd.

    uv run examples/regression.py
"""

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from pymc_sgmcmc import ATMC


def made_up() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """2,000 rows with slopes 1, -0.5, 0 and noise of sd 0.7."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    return X, X @ [1, -0.5, 0] + rng.normal(0, 0.7, 2000), ["one", "minus_half", "zero"]


def diabetes() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """442 patients: age, sex, body-mass index and blood values against the disease's progress."""
    data = load_diabetes()
    # Four of the six blood values nearly determine each other; two of them are enough here.
    names = ["age", "sex", "bmi", "bp", "s3", "s5"]
    chosen = [data.feature_names.index(name) for name in names]
    return scale(data.data[:, chosen]), scale(data.target), names


def build_model(X: np.ndarray, y: np.ndarray, names: list[str]) -> pm.Model:
    with pm.Model(coords={"feature": names, "row": np.arange(len(X))}) as model:
        features = pm.Data("features", X, dims=("row", "feature"))
        intercept = pm.Normal("intercept", 0, 1)
        slope = pm.Normal("slope", 0, 1, dims="feature")
        noise = pm.HalfNormal("noise", 1)
        pm.Normal("outcome", intercept + features @ slope, noise, observed=y, dims="row")
    return model


def side_by_side(ours: xr.DataTree, nuts: xr.DataTree) -> pd.DataFrame:
    """Posterior means and standard deviations of both samplers."""
    ours, nuts = (az.summary(idata, kind="stats", round_to="none") for idata in (ours, nuts))
    return pd.DataFrame(
        {
            "NUTS mean": nuts["mean"],
            "ATMC mean": ours["mean"],
            "difference / sd": (ours["mean"] - nuts["mean"]) / nuts["sd"],
            "NUTS sd": nuts["sd"],
            "ATMC sd": ours["sd"],
            "ratio": ours["sd"] / nuts["sd"],
        }
    )


def compare(title: str, X: np.ndarray, y: np.ndarray, names: list[str]) -> None:
    with build_model(X, y, names):
        step = ATMC(batch_size=len(X) // 10)
        ours = pm.sample(chains=4, step=step, random_seed=0, progressbar=False)
        nuts = pm.sample(
            2000, chains=4, random_seed=0, progressbar=False, nuts_sampler="pymc", cores=1
        )
    print(f"\n{title}\n{side_by_side(ours, nuts).round(3).to_string()}")


def main() -> None:
    compare("Made-up data, 2,000 rows", *made_up())
    compare("Diabetes, 442 patients", *diabetes())


if __name__ == "__main__":
    main()
