"""What a user would pick for a regression, each as PyMC's users call it, or nearly so.

A method has budgets of growing length, each a list of runs of which the best counts: more than one
only where something has to be tuned that no diagnostic tells. ``asks`` is what the user gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor
from xarray import Dataset

from benchmarks.regressions.cases import PRIOR_SD, Case

Options = dict[str, Any]
_LENGTHS = ((150, 300), (500, 1000), (1000, 1000), (1000, 2000))
_EXCESS = (0.05, 0.15)  # of variances by SGLD: h²N/4B for steps h in posterior sds, B of N rows
_PATHS, _ELBO_DRAWS = 4, 20


@dataclass(frozen=True)
class Method:
    """A way to sample a case.

    Attributes
    ----------
    package : str
    asks : str
        What its user has to give.
    budgets : tuple of tuple of dict
    sample : callable
        Draws of all free variables, by a case, a seed and one of the `budgets`' options.
    threads : bool
        BLAS may have several: the others have their chains side by side.
    independent : bool
        Draws are independent, of an approximation: effective draws say nothing.
    logistic_only : bool
    """

    package: str
    asks: str
    budgets: tuple[tuple[Options, ...], ...]
    sample: Callable[..., Dataset]
    threads: bool = False
    independent: bool = False
    logistic_only: bool = False


def ours(case: Case, seed: int, **lengths: int) -> Dataset:
    """``pm.sample(step=ATMC(batch_size=...))``."""
    import pymc_sgmcmc as sg

    with case.model():
        step = sg.ATMC(batch_size=case.batch_size)
        return _posterior(pm.sample(step=step, random_seed=seed, progressbar=False, **lengths))


def nuts(which: Options) -> Callable[..., Dataset]:
    """``pm.sample(nuts_sampler=...)``, a chain for each core, which shares the warm-up best."""

    def sample(case: Case, seed: int, **lengths: int) -> Dataset:
        with case.model():
            given = {"random_seed": seed, "progressbar": False, **lengths}
            return _posterior(pm.sample(**which, **given, compute_convergence_checks=False))

    return sample


def advi(case: Case, seed: int, n: int) -> Dataset:
    """``pm.fit`` on ``pm.Minibatch``."""
    with case.model(minibatch=True):
        fit = pm.fit(n, method="advi", random_seed=seed, progressbar=False)
        return _posterior(fit.sample(4000, random_seed=seed))


def pathfinder(case: Case, seed: int, maxiter: int) -> Dataset:
    """BlackJAX's Pathfinder on all rows: of some paths the normal of the highest ELBO."""
    import jax
    from blackjax.vi import pathfinder
    from pymc.sampling.jax import get_jaxified_logp

    model = case.model()
    values, rng = model.value_vars, np.random.default_rng(seed)
    log_density, at = get_jaxified_logp(model, negative_logp=False), model.initial_point()

    @jax.jit
    def follow(key: Any, start: list[Any]) -> Any:
        state, _ = pathfinder.approximate(key, log_density, start, _ELBO_DRAWS, maxiter=maxiter)
        return state

    *keys, last = jax.random.split(jax.random.key(seed), _PATHS + 1)
    starts = ([at[v.name] + rng.uniform(-1, 1, np.shape(at[v.name])) for v in values] for _ in keys)
    found = [follow(key, start) for key, start in zip(keys, starts, strict=True)]
    best = max(found, key=lambda state: float(state.elbo))
    if not np.isfinite(best.elbo):
        raise RuntimeError(f"the highest ELBO is {best.elbo}")
    draws, _ = pathfinder.sample(last, best, 4000)
    return _untransformed(model, [np.asarray(x) for x in draws])


def sgld(case: Case, seed: int, n: int, excess: float, sd: float) -> Dataset:
    """BlackJAX's SGLD, compiled over draws and chains, with a step by a median posterior sd."""
    from peers.blackjax import prepare  # of the folder benchmarks
    from workloads import Workload

    X, y = (np.asarray(x, kind) for x, kind in zip(case.columns, ("f4", "i4"), strict=True))
    h = (4 * case.batch_size * excess / case.rows) ** 0.5
    workload = Workload("logistic", X, y, (), case.batch_size, h * sd, 50)
    if set(workload.prior_sds) != {PRIOR_SD}:
        raise RuntimeError("The model of BlackJAX has another prior.")
    sampler = prepare(workload, "sgld", min(4, os.cpu_count() or 1), workload.draws)
    blocks = [sampler.run() for _ in range(n // workload.steps_per_draw // workload.draws)]
    kept = blocks[len(blocks) // 2 :]
    intercept, slopes = (np.concatenate([block[i] for block in kept], axis=1) for i in (0, 1))
    dims = ("chain", "draw")
    return Dataset({"intercept": (dims, intercept), "slopes": ((*dims, "slope"), slopes)})


def _posterior(idata: Any) -> Dataset:
    return idata["posterior"].to_dataset()


def _untransformed(model: pm.Model, draws: list[np.ndarray]) -> Dataset:
    """Free variables of draws of their transforms, as one chain."""
    natural = model.replace_rvs_by_values(model.free_RVs)
    one = pytensor.function(model.value_vars, natural, on_unused_input="ignore")
    rows = [one(*row) for row in zip(*draws, strict=True)]
    found = {}
    for i, variable in enumerate(model.free_RVs):
        x = np.stack([row[i] for row in rows])[None]
        found[variable.name] = (
            ("chain", "draw", *(f"{variable.name}_{k}" for k in range(x.ndim - 2))),
            x,
        )
    return Dataset(found)


def _lengths(*pairs: tuple[int, int]) -> tuple[tuple[Options, ...], ...]:
    return tuple(({"tune": tune, "draws": draws},) for tune, draws in pairs)


LOW_RANK = {"nuts_sampler": "nutpie", "nuts": {"adaptation": "low_rank"}, "backend": "jax"}
LOW_RANK |= {"compile_kwargs": {"gradient_backend": "jax"}}

METHODS = {
    "ATMC": Method(
        "pymc_sgmcmc", "rows of a batch, length",
        (*_lengths((200, 200), (400, 400)), ({},)), ours, True,
    ),
    "nutpie": Method(
        "nutpie", "length", _lengths(*_LENGTHS), nuts({"nuts_sampler": "nutpie"})
    ),
    "nutpie, low rank": Method("nutpie", "length", _lengths(*_LENGTHS), nuts(LOW_RANK)),
    "PyMC": Method("pymc", "length", _lengths(*_LENGTHS), nuts({"nuts_sampler": "pymc"})),
    "NumPyro": Method(
        "numpyro", "length", _lengths(*_LENGTHS), nuts({"nuts_sampler": "numpyro"})
    ),
    "ADVI": Method(
        "pymc", "rows of a batch, length",
        tuple(({"n": n},) for n in (30_000, 100_000)), advi, True, True,
    ),
    "Pathfinder": Method(
        "blackjax", "length", (({"maxiter": 30},),), pathfinder, True, True
    ),
    "SGLD": Method(
        "blackjax", "model in JAX, rows of a batch, step size, length",
        tuple(tuple({"n": n, "excess": e} for e in _EXCESS) for n in (300_000, 1_000_000)),
        sgld, True, logistic_only=True,
    ),
}  # fmt: skip
