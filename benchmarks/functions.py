"""Updates per second of samplers on `pymc_sgmcmc.functions`, beside BlackJAX written by hand.

The same SGLD of BlackJAX, on gradients of a PyMC model and on those of a log density that was
written in JAX for it. Both draw their batches in the loop, of the same size from the same rows,
in one program each; they take turns, the order changing, and the ratio is the median over rounds.

    python benchmarks/functions.py                 # some minutes
    python benchmarks/functions.py --rounds 5 --updates 2000
"""

import argparse
import json
import time
from collections.abc import Callable

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from blackjax.sgmcmc.gradients import grad_estimator
from jax.scipy import stats

from pymc_sgmcmc import functions

N, B = 10_000, 100
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 20))
slopes = X @ rng.normal(size=20) / 4
y = slopes + rng.normal(size=N)
classes = (rng.random(N) < 1 / (1 + np.exp(-slopes))).astype(np.int32)

Density = Callable[..., jax.Array]


def regression() -> tuple[pm.Model, Density, Density]:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=20)
        s = pm.HalfNormal("s", 1)
        pm.Normal("y", pm.Data("X", X) @ b, s, observed=y)

    def prior(q):
        log_s = q[20]
        of_s = np.log(2) + stats.norm.logpdf(jnp.exp(log_s)) + log_s
        return stats.norm.logpdf(q[:20]).sum() + of_s

    def likelihood(q, row):
        return stats.norm.logpdf(row[1], row[0] @ q[:20], jnp.exp(q[20]))

    return model, prior, likelihood


def logistic() -> tuple[pm.Model, Density, Density]:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=20)
        pm.Bernoulli("y", logit_p=pm.Data("X", X) @ b, observed=classes)

    def likelihood(q, row):
        logit = row[0] @ q
        return row[1] * jax.nn.log_sigmoid(logit) + (1 - row[1]) * jax.nn.log_sigmoid(-logit)

    return model, lambda q: stats.norm.logpdf(q).sum(), likelihood


def network() -> tuple[pm.Model, Density, Density]:
    """20-50-1 of tanh, with unit noise."""
    with pm.Model() as model:
        w1, b1 = pm.Normal("w1", 0, 1, shape=(20, 50)), pm.Normal("b1", 0, 1, shape=50)
        w2 = pm.Normal("w2", 0, 0.1, shape=50)
        pm.Normal("y", pm.math.tanh(pm.Data("X", X) @ w1 + b1) @ w2, 1, observed=y)

    def prior(q):
        return stats.norm.logpdf(q[:1050]).sum() + stats.norm.logpdf(q[1050:], 0, 0.1).sum()

    def likelihood(q, row):
        hidden = jnp.tanh(row[0] @ q[:1000].reshape(20, 50) + q[1000:1050])
        return stats.norm.logpdf(row[1], hidden @ q[1050:], 1)

    return model, prior, likelihood


MODELS = {"regression": regression, "logistic": logistic, "network": network}


def chain(update: Callable, q: jax.Array, key: jax.Array, updates: int) -> jax.Array:
    return jax.lax.scan(update, q, jax.random.split(key, updates))[0]


def ours(model: pm.Model, h: float, updates: int) -> Callable[[jax.Array], jax.Array]:
    f = functions(model, batch_size=B)

    @jax.jit
    def run(f, q, key):
        sgld = blackjax.sgld(lambda q, key: -f.minibatch_gradient(q, key))

        def update(q, key):
            of_batch, of_noise = jax.random.split(key)
            return sgld.step(of_noise, q, of_batch, h**2 / 2), None

        return chain(update, q, key, updates)

    start = jnp.zeros(f.size)
    return lambda key: run(f, start, key)


def by_hand(
    prior: Density, likelihood: Density, rows: tuple, size: int, h: float, updates: int
) -> Callable[[jax.Array], jax.Array]:
    sgld = blackjax.sgld(grad_estimator(prior, likelihood, N))

    @jax.jit
    def run(rows, q, key):
        def update(q, key):
            of_batch, of_noise = jax.random.split(key)
            batch = jax.random.randint(of_batch, (B,), 0, N)
            return sgld.step(of_noise, q, tuple(x[batch] for x in rows), h**2 / 2), None

        return chain(update, q, key, updates)

    start = jnp.zeros(size)
    return lambda key: run(rows, start, key)


def seconds(run: Callable, key: jax.Array) -> float:
    """Processor time of one run: what other processes take of the machine does not count."""
    started = time.process_time()
    jax.block_until_ready(run(key))
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--updates", type=int, default=5000)
    settings = parser.parse_args()
    for name in settings.models:
        model, prior, likelihood = MODELS[name]()
        outcome = classes.astype(float) if name == "logistic" else y
        rows = jnp.asarray(X), jnp.asarray(outcome)
        f = functions(model, batch_size=B)
        q = jnp.asarray(rng.normal(0, 0.1, f.size))
        theirs = grad_estimator(prior, likelihood, N)(q, rows)
        gap = float(jnp.abs(f.gradient(q) + theirs).max() / jnp.abs(theirs).max())
        assert gap < 1e-4, f"{name}: another posterior, by {gap:.1e}"
        runs = {
            "functions": ours(model, 1e-4, settings.updates),
            "by hand": by_hand(prior, likelihood, rows, f.size, 1e-4, settings.updates),
        }
        took: dict[str, list[float]] = {which: [] for which in runs}
        for key in jax.random.split(jax.random.key(0), settings.rounds + 1):
            order = list(runs) if len(took["by hand"]) % 2 else list(runs)[::-1]
            for which in order:
                took[which].append(seconds(runs[which], key))
        ratios = np.divide(took["by hand"][1:], took["functions"][1:])  # the first compiles
        rates = {w: round(settings.updates / np.median(t[1:])) for w, t in took.items()}
        result = {"model": name, "size": f.size, "updates per processor second": rates}
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        result["functions / by hand"] = f"{middle:.2f} ({low:.2f}-{high:.2f})"
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
