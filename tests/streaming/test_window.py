"""Why batches are not taken from a window of the rows: the heat that docs/big_data.md computes."""

import numpy as np
import pytest

H, FRICTION, CHAINS, UPDATES = 0.1, 1.0, 4_000, 2_000


def heated(force_variance, lifetime, h=H, beta=FRICTION):
    """Variance of a standard normal under a force that is correlated over some updates."""
    gamma = 1 / (h * lifetime)
    return 1 + force_variance * (beta + gamma) / (beta * (1 + gamma * beta + gamma**2))


@pytest.mark.parametrize(("force_variance", "lifetime"), [(0.5, 400), (1.0, 30), (2.0, 5)])
def test_a_window_heats_as_is_said(force_variance, lifetime):
    rng = np.random.default_rng(0)
    q, p = rng.normal(size=(2, CHAINS))
    force = force_variance**0.5 * rng.normal(size=CHAINS)
    stay = np.exp(-1 / lifetime)
    keep = np.exp(-FRICTION * H)
    total = 0.0
    for update in range(UPDATES):
        fresh = force_variance**0.5 * rng.normal(size=CHAINS)
        force = stay * force + np.sqrt(1 - stay**2) * fresh
        p = keep * (p - H * (q + force)) + np.sqrt(1 - keep**2) * rng.normal(size=CHAINS)
        q = q + H * p
        total += (q**2).mean() if update >= UPDATES // 2 else 0
    expected = heated(force_variance, lifetime)
    assert total / (UPDATES // 2) == pytest.approx(expected, rel=0.06)
