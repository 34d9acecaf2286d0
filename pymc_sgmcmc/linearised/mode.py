"""The mode around which a model is linearised."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors

from pymc_sgmcmc.engines.settings import JAX
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.graphs import is_network
from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.nn.convolution import Convolution
from pymc_sgmcmc.run.starts import starting_positions
from pymc_sgmcmc.warmup.descent import DescentDynamics, descend
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.mode import newton
from pymc_sgmcmc.warmup.polish import polish

_log = logging.getLogger("pymc_sgmcmc")

# Variables up to which Newton's method is tried first, where the model is no network.
_SMALL = 1000
# Multiplications of a pass over all rows up to which hundreds of passes are affordable.
_POLISHED = 2e8
# Updates in which the step of a descent shrinks to nothing: those of some passes, within bounds;
# and the step that it begins with.
_PASSES, _FEWEST, _MOST, _RATE = 10, 2_000, 20_000, 0.01
_BLOCK = 200
# Rows that are evaluated at once.
_ROWS = 1_000


def find_mode(potential: StochasticPotential, rng: np.random.Generator) -> np.ndarray:
    """Position of a mode of the posterior, ``(D,)``.

    By Newton's method, where that comes to rest; else by the warm-up's descent without its noise,
    whose step then shrinks to nothing, and L-BFGS on all rows where these are not too many.

    Parameters
    ----------
    potential : StochasticPotential
    rng : numpy.random.Generator

    Raises
    ------
    SamplingError
        If the log posterior is not finite where it would start.
    """
    some, whole = landscapes(potential, rng)
    network = is_network(potential.model)
    start = starting_positions(
        potential,
        [potential.initial_point],
        [rng],
        some.gradient,
        from_prior="where possible" if network else False,
    )
    if potential.size <= _SMALL and not network:
        found = newton(whole, start[0])
        if found.converged:
            return found.position
    position = _descended(potential, start, rng)
    if (potential.n_rows or 1) * multiplications(potential) > _POLISHED:
        return position
    polished = polish(whole, position, np.ones(potential.size))
    lower = polished.potential < whole.gradient(position[None])[0][0]
    return polished.position if lower else position


def multiplications(potential: StochasticPotential) -> int:
    """Of a row, about: one for each parameter, those of filters at every place of the image."""
    nodes = [v.owner for v in ancestors(potential.model.observed_RVs) if v.owner is not None]
    nodes = [node for node in nodes if isinstance(node.op, Convolution)]
    shapes = [pt.shape(x) for node in nodes for x in (node.inputs[1], node.outputs[0])]
    found = iter(pytensor.function([], shapes, mode=INTERPRETED)())
    pairs = zip(found, found, strict=True)
    again = [math.prod(kernel) * (math.prod(out[1:3]) - 1) for kernel, out in pairs]
    return potential.size + sum(again)


def landscapes(
    potential: StochasticPotential, rng: np.random.Generator
) -> tuple[Landscape, Landscape]:
    """U on some rows, and on all of them: as many at once, so that memory does not grow."""
    some = Landscape(potential, _ROWS, {}, rng, JAX())
    return some, Landscape(potential, None, {}, rng, JAX(), like=some)


def _descended(
    potential: StochasticPotential, start: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """End of a minibatch descent, and of one with a step that shrinks after it."""
    engine = JAX().engine(Estimator(potential), DescentDynamics(temperature=0.0))
    seeds = rng.integers(2**32, size=(2, 1, 2), dtype=np.uint32)
    # What no longer matters is what would not matter to the posterior's mass.
    found = descend(engine, start, {}, seeds[0], temperature=1.0)
    state = engine.init(found.positions, seeds[1])
    rows = potential.n_rows or 1
    passes = _PASSES * rows / (potential.batch_size or rows)
    updates = _BLOCK * round(np.clip(passes, _FEWEST, _MOST) / _BLOCK)
    rates = _RATE * (1 + np.cos(np.linspace(0, np.pi, updates))) / 2
    for part in rates.reshape(-1, 1, _BLOCK):
        draws, state = engine.run(state, part, _RATE, {}, 1)
    return draws.positions[0, -1].astype(float)
