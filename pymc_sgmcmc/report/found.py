"""What a warm-up found, besides the tuning itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymc_sgmcmc.report.record import Record


@dataclass(frozen=True, kw_only=True)
class Found(Record):
    """Findings of a warm-up; None is what it had no reason to look for.

    Attributes
    ----------
    largest_curvature, curvature_ratio : float or None
        Largest ω² that was met in the sampler's coordinates, and over the median of those met.
    softest_curvature : float or None
        ω² of the softest direction that matters, which the friction was chosen for.
    updates_to_forget : float or None
        Updates after which a position has forgotten where it was in that direction: the integral of
        its autocorrelation, with what friction was chosen.
    largest_noise : float or None
        Largest variance V of the gradient noise of a coordinate.
    expected_bias : float or None
        Relative error of a variance that the step size leaves.
    step_halved : int or None
        Times that the step was halved, since chains had grown hot.
    hot_chains : ndarray or None
        Chains that had.
    search_updates : int or None
        Updates of every chain that would have evaluated as many gradients as the search did.
    warmup_seconds : float or None
        Time that the search and the measurements took.
    misfit : float or None
        Mean square of ∇U − z over d, 0 for a normal posterior.
    modes, modes_found : int or None
        Modes with posterior mass, and those with chains in them whose search converged.
    mode_of_chain, mode_mass : ndarray or None
        Mode of each chain ``(chains,)``, and the log of the mass of each mode that has chains.
    searches, searches_failed : int or None
    mode_polished : bool or None
        Whether the descent of a regression with thousands of effects led on to a mode.
    descent_updates : int or None
        Updates of a descent, for every chain.
    descent_at_rest : bool or None
        Whether the potential had stopped falling then.
    non_centred : tuple of str
        Effects of many rows each that would be easier to sample if they were written centred.
    non_centred_rows : float or None
        Rows of one of their groups, at least.
    """

    largest_curvature: float | None = None
    curvature_ratio: float | None = None
    softest_curvature: float | None = None
    updates_to_forget: float | None = None
    largest_noise: float | None = None
    expected_bias: float | None = None
    step_halved: int | None = None
    hot_chains: np.ndarray | None = None
    search_updates: int | None = None
    warmup_seconds: float | None = None
    misfit: float | None = None
    modes: int | None = None
    modes_found: int | None = None
    mode_of_chain: np.ndarray | None = None
    mode_mass: np.ndarray | None = None
    searches: int | None = None
    searches_failed: int | None = None
    mode_polished: bool | None = None
    descent_updates: int | None = None
    descent_at_rest: bool | None = None
    non_centred: tuple[str, ...] = ()
    non_centred_rows: float | None = None
