"""MILE (Sommer et al. 2025): microcanonical Langevin chains, each from a network that Adam trained.

By the package that its authors publish, sklearn-contrib-bde, which is imported as ``bde`` and asks
for an old version of BlackJAX: it is given an environment that only its runs have.
"""

import contextlib
import io

import numpy as np

from benchmarks.networks.models import Predictive
from benchmarks.networks.settings import Network, Settings

_INSTALL = (
    "MILE is in a package that this environment has not. Run\n"
    "    uv run --with sklearn-contrib-bde==1.0.2 python -m benchmarks.uci --methods MILE"
)
_EPOCHS, _PATIENCE = 1200, 20  # of the training, as in the scripts of its paper
_ROWS_AT_ONCE = 256  # its predictions take all draws of all rows that they are given
_SMALLEST_SD = 1e-6
_GRADIENTS = 2  # of an update: its integrator has two stages


def mile(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    network: Network,
    settings: Settings,
    seed: int,
) -> Predictive:
    """Sample on all rows, N(0, 1) weights, ReLU (it has no tanh), mean and noise of the input.

    Raises
    ------
    ImportError
        If sklearn-contrib-bde is not installed; the message has the command that brings it.
    """
    try:
        from bde import BdeRegressor
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    sampler = BdeRegressor(
        n_members=settings.mile_members,
        hidden_layers=list(network.hidden),
        epochs=_EPOCHS,
        patience=_PATIENCE,
        warmup_steps=settings.mile_warmup,
        n_samples=settings.mile_updates,
        n_thinning=settings.mile_thinning,
        seed=seed,
    )
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that can't be turned off
        sampler.fit(X.astype("float32"), y.astype("float32"))
    blocks = np.array_split(X_test.astype("float32"), -(-len(X_test) // _ROWS_AT_ONCE))
    raw = np.concatenate([np.asarray(sampler.predict(x, raw=True)) for x in blocks], axis=2)
    mean, unbounded = raw.reshape(-1, len(X_test), 2).transpose(2, 0, 1)
    return Predictive(
        mean,
        np.logaddexp(0, unbounded) + _SMALLEST_SD,
        {
            "updates": settings.mile_updates,
            "warmup_updates": settings.mile_warmup,
            "gradients_per_update": _GRADIENTS,
            "batch_size": "all rows",
            "n_rows": len(y),
            "chains": settings.mile_members,
        },
    )
