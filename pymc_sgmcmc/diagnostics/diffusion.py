"""The slow coordinates of a cloud of draws: diffusion maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from xarray import Dataset, DataTree

from pymc_sgmcmc.arguments import integer, number
from pymc_sgmcmc.diagnostics.points import Names, points

# Neighbours that even the draw furthest out has within reach of the kernel.
_NEIGHBOURS = 16
_BLOCK_BYTES = 2**26


def diffusion_map(
    idata: DataTree,
    var_names: Names = None,
    *,
    n_components: int = 2,
    landmarks: int = 1000,
    alpha: float = 0.5,
    bandwidth: float | None = None,
    standardize: bool = True,
    group: str = "posterior",
) -> Dataset:
    r"""Draws in the coordinates that a diffusion through them changes most slowly.

    From each draw a random walk goes to its neighbours. Its slowest functions :math:`\psi_k` tell
    what is far apart along the draws, rather than through the space between them: modes first, then
    ways along a bent ridge.

    .. math::

        k_{ij} = e^{-|x_i - x_j|^2 / 4\varepsilon}, \quad
        k^{(\alpha)}_{ij} = \frac{k_{ij}}{(q_i q_j)^\alpha}, \quad q_i = \sum_j k_{ij}, \qquad
        P_{ij} = \frac{k^{(\alpha)}_{ij}}{\sum_l k^{(\alpha)}_{il}}, \qquad
        P \psi_k = \lambda_k \psi_k

    As :math:`\varepsilon \to 0` with many draws of a density p, P is :math:`e^{\varepsilon L}` with
    :math:`L f = \Delta f + 2 (1 - \alpha)\, \nabla \log p \cdot \nabla f`: with
    :math:`\alpha = 1/2` overdamped Langevin dynamics in that density, with 1 plain diffusion on the
    draws' shape, however dense they are.

    Parameters
    ----------
    idata : xarray.DataTree
        With draws ``(chain, draw, ...)``.
    var_names : sequence of str, optional
        Variables; all of the group, deterministic ones too, when None.
    n_components : int, default 2
        Coordinates, besides the constant one.
    landmarks : int, default 1000
        Draws, evenly spaced, on which the eigenproblem is solved; all others get their place from
        them (Nyström). Memory grows with its square and time with its cube: a second at 1000.
    alpha : float, default 0.5
        α in [0, 1].
    bandwidth : float, optional
        ε, in the squared unit of the entries. When None it is found: 4ε is the largest squared
        distance of a landmark from its 16th neighbour, so that none stands alone.
    standardize : bool, default True
        Divide each entry by its standard deviation over all draws. False where all entries have the
        same unit, as predictions have.
    group : str
        Where the variables are. ``"predictions"`` compares functions in place of weights.

    Returns
    -------
    xarray.Dataset
        ``coordinate`` ``(chain, draw, component)``, the functions :math:`\psi_k`, of mean 0 and
        mean square 1 under the walk's own distribution, the largest number positive;
        ``eigenvalue`` :math:`\lambda_k`, the slowest first, and ``rate``
        :math:`-\log(\lambda_k)/\varepsilon` of L: n rates near 0 before a gap are n + 1 modes.
        Attributes ``bandwidth``, ``alpha`` and ``landmarks``.

    Raises
    ------
    ValueError
        If a variable is not there or has values that are not finite, an argument is out of its
        range, or all landmarks are the same.

    See Also
    --------
    principal_components : Straight coordinates.
    canonicalize : Copies of a network lie apart until hidden units have the same order.
    pymc_sgmcmc.plots.plot_diffusion_map : Draws them.

    Notes
    -----
    The fewer landmarks and the more entries, the larger is the bandwidth. With a large one the
    coordinates are those of `principal_components`, and rates are too small: where draws are normal
    with variance s², λ = 1/(1 + 2e − 2αe/(1 + 2e)) with e = ε/s².

    References
    ----------
    Coifman and Lafon, "Diffusion maps", Applied and Computational Harmonic Analysis 21, 2006.

    Examples
    --------
    Draws in two wells, which the first coordinate tells apart:

    >>> import arviz as az
    >>> import numpy as np
    >>> from pymc_sgmcmc.diagnostics import diffusion_map
    >>> rng = np.random.default_rng(0)
    >>> well = rng.choice([-2, 2], size=(4, 500))
    >>> found = diffusion_map(az.from_dict({"posterior": {"x": rng.normal(well, 0.5)}}))
    >>> psi = found["coordinate"].sel(component=1)
    >>> bool(((psi > 0) == (well > 0)).all() or ((psi > 0) == (well < 0)).all())
    True
    >>> found["rate"].round(1).values.tolist()
    [0.0, 19.1]
    """
    integer("n_components", n_components)
    integer("landmarks", landmarks, least=3)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, such as 0.5; got {alpha!r}.")
    draws = points(idata, var_names, group, standardize)
    n = len(draws.values)
    at = np.unique(np.linspace(0, n - 1, min(landmarks, n)).round().astype(int))
    if n_components > len(at) - 2:
        raise ValueError(
            f"n_components={n_components}, but {len(at)} landmarks have no more than "
            f"{len(at) - 2}: take more of them, or fewer components."
        )
    walk = RandomWalk.on(draws.values[at], alpha, bandwidth)
    eigenvalues, functions = walk.slowest(n_components)
    return Dataset(
        {
            "coordinate": draws.by_draw(walk.extend(draws.values, eigenvalues, functions)),
            "eigenvalue": ("component", eigenvalues),
            "rate": ("component", -np.log(eigenvalues) / walk.bandwidth),
        },
        attrs={"bandwidth": walk.bandwidth, "alpha": alpha, "landmarks": len(at)},
    )


@dataclass(frozen=True)
class RandomWalk:
    """A random walk between landmarks.

    Attributes
    ----------
    landmarks : ndarray
        Shape ``(m, d)``.
    bandwidth : float
        ε.
    squared : ndarray
        Their squared distances ``(m, m)``.
    weight : ndarray
        q^-α of each, ``(m,)``: how much a step to it counts.
    """

    landmarks: np.ndarray
    bandwidth: float
    squared: np.ndarray
    weight: np.ndarray

    @classmethod
    def on(cls, landmarks: np.ndarray, alpha: float, bandwidth: float | None) -> Self:
        """Walk with the kernel's density, to the power of alpha, divided out."""
        squared = cdist(landmarks, landmarks, "sqeuclidean")
        if bandwidth is None:
            bandwidth = connecting_bandwidth(squared)
        bandwidth = number("bandwidth", bandwidth, 0)
        density = np.exp(-squared / (4 * bandwidth)).sum(1)
        return cls(landmarks, bandwidth, squared, density**-alpha)

    def slowest(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues ``(n,)``, the largest first, and functions ``(m, n)`` of the walk.

        P = D⁻¹ K with a symmetric K is D^(-1/2) K D^(-1/2) seen in other coordinates. That has
        D^(1/2) 1 as its eigenvector of eigenvalue 1, which is taken out: where the landmarks fall
        into parts, others of eigenvalue 1 can't be mixed with it.
        """
        kernel = np.exp(-self.squared / (4 * self.bandwidth)) * np.outer(self.weight, self.weight)
        root = np.sqrt(kernel.sum(1))
        constant = root / np.linalg.norm(root)
        symmetric = kernel / np.outer(root, root) - np.outer(constant, constant)
        # Lanczos' method needs thousands of products where many eigenvalues are near 1.
        m = len(root)
        eigenvalues, vectors = eigh(symmetric, subset_by_index=[m - n, m - 1])
        functions = (vectors / constant[:, None])[:, ::-1]
        largest = np.abs(functions).argmax(0)
        functions *= np.sign(functions[largest, np.arange(n)])
        # Rounding takes eigenvalues over 1, and those of wide kernels under 0.
        tiny = np.finfo(float).tiny
        return np.clip(eigenvalues[::-1], tiny, 1), functions

    def extend(self, x: np.ndarray, eigenvalues: np.ndarray, functions: np.ndarray) -> np.ndarray:
        """Functions at points ``(n, d)``: ψ(x) = Σ_j P(x, x_j) ψ(x_j) / λ, as at a landmark."""
        block = max(1, _BLOCK_BYTES // (8 * len(self.landmarks)))
        found = []
        for first in range(0, len(x), block):
            squared = cdist(x[first : first + block], self.landmarks, "sqeuclidean")
            nearest = squared.min(1, keepdims=True)  # whose kernel is 1, lest all of them are 0
            steps = np.exp((nearest - squared) / (4 * self.bandwidth)) * self.weight
            steps /= steps.sum(1, keepdims=True)
            found.append(steps @ functions / eigenvalues)
        return np.concatenate(found)


def connecting_bandwidth(squared: np.ndarray) -> float:
    """Bandwidth that reaches some neighbours from every landmark, of squared distances ``(m, m)``.

    Rules from how the mean kernel grows with ε suit the bulk, and leave draws of a tail alone: then
    they, not modes, are the slowest functions.
    """
    neighbour = min(_NEIGHBOURS, len(squared) - 1)
    reach = np.partition(squared, neighbour, axis=1)[:, neighbour].max() / 4
    if not reach > 0:
        raise ValueError("All landmarks are the same draw: there is nothing to map.")
    return reach
