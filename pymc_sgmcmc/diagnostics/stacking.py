"""Weights for chains that don't mix, by what each predicts of the observations."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp
from xarray import DataArray, DataTree

from pymc_sgmcmc.arguments import boolean
from pymc_sgmcmc.diagnostics.reading import needs_log_likelihood, pick, sampled
from pymc_sgmcmc.warn import warn_user

# Above it the leave-one-out density of an observation is not to be trusted, however many draws.
_PARETO_K = 0.7
# Share of observations with such a k, in the chains that got the weight, from which on this is in
# doubt: the density is too high then, and chains win that fit their rows too closely.
_MANY = 0.05
# Tails have a fifth of the draws, and the law that smooths them is fitted to no fewer than 5.
_DRAWS = 25
# Least weight while the best are looked for, so that no observation has the density 0.
_LEAST = 1e-12


def stack_chains(idata: DataTree, var_name: str | None = None, *, loo: bool = True) -> DataArray:
    """Weights of chains that make their mixture predict best: for chains that don't mix.

    Chains of a network end in modes that differ, and how many end in one says nothing of its
    worth. Stacking maximises the mean over observations of ``log Σ_c w_c p_c(y_i | y_-i)``, the
    leave-one-out score of the mixture. The density of an observation by the rest is estimated from
    the chain's own draws, by Pareto-smoothed importance sampling.

    Parameters
    ----------
    idata : xarray.DataTree
        Its group ``log_likelihood`` has log densities of the rows that were fitted, of dims
        ``(chain, draw, row)``; where `loo` is False, of rows that were held out.
    var_name : str, optional
        Variable of ``log_likelihood``; when None all of them. Every entry is an observation, left
        out alone: of two outcomes of a row, one is left out while the other stays.
    loo : bool
        Estimate what the chains predict of rows that they were fitted to. False takes the
        densities as they are, for held-out rows. Use such rows where many Pareto k are large, but
        not those that are to judge the result.

    Returns
    -------
    xarray.DataArray
        Dims ``(chain,)``, of sum 1, some of them 0. Attributes, in nats per observation, as
        `lppd`: ``stacked``, the score of the mixture; ``equal``, with equal weights; and
        ``best_chain``. The number of observations of each chain that had a Pareto k above 0.7,
        whose density is not to be trusted, is ``pareto_k_above_0.7``.

    Raises
    ------
    ValueError
        If there is no log-likelihood, one chain only, or one of densities that are not finite;
        with `loo`, if a chain never moves or has fewer than 25 draws.

    Warns
    -----
    UserWarning
        If more than 5% of the observations have a Pareto k above 0.7, the mean over the chains by
        their weights.

    See Also
    --------
    lppd : Takes the weights, as do the other scores.
    pymc_sgmcmc.predict : Gives the log-likelihoods, and predictions with the weights.

    Notes
    -----
    Weights are of predictions, not probabilities of modes: of two modes that predict alike, one may
    get everything.

    References
    ----------
    Yao, Vehtari and Gelman, "Stacking for non-mixing Bayesian computations: the curse and blessing
    of multimodal posteriors", Journal of Machine Learning Research 23 (2022), without their prior
    of the weights; Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance sampling",
    ibid. 25 (2024).

    Examples
    --------
    Outcomes around 0, where one chain is and another is not:

    >>> import arviz as az
    >>> import numpy as np
    >>> from scipy import stats
    >>> from pymc_sgmcmc.diagnostics import lppd, stack_chains
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=300)
    >>> mu = np.array([[0.0], [2.0]]) + rng.normal(0, 0.05, size=(2, 100))
    >>> fitted = az.from_dict({"log_likelihood": {"y": stats.norm(mu[..., None]).logpdf(y)}})
    >>> weights = stack_chains(fitted)
    >>> weights.values.round(2).tolist(), weights.attrs["pareto_k_above_0.7"]
    ([1.0, 0.0], [0, 0])
    >>> float(lppd(fitted, weights=weights) - lppd(fitted)) > 0.3
    True
    """
    boolean("loo", loo)
    needs_log_likelihood(idata)
    names = sampled(idata["log_likelihood"].to_dataset()) if var_name is None else [var_name]
    each = [pick(idata, name, (), "log_likelihood") for name in names]
    # (chain, draw, observation)
    densities = np.concatenate([x.values.reshape(*x.shape[:2], -1) for x in each], 2, dtype=float)
    chains = each[0]["chain"].values
    _refuse(densities, chains, loo)
    if loo:
        scores, beyond = _leave_one_out(densities)
    else:
        scores = logsumexp(densities, axis=1) - np.log(densities.shape[1])
    weights = _best_mixture(scores)
    attributes: dict[str, object] = {
        "stacked": _score(scores, weights),
        "equal": _score(scores, np.full(len(scores), 1 / len(scores))),
        "best_chain": float(scores.mean(1).max()),
    }
    if loo:
        attributes["pareto_k_above_0.7"] = beyond.sum(1).tolist()
        _warn(float(weights @ beyond.mean(1)))
    return DataArray(
        weights, dims="chain", coords={"chain": chains}, name="weight", attrs=attributes
    )


def _refuse(densities: np.ndarray, chains: np.ndarray, loo: bool) -> None:
    """Raise an error for log densities ``(chain, draw, observation)`` that can't be stacked."""
    if len(chains) < 2:
        raise ValueError("stack_chains weighs chains, and there is 1: run four.")
    if loo and densities.shape[1] < _DRAWS:
        raise ValueError(
            f"{densities.shape[1]} draws of each chain are too few to leave observations out of: "
            f"take {_DRAWS} or more, or give held-out rows and loo=False."
        )
    finite = np.isfinite(densities).all((1, 2))
    moving = (densities != densities[:, :1]).any((1, 2)) | ~np.array(loo)
    for good, fault in ((finite, "are not all finite"), (moving, "never change")):
        if not good.all():
            raise ValueError(
                f"Log densities of the chains {chains[~good].tolist()} {fault}. Leave such chains "
                f"out: idata.sel(chain={chains[good].tolist()})."
            )


def _warn(share: float) -> None:
    """Warn where too large a share of the observations can't be left out."""
    if share > _MANY:
        warn_user(
            f"The Pareto k of {share:.0%} of the observations is above {_PARETO_K}: what the "
            "others predict of them is not known from the draws, and chains that fit their rows "
            "too closely get too much weight. Stack by held-out rows (loo=False), take more draws, "
            "or leave the weights equal.",
        )


def _leave_one_out(densities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log density of each observation by the others, and whether its Pareto k is too large.

    Both ``(chain, observation)``, from each chain's draws alone.
    """
    from arviz_stats.base import array_stats

    log_weights, k = array_stats.psislw(densities, axis=1)
    return logsumexp(log_weights + np.moveaxis(densities, 1, -1), axis=-1), ~(k <= _PARETO_K)


def _score(scores: np.ndarray, weights: np.ndarray) -> float:
    """Mean over observations of the mixture's log density."""
    return float(logsumexp(scores, axis=0, b=weights[:, None]).mean())


def _best_mixture(scores: np.ndarray) -> np.ndarray:
    """Weights ``(chain,)`` of the mixture with the best score, of ``(chain, observation)``."""
    density = np.exp(scores - scores.max(0))

    # Where the score is best under Σw = 1, the multiplier of this condition is 1: with it in the
    # loss, which is convex, only the bounds remain.
    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        mixture = w @ density
        return w.sum() - np.log(mixture).mean(), 1 - (density / mixture).mean(1)

    chains = len(scores)
    found = minimize(
        loss,
        np.full(chains, 1 / chains),
        jac=True,
        method="L-BFGS-B",
        bounds=[(_LEAST, None)] * chains,
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    weights = np.where(found.x > _LEAST, found.x, 0)
    return weights / weights.sum()
