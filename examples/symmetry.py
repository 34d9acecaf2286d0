"""How many chains a small network needs: the procedure of Wiese et al. (2023), from end to end.

A network's posterior has each of its modes many times over, since hidden units can change places
and signs. Chains that end in copies of one another know the same. So: sample many short chains;
bring their hidden units into one order; find the modes among them; stop when chains find no new
one; see how many chains a prediction needs. A perceptron of three tanh units, on the paper's
sinusoidal set, made by its formula; on three heaps of rows, as its set izmailov has them; or on a
file with X and y, split as in a file wiese_splits.npz beside it:

    uv run examples/symmetry.py
    uv run examples/symmetry.py --data heaps
    uv run examples/symmetry.py --data $PYMC_SGMCMC_DATA/mile/izmailov.npz

Wiese, Wimmer, Papamarkou, Bischl, Günnemann & Rügamer (2023), Towards efficient MCMC sampling in
Bayesian neural networks by exploiting symmetry, ECML PKDD.
"""

import argparse
from pathlib import Path

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.special import logsumexp
from scipy.stats import norm
from xarray import DataTree

import pymc_sgmcmc as sg
from pymc_sgmcmc.diagnostics import canonicalize, chains_needed, symmetry_count

UNITS, LAYERS = 3, [("W1", "b1"), ("W2", "b2")]


def sinusoidal(rng, n=150):
    """Rows x from U(0, 8), y from N(sin x, 0.3²)."""
    x = rng.uniform(0, 8, n)
    return x, np.sin(x) + rng.normal(0, 0.3, n)


def heaps(rng, n=400):
    """Rows in three heaps: flat, rising, and with a bend."""
    x = np.concatenate(
        [rng.uniform(*ends, n) for ends in ((-1.6, -1.1), (-0.33, 0.15), (0.9, 1.4))]
    )
    f = np.select([x < -1, x < 0.5], [-1.55, 0.6 + 0.8 * x], 0.4 + 1.2 * np.abs(x - 1.2))
    kept = rng.permutation(3 * n)[:n]
    return x[kept], (f + rng.normal(0, 0.1, 3 * n))[kept]


def load(name, seed=0):
    """Training and test rows (x, y), both standardised, four to one."""
    rng = np.random.default_rng(seed)
    made, splits = (
        {"sinusoidal": sinusoidal, "heaps": heaps},
        Path(name).parent / "wiese_splits.npz",
    )
    if name in made:
        rows = np.stack(made[name](rng))
    else:
        file = np.load(name)
        rows = np.stack([file["X"].ravel(), file["y"].ravel()]).astype(float)
    rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    if name not in made and splits.exists():
        own = np.load(splits)
        return tuple(rows[:, own[f"{Path(name).stem}_{part}_0"]] for part in ("train", "test"))
    rows = rows[:, rng.permutation(rows.shape[1])]
    test = rows.shape[1] // 5
    return rows[:, test:], rows[:, :test]


def build_model(x, y):
    """A perceptron with the paper's priors."""
    with pm.Model(coords={"input": ["x"], "hidden": np.arange(UNITS)}) as model:
        W1 = pm.Normal("W1", dims=("input", "hidden"))
        b1 = pm.Normal("b1", dims="hidden")
        W2 = pm.Normal("W2", dims="hidden")
        b2 = pm.Normal("b2")
        sd = pm.HalfNormal("sd")
        hidden = pt.tanh(pm.Data("X", x[:, None]) @ W1 + b1)
        pm.Normal("y", hidden @ W2 + b2, sd, observed=y)
    return model


def functions(idata, x):
    """What the network of each draw makes of inputs ``(n,)``: ``(chain, draw, n)``."""
    w = idata["posterior"]
    hidden = np.tanh(w["W1"].values[:, :, 0, :, None] * x + w["b1"].values[..., None])
    return (hidden * w["W2"].values[..., None]).sum(2) + w["b2"].values[..., None]


def modes(idata, x, apart=0.3):
    """Number of the mode of each chain, the fullest first, by what it predicts for the rows.

    Two modes differ, on average over their chains, by more than `apart` of the noise's sd (root
    mean square over rows). What lies between the rows varies within a mode, and is left out.
    """
    made = functions(idata, x).mean(1)
    tree = linkage(made / float(idata["posterior"]["sd"].mean()), "average")
    found = fcluster(tree, apart * len(x) ** 0.5, "distance")
    names, counts = np.unique(found, return_counts=True)
    rank = {name: i for i, name in enumerate(names[np.argsort(-counts)])}
    return np.array([rank[name] for name in found])


def discovery(modes):
    """Modes seen after each chain, and the chance that the next one finds another.

    The chance is the share of chains that are alone in their mode (Good & Turing).
    """
    seen = [np.unique(modes[: n + 1], return_counts=True)[1] for n in range(len(modes))]
    return np.array([len(s) for s in seen]), np.array([(s == 1).sum() / s.sum() for s in seen])


def by_chains(log_density, sizes, rng, repeats=200):
    """Test log-density ``(repeats, sizes)`` of that many chains, chosen at random.

    Parameters
    ----------
    log_density : ndarray
        Of test rows, ``(chain, draw, row)``.
    """
    chains, draws, _ = log_density.shape
    each = logsumexp(log_density, axis=1) - np.log(draws)
    return np.array(
        [
            [
                (logsumexp(each[rng.choice(chains, n, replace=False)], 0) - np.log(n)).mean()
                for n in sizes
            ]
            for _ in range(repeats)
        ]
    )


def log_density(idata, x, y):
    """Of rows, under each draw: ``(chain, draw, row)``."""
    return norm.logpdf(y, functions(idata, x), idata["posterior"]["sd"].values[..., None])


def sample(x, y, chains, draws=10, tune=100, seed=1) -> DataTree:
    """Short chains from draws of the prior, each of which ends in some mode."""
    with build_model(x, y):
        step = sg.ATMC(warmup=sg.WarmUp(start="prior"))
        return sg.sample(
            draws, tune=tune, chains=chains, step=step, random_seed=seed, progressbar=False
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sinusoidal", help="sinusoidal, heaps, or a file")
    parser.add_argument("--chains", type=int, default=256)
    arguments = parser.parse_args()
    train, test = load(arguments.data)
    idata = sample(*train, arguments.chains)
    canonical = canonicalize(idata, LAYERS)
    print(
        f"{Path(arguments.data).stem}: {len(train[0])} rows, {arguments.chains} chains; a mode has "
        f"{symmetry_count(UNITS)} copies"
    )
    found = modes(idata, train[0])
    counts, energy = np.bincount(found), idata["sample_stats"]["potential_energy"].mean("draw")
    for tree, order in ((idata, "as they came"), (canonical, "in one order")):
        weights = tree["posterior"]["W1"].mean("draw").values[found == 0]
        print(
            f"  sd of W1 between the chains of mode 1, units {order}: {weights.std(0).mean():.2f}"
        )
    for mode, count in enumerate(counts):
        above = float(energy[found == mode].mean() - energy.min())
        print(f"  mode {mode + 1}: {count} chains, U {above:.1f} nats above the lowest chain's")
    seen, chance = discovery(found)
    last = int(np.flatnonzero(np.diff(seen, prepend=0))[-1]) + 1
    print(f"  the last new mode came with chain {last}; the next has a chance of {chance[-1]:.3f}")
    if 1 < len(counts) <= 20:
        needed = chains_needed(len(counts), confidence=0.99, probabilities=counts / counts.sum())
        print(
            f"  all of them, with 99 %: {needed.exact} chains (bound of the paper {needed.markov})"
        )
    sizes = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n <= arguments.chains]
    scores = by_chains(log_density(idata, *test), sizes, np.random.default_rng(0))
    print("  chains     " + "".join(f"{n:>8}" for n in sizes))
    print("  test lppd  " + "".join(f"{s:8.3f}" for s in scores.mean(0)))
    print("  sd         " + "".join(f"{s:8.3f}" for s in scores.std(0)))


if __name__ == "__main__":
    main()
