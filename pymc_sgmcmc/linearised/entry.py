"""The door: a model in, draws around its mode out. JAX is imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymc.model import Model
from pymc.util import RandomState
from xarray import DataTree

from pymc_sgmcmc.arguments import generator, integer, one_of, optional
from pymc_sgmcmc.model.plain import plain, the_model

_STRUCTURES = ("auto", "full", "diag", "kron", "last", "sampled")
_EM = ("isotropic", "layer", "g-prior")


def laplace(
    model: Model | None = None,
    *,
    draws: int = 100,
    structure: str = "auto",
    em: str | None = None,
    vars: Sequence[Any] | None = None,
    mode: Mapping[str, Any] | DataTree | None = None,
    batch_size: int | None = None,
    data: Sequence[str] | None = None,
    max_updates: int = 100_000,
    em_rounds: int = 20,
    dtype: str | None = None,
    random_seed: RandomState = None,
) -> DataTree:
    r"""Draw from the linearised Laplace approximation of a posterior, around one mode.

    At the mode w* the parameters f of the likelihood's law, the logits say, are replaced by
    f(x; w*) + J(x) (w − w*), and the law by a normal one with its Fisher information H. Then the
    posterior is normal:

    .. math::

        w \sim \mathcal N\left(\bar w, (G + A)^{-1}\right), \qquad
        G = \sum_{i=1}^N J_i^\top H_i J_i,

    with the precision A of the prior. At the mode itself :math:`\bar w = w^*`. Draws are
    independent. It takes about as long as an optimiser, knows a single mode, and no more of it than
    its curvature: a network's posterior is wider, and chains of `ATMC` see that.

    Parameters
    ----------
    model : pm.Model, optional
        That of the context when None. Likelihoods may be ``pm.Normal`` (linear in its mean and the
        log of its standard deviation), ``pm.Bernoulli``, ``pm.Binomial`` and ``pm.Categorical``
        (logits), or ``pm.Poisson`` (log of the mean). Priors have to be independent of each other;
        one that is not normal, as of a learned standard deviation in its logarithm, is replaced by
        a normal one with its curvature at the mode.
    draws : int
        Number of draws K.
    structure : str
        How G is represented. "sampled": not at all, draws are found by stochastic gradients, and
        memory is linear in the number d of variables; "full": as a matrix (d, d); "kron": by two
        factors for each variable; "diag": by its diagonal; "last": whole, for the last layer that
        `nn` wrote. "auto": full up to 1,000 variables, sampled above.
    em : {"isotropic", "layer", "g-prior"}, optional
        Fit precisions of the priors ``pm.Normal(..., 0, sd)`` to the data, by EM with MacKay's
        M-step: one factor for all of them; one for each variable, of which a layer has two; or
        precisions in proportion to the diagonal of G, with one factor. The model's own when None.
        Not for a variable that is multiplied by another one, a scale that is learned.
    vars : sequence of str, optional
        Free variables that are linearised; others stay at the mode. All when None.
    mode : mapping of str to array, or DataTree, optional
        Where the model is linearised: by names of value variables, as `pm.find_MAP` gives it, or
        where an earlier call did. Found when None.
    batch_size : int, optional
        Rows of a stochastic gradient; 100 when None.
    data : sequence of str, optional
        Names of the row data, where they are not recognised.
    max_updates : int
        Updates, at most, in which draws of "sampled" are found.
    em_rounds : int
        Rounds of EM, at most.
    dtype : {"float32", "float64"}, optional
        Of the mode and the products; ``pytensor.config.floatX`` when None.
    random_seed : int or numpy.random.Generator, optional
        Of the draws, and of the search for the mode.

    Returns
    -------
    DataTree
        Groups ``posterior`` and ``prior`` with one chain of K independent draws, ``linearised_at``
        with the mode, ``variables`` with the effective dimension and the factor of the prior's
        precision of each, and the data. By ``linearised_at`` `predict` knows that predictions are
        linear in the draws; Deterministics among the draws, and
        `pm.sample_posterior_predictive`, are not.

    Raises
    ------
    ValueError, TypeError
        If the likelihood, a prior or an argument is none of these; the message says what to write.
    NotImplementedError
        If JAX lacks an operation of the model.

    Warns
    -----
    UserWarning
        If draws of "sampled" were not found as closely as they should be, or the mode was missed.

    See Also
    --------
    predict : Predictions of the linear model.
    ATMC : Chains that leave the mode.
    pymc_sgmcmc.diagnostics.lppd : The score of predictions.

    References
    ----------
    MacKay (1992), A practical Bayesian framework for backpropagation networks, Neural Computation.
    Immer, Korzepa & Bauer (2021), Improving predictions of Bayesian neural nets via local
    linearization, AISTATS.
    Antorán et al. (2023), Sampling-based inference for large linear models, with application to
    linearised Laplace, ICLR; Antorán (2024), Scalable Bayesian inference in the era of deep
    learning, thesis.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import laplace, nn, predict
    >>> x = np.linspace(-1.7, 1.7, 100)
    >>> with pm.Model() as model:
    ...     features = nn.mlp(pm.Data("X", x[:, None]), (20,), prior=nn.FixedScale())
    ...     y = nn.regression(features, 1.4 * np.sin(2 * x), noise=0.1, prior=nn.FixedScale())
    ...     idata = laplace(draws=50, em="layer", random_seed=1)
    >>> idata.posterior["hidden_1_weights"].shape
    (1, 50, 1, 20)
    >>> new = predict(idata, {"X": [[0.0], [5.0]]}, model=model)
    >>> sd = new["predictions"]["y_mean"].std(("chain", "draw")).values
    >>> bool(sd[1] > 5 * sd[0])  # far from the data anything may be
    True
    """
    from pymc_sgmcmc.linearised.run import run

    one_of("structure", structure, _STRUCTURES)
    if em is not None:
        one_of("em", em, _EM, otherwise=", or None")
    return run(
        plain(the_model(model)),
        draws=integer("draws", draws),
        structure=structure,
        em=em,
        vars=vars,
        mode=mode,
        batch_size=optional(integer)("batch_size", batch_size),
        data=data,
        max_updates=integer("max_updates", max_updates),
        em_rounds=integer("em_rounds", em_rounds),
        dtype=dtype,
        rng=generator("random_seed", random_seed),
    )
