"""Updates a second of Equinox and Flax modules in PyMC models, beside SGLD by hand in JAX.

Both sample the same posterior of the same module, with N(0, 1) priors, in float32: rows of a batch
with replacement, noise and gradient, every hundredth position kept. The loop by hand is one scan of
one program, its parameters one flat vector, its chains a vmap. Rounds take turns, in one process,
and what is counted is processor time, of all cores, so that what else the machine does falls on
neither; a ratio is the median over rounds.

    uv run --extra equinox --extra flax python -m benchmarks.modules [--chains 2] [--smoke]
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from flax import nnx
from jax.flatten_util import ravel_pytree

from benchmarks import jax_networks
from pymc_sgmcmc import SGLD, nn

STEP_SIZE, EVERY = 1e-3, 100
WIDTHS = {"mlp": 50, "conv": 0, "transformer": 32}


class Unit:
    """Weights from N(0, 1)."""

    def weights(self, name: str, dims: tuple[str, ...], fan_in: int, gain: float):
        """Write the weights; see `nn.Prior`."""
        return pm.Normal(name, 0, 1, dims=dims)


def problem(kind: str, library: str):
    """Module, rows and outcomes."""
    if kind == "transformer":
        x, y = jax_networks.text(2000, 16)
        classes, side = int(y.max()) + 1, 16
    else:
        side, classes = 12, 4
        x, y = jax_networks.images(2000, side, classes)
    x = x.reshape(len(x), -1) if kind == "mlp" else x
    x = x.astype("int32" if x.dtype.kind == "i" else "float32")
    return getattr(jax_networks, library)(kind, WIDTHS[kind], classes, side), x, y.astype("int32")


def ours(module, library: str, x, y, batch_size: int, chains: int, draws: int):
    """Function that makes a round of updates."""
    write = nn.from_equinox if library == "equinox" else nn.from_flax
    with pm.Model():
        logits = write(module, pm.Data("x", x), prior={"*": Unit()})
        pm.Categorical("y", logit_p=logits, observed=pm.Data("labels", y))
        step = SGLD(
            batch_size=batch_size, step_size=STEP_SIZE, steps_per_draw=EVERY,
            dtype="float32", engine="jax",
        )  # fmt: skip
        engine = step.compiled.engine()
    size = step.compiled.plan.potential.size
    start = 0.1 * np.random.default_rng(0).normal(size=(chains, size)).astype("float32")
    seeds = np.random.default_rng(0).integers(2**32, size=(chains, 2), dtype=np.uint32)
    state, step_sizes = engine.init(start, seeds), np.full((draws, EVERY), STEP_SIZE)

    def run():
        nonlocal state
        block, state = engine.run(state, step_sizes, STEP_SIZE, {}, capacity=draws)
        return block.positions

    return run, size


def by_hand(module, library: str, x, y, batch_size: int, chains: int, draws: int):
    """The same in JAX alone."""
    if library == "equinox":
        arrays, rest = eqx.partition(module, eqx.is_inexact_array)
        call = lambda tree, x: jax.vmap(eqx.combine(tree, rest))(x)  # noqa: E731
    else:
        graph, arrays, rest = nnx.split(module, nnx.Param, ...)
        call = lambda tree, x: nnx.merge(graph, tree, rest)(x)  # noqa: E731
    flat, unravel = ravel_pytree(jax.tree.map(lambda x: x.astype("float32"), arrays))

    def potential(theta, x, y):
        log_p = jax.nn.log_softmax(call(unravel(theta), x))
        likelihood = jnp.take_along_axis(log_p, y[..., None], -1).sum()
        return jnp.square(theta).sum() / 2 - N / batch_size * likelihood

    N = len(x)
    gradient = jax.grad(potential)

    def update(theta, key):
        of_rows, of_noise = jax.random.split(key)
        batch = jax.random.randint(of_rows, (batch_size,), 0, N)
        noise = jax.random.normal(of_noise, theta.shape, theta.dtype)
        drift = STEP_SIZE**2 / 2 * gradient(theta, x[batch], y[batch])
        return theta - drift + STEP_SIZE * noise, None

    def draw(theta, key):
        theta, _ = jax.lax.scan(update, theta, jax.random.split(key, EVERY))
        return theta, theta

    @jax.jit
    def loop(theta, key):
        def chain(theta, key):
            return jax.lax.scan(draw, theta, jax.random.split(key, draws))

        return jax.vmap(chain)(theta, jax.random.split(key, chains))

    with jax.enable_x64(False):
        x, y = jnp.asarray(x), jnp.asarray(y)
        theta = 0.1 * jax.random.normal(jax.random.key(1), (chains, flat.size), jnp.float32)
        key = jax.random.key(2)

    def run():
        nonlocal theta, key
        with jax.enable_x64(False):
            key, of_round = jax.random.split(key)
            theta, positions = loop(theta, of_round)
            return np.asarray(positions)

    return run, flat.size


def seconds(run) -> float:
    start = time.process_time()
    assert np.isfinite(run()).all()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--draws", type=int, default=5, help="of a round, a hundred updates each")
    parser.add_argument("--only", default="", help="part of a name: flax, mlp, ...")
    parser.add_argument("--smoke", action="store_true", help="two short rounds of each")
    options = parser.parse_args()
    rounds, draws = (2, 2) if options.smoke else (options.rounds, options.draws)
    for kind in WIDTHS:
        for library in ("equinox", "flax"):
            if options.only not in f"{library} {kind}":
                continue
            module, x, y = problem(kind, library)
            args = module, library, x, y, options.batch_size, options.chains, draws
            (mine, size), (hand, _) = ours(*args), by_hand(*args)
            for run in (mine, hand):  # compiles
                run()
            times = np.array([(seconds(mine), seconds(hand)) for _ in range(rounds)])
            rates = draws * EVERY / np.median(times, axis=0)
            ratio = np.median(times[:, 1] / times[:, 0])
            print(
                f"{library} {kind}, {size:,} parameters, {options.chains} chains: "
                f"{rates[0]:.0f} updates a second, by hand {rates[1]:.0f}, ratio {ratio:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
