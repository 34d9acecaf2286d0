"""All methods by name: each fits a network to rows and predicts others.

``method(X, y, X_test, network, settings, seed)`` gives a `Predictive`.
"""

from collections.abc import Callable

from benchmarks.networks.ensemble import deep_ensemble
from benchmarks.networks.mile import mile
from benchmarks.networks.mode import at_mode, laplace
from benchmarks.networks.models import Predictive
from benchmarks.networks.sampling import atmc, nuts
from benchmarks.networks.variational import advi

METHODS: dict[str, Callable[..., Predictive]] = {
    "ATMC": atmc,
    "MAP": at_mode,
    "ensemble": deep_ensemble,
    "ADVI": advi,
    "Laplace": laplace,
    "NUTS": nuts,
    "MILE": mile,
}
