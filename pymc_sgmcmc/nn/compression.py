"""A few draws of a posterior that predict like all of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri
from xarray import DataArray, DataTree

from pymc_sgmcmc.arguments import integer

# Parts of a normal predictive distribution that are as likely as each other.
_PARTS = 32
# Rounds of expectation-maximisation for the weights.
_ROUNDS = 100
# Least probability that is told from 0.
_LEAST = 1e-30


class Compressed(NamedTuple):
    """A few draws, and how much each counts.

    Attributes
    ----------
    idata : xarray.DataTree
        Group ``posterior`` with each draw as a chain of its own, in the order in which they were
        chosen; ``of_chain`` and ``of_draw`` tell where it was.
    weights : xarray.DataArray
        Dims ``(chain,)``, of sum 1: what scores take as ``weights=``.
        Its attribute ``kl`` is the divergence that is left, in nats per row.

    See Also
    --------
    compress : Makes it.

    Examples
    --------
    >>> from pymc_sgmcmc import nn
    >>> nn.Compressed._fields
    ('idata', 'weights')
    """

    idata: DataTree
    weights: DataArray


def compress(
    idata: DataTree, n: int, *, predictions: DataTree | None = None, var_name: str | None = None
) -> Compressed:
    r"""Choose the few draws whose weighted predictions are nearest to those of all draws.

    With p̄ the predictive distribution of all draws, draws S and weights w are looked for that make

    .. math::

        \text{KL} = \frac1N \sum_{i=1}^N \sum_k \bar p_{ik}
        \log \frac{\bar p_{ik}}{\sum_{s \in S} w_s\, p_{sik}}

    small over N rows: one draw after the other, each the one that lowers it fastest, after which
    all weights are made the best ones by expectation-maximisation. For the normal outcomes of a
    regression, k are 32 parts of the real line that are equally likely by a normal distribution
    with the mean and variance of p̄.

    Parameters
    ----------
    idata : xarray.DataTree
        With the group ``posterior``.
    n : int
        Draws to keep.
    predictions : xarray.DataTree, optional
        What `predict` gave for some rows, of which no outcomes are needed: better new ones of the
        kind that will be predicted than those that were fitted, of which most draws are sure.
        `idata` itself when None.
    var_name : str, optional
        Outcome ``y`` whose ``y_probability``, or ``y_mean`` and ``y_sd``, are compared; the only
        one when None.

    Returns
    -------
    Compressed
        `idata` and `weights`.

    Raises
    ------
    ValueError
        If there are no such predictions, or of other draws, or fewer draws than n.

    See Also
    --------
    pymc_sgmcmc.predict : Gives the predictions, of all draws and of the few.
    pymc_sgmcmc.diagnostics.lppd : A score that takes the weights.

    Notes
    -----
    This is the Frank-Wolfe method that corrects all weights in each step. The divergence after n
    steps is that of the best mixture and at most a constant over n (Li & Barron 1999, Mixture
    density estimation).

    Examples
    --------
    Four draws, of which two predict the same as all:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc import nn
    >>> p = np.array([[[0.9], [0.5], [0.5], [0.1]]])  # (chain, draw, row)
    >>> idata = az.from_dict({"posterior": {"w": np.arange(4.0)[None]}, "predictions": {
    ...     "y_probability": p}})
    >>> few, weights = nn.compress(idata, 1)
    >>> few["posterior"]["w"].values.ravel(), weights.values
    (array([1.]), array([1.]))
    """
    n = integer("n", n)
    posterior = idata["posterior"].to_dataset()
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    p = _probabilities(idata if predictions is None else predictions, var_name)
    if p.shape[:2] != (chains, draws):
        raise ValueError(
            f"predictions are of {p.shape[0]} chains of {p.shape[1]} draws, and the posterior has "
            f"{chains} of {draws}. Give predict(idata, {{...}}) of this idata."
        )
    p = p.reshape(chains * draws, *p.shape[2:])
    if n > len(p):
        raise ValueError(f"n must be at most the number of draws, {len(p)}, got {n}.")
    target = p.mean(0)
    chosen, weights, left = _choose(p, target, n)
    chain, draw = np.unravel_index(chosen, (chains, draws))
    few = posterior.isel(
        chain=DataArray(chain, dims="which"), draw=DataArray(draw, dims="which")
    ).drop_vars(["chain", "draw"], errors="ignore")
    few = few.rename({"which": "chain"}).assign_coords(
        chain=np.arange(n),
        of_chain=("chain", posterior["chain"].values[chain]),
        of_draw=("chain", posterior["draw"].values[draw]),
    )
    few = few.expand_dims(draw=[0]).transpose("chain", "draw", ...)
    found = DataArray(weights, dims="chain", coords={"chain": np.arange(n)}, attrs={"kl": left})
    return Compressed(DataTree.from_dict({"/posterior": few}), found)


def _choose(p: np.ndarray, target: np.ndarray, n: int) -> tuple[list[int], np.ndarray, float]:
    """Numbers of n draws, their weights, and the divergence that is left.

    The first is the nearest to the target. Each further one is that whose weight, raised from 0,
    lowers the divergence fastest: at the rate Σ target p / mixture − 1.
    """
    log_p = np.log(p + _LEAST)
    chosen = [int(np.tensordot(log_p, target, 2).argmax())]
    weights = np.ones(1)
    while len(chosen) < n:
        mixture = np.tensordot(weights, p[chosen], 1) + _LEAST
        rate = np.tensordot(p, target / mixture, 2)
        rate[chosen] = -np.inf
        chosen.append(int(rate.argmax()))
        share = 1 / len(chosen)
        weights = _best_weights(p[chosen], target, np.append(weights * (1 - share), share))
    mixture = np.tensordot(weights, p[chosen], 1) + _LEAST
    left = (target * np.log((target + _LEAST) / mixture)).sum() / len(target)
    return chosen, weights, float(left)


def _best_weights(p: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights of the mixture nearest to the target, by expectation-maximisation."""
    for _ in range(_ROUNDS):
        mixture = np.tensordot(weights, p, 1) + _LEAST
        weights = weights * np.tensordot(p, target / mixture, 2)
        weights /= weights.sum()
    return weights


def _probabilities(tree: DataTree, var_name: str | None) -> np.ndarray:
    """Probabilities ``(chain, draw, row, part)`` of classes, or of parts of the real line."""
    if "predictions" not in tree.children:
        raise ValueError(
            "There are no predictions: compress(idata, n, predictions=predict(idata, {...}))."
        )
    found = tree["predictions"].to_dataset()
    names = [
        name.removesuffix(end)
        for name in map(str, found.data_vars)
        for end in ("_probability", "_sd")
        if name.endswith(end)
    ]
    if var_name is None and len(names) == 1:
        var_name = names[0]
    if var_name not in names:
        raise ValueError(
            f"Which outcome is to be predicted? var_name must be one of {names}, got {var_name!r}."
        )
    if f"{var_name}_probability" not in found:
        mean, sd = (_by_draw(found[f"{var_name}_{kind}"]) for kind in ("mean", "sd"))
        return _parts(mean.reshape(*mean.shape[:2], -1), sd.reshape(*sd.shape[:2], -1))
    p = _by_draw(found[f"{var_name}_probability"])
    if p.ndim < 4 or not np.allclose(p.sum(-1), 1, atol=1e-3):  # of 1, alone
        p = np.stack([1 - p, p], -1)
    return p.reshape(*p.shape[:2], -1, p.shape[-1])


def _parts(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Probabilities of parts of the real line by normal distributions ``(chain, draw, row)``."""
    center = mean.mean((0, 1))
    spread = np.sqrt(np.square(sd).mean((0, 1)) + mean.var((0, 1)))
    edges = center[:, None] + spread[:, None] * ndtri(np.arange(_PARTS + 1) / _PARTS)
    return np.diff(ndtr((edges - mean[..., None]) / sd[..., None]), axis=-1)


def _by_draw(x: DataArray) -> np.ndarray:
    return x.transpose("chain", "draw", ...).values.astype(float)
