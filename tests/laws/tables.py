"""Print the reference tables beside what the samplers of this package give.

python -m tests.laws.tables
"""

import time

import numpy as np

from pymc_sgmcmc.dynamics import (
    BAOABDynamics,
    CCAdLDynamics,
    GLA1Dynamics,
    GLA2Dynamics,
    SGHMCDynamics,
    SGLDDynamics,
    SGNHTDynamics,
)
from tests.laws import experiments as ex
from tests.laws.simulate import (
    estimate,
    gaussian,
    sghmc_variance,
    sgld_variance,
    simulate,
    step_bias,
    swept_covariance,
)
from tests.laws.test_linear import coefficients, stationary_covariance


def _row(name, mean, error=None, reference=None, theory=None, width=14):
    figures = zip(mean, error if error is not None else [None] * len(mean), strict=True)
    print(
        f"{name:{width}}", *(f"{m:9.3f}" + ("" if e is None else f"±{e:.3f}") for m, e in figures)
    )
    for label, values in (("  reference", reference), ("  theory", theory)):
        if values is not None:
            pad = "" if error is None else " " * 6
            print(f"{label:{width}}", *(f"{v:9.3f}{pad}" for v in values))


def _heading(title, columns, width=14):
    print(f"\n{title}\n{'':{width}}", *(f"{c:>9}      " for c in columns))


def noise_levels():
    _heading("Variance/target, h=.05, by gradient noise V", [f"V={v:g}" for v in ex.NOISE])
    theory = {
        "SGLD ε=h²": sgld_variance(ex.H, noise=ex.NOISE),
        "SGLD ε=h": sgld_variance(ex.H**0.5, noise=ex.NOISE),
        "SGHMC D=1": sghmc_variance(ex.H, np.exp(-ex.H), noise=ex.NOISE),
    }
    xi = {}
    for name in ex.NOISE_LEVELS:
        averages = ex.noise_levels(name)
        gaussian_thermostat = step_bias(ex.H, np.maximum(1, ex.H * ex.NOISE / 2))
        expected = theory.get(name, None if "c=" in name else gaussian_thermostat)
        _row(name, *estimate(averages["q2"]), ex.NOISE_LEVELS_REFERENCE[name], expected)
        if "xi" in averages:
            xi[name] = estimate(averages["xi"])
    _heading("Friction ξ, theory hV/2", [f"{v:g}" for v in ex.H * ex.NOISE / 2])
    for name, values in xi.items():
        _row(name, *values)


def discriminating():
    # The last of the wrong ones diverges: its figures depend on the length of the run.
    _heading(
        "ATMC, c=1, μ=.5, D=1, hV/2=2, h=.01: heat / friction on",
        ["θ var", "ξ mean", "ξ var", "E[pv]", "E[p²]"],
    )
    rows = {"ATMC": (ex.discriminating_atmc(), "v^2-u^-3 / v")}
    rows |= {k: (ex.discriminating_atmc(v), k) for k, v in ex.DISCRIMINATING.items() if v}
    rows["SGNHT"] = (ex.discriminating_sgnht(), "SGNHT")
    for name, (dynamics, reference) in rows.items():
        r = ex.discriminating(dynamics, chains=4000)
        mean_xi = r["xi"].mean()
        columns = (r["q2"], r["xi"], r["xi2"] - mean_xi**2, r["pv"], r["p2"])
        mean, error = zip(*(map(np.squeeze, estimate(x)) for x in columns), strict=True)
        _row(name, mean, error, ex.DISCRIMINATING_REFERENCE[reference])


def four_parameters():
    settings = zip(ex.VARIANCES, ex.NOISE, strict=True)
    _heading("4 parameters, D=2, h=.05, variance/target", [f"σ²{s:g} V{v:g}" for s, v in settings])
    for name, reference in ex.FOUR_PARAMETERS_REFERENCE.items():
        _row(name, *estimate(ex.four_parameters(name)), reference)


def step_sizes():
    h = ex.STEP_SIZES
    _heading("Variance/target, no noise, D=2, by step size", [f"h={x:g}" for x in h])
    theory = {"SGLD": sgld_variance(h), "SGHMC": sghmc_variance(h, np.exp(-2 * h))}
    for name in ex.BY_STEP_SIZE:
        expected = theory.get(name, None if "c=" in name else step_bias(h, 2.0))
        reference = ex.BY_STEP_SIZE_REFERENCE.get(name)
        _row(name, *estimate(ex.by_step_size(name)["q2"]), reference, expected)


def others():
    """Splittings, whose updates are linear and variances exact; CCAdL simulated, with its n = 1000.

    The law tests of all of them are those of every sampler, and `test_orders.py`.
    """

    def left(splitting, D, h, noise=0.0):
        update = coefficients(splitting(momentum_decay=np.exp(-D * h)), h)
        return stationary_covariance(update, 1.0, noise)[0, 0]

    def ccadl(D, h, noise, factors):
        dynamics = CCAdLDynamics(momentum_decay=np.exp(-D * h))
        target, shape = gaussian(noise=noise[:, None]), (4, 1000)
        # From the noise that a warm-up would have measured: ζ takes 10,000 updates to forget less.
        start = {"covariance": noise}
        return estimate(simulate(dynamics, target, shape, h, 1500, 500, factors, start=start)["q2"])

    splittings = {"GLA1": GLA1Dynamics, "GLA2": GLA2Dynamics, "BAOAB": BAOABDynamics}
    steps, h = ex.STEP_SIZES, ex.H
    _heading("Variance/target, no noise, D=2, by step size", [f"h={x:g}" for x in steps])
    for name, splitting in splittings.items():
        _row(name, [left(splitting, 2, x) for x in steps])
    relative = np.tile(steps / steps[-1], (4, 1))
    _row("CCAdL", *ccadl(2, steps[-1], np.zeros(4), relative))
    _heading("Variance/target, h=.05, D=1, by gradient noise V", [f"V={v:g}" for v in ex.NOISE])
    for name, splitting in splittings.items():
        _row(name, [left(splitting, 1, h, v) for v in ex.NOISE])
    _row("CCAdL", *ccadl(1, h, ex.NOISE, np.ones(5)))


def relativistic():
    """Relativistic momenta, whose law is tested in `test_relativistic.py`."""
    steps = np.array([0.05, 0.1, 0.2])
    _heading("Relativistic momenta, decay .9, no noise, by step size", [f"h={x:g}" for x in steps])
    for name, sampler in (("SGHMC", SGHMCDynamics), ("SGNHT", SGNHTDynamics)):
        for c in (1.0, 10 / 3, None):
            dynamics = sampler(speed_limit=c)
            averages = simulate(dynamics, gaussian(), (3, 3000), steps, 1000, 300, np.ones(8))
            theory = None
            if name == "SGHMC":
                theory = (1 + dynamics.friction_bias()) / (1 - steps**2 / 4)
            _row(
                f"{name} c={c and round(c, 1)}", *estimate(averages["q2"]), theory=theory, width=18
            )


def temperatures():
    noise = np.array([0.0, 40.0])
    _heading("Variance/T at h=.05 (SGLD .2), D=1, by temperature", [f"V={v:g}" for v in noise])
    for T in (0.25, 1.0, 4.0):
        for name, dynamics, h in (
            ("SGLD", SGLDDynamics(temperature=T), 0.2),
            ("SGHMC", ex.sghmc(ex.H, 1, temperature=T), ex.H),
            ("SGNHT", ex.sgnht(ex.H, 1, temperature=T), ex.H),
            ("ATMC c=10/3", ex.atmc(ex.H, 1, c=10 / 3, temperature=T), ex.H),
        ):
            averages = simulate(
                dynamics, gaussian(noise=noise[:, None]), (2, 2000), h,
                draws=600, burn_in=400, factors=np.ones(20 if name == "SGLD" else 5),
            )  # fmt: skip
            theory = {
                "SGLD": sgld_variance(h, noise=noise, temperature=T) / T,
                "SGHMC": sghmc_variance(h, np.exp(-h), noise=noise, temperature=T) / T,
            }.get(name, np.ones(2))
            _row(f"{name} T={T:g}", *estimate(averages["q2"] / T), theory=theory, width=18)


def sweeps():
    """What `test_sweeps.py` holds both engines against."""
    steps = np.array([0.01, 0.02, 0.05, 0.1])
    _heading("SGHMC in sweeps, V = N/B: variance by step size", [f"h={h:g}" for h in steps])
    for parts in (20, 40):
        for name, decay in (("D=1", np.exp(-steps)), ("decay .9", np.full(4, 0.9))):
            label = f"N/B={parts} {name}"
            _row(label, sghmc_variance(steps, decay, noise=parts), width=20)
            swept = [
                swept_covariance("sghmc", h, 100 * parts, 100, parts, a)
                for h, a in zip(steps, decay, strict=True)
            ]
            _row("  sweeps", [c[0, 0] for c in swept], width=20)
            _row("  momentum in them", [c[1, 1] for c in swept], width=20)


def schedules():
    columns = [f"hV/2D={0.01 * v / 2 / 10.5:.1g}" for v in ex.SCHEDULE_NOISE]
    _heading("Variance/target at the ends of cosine cycles", columns)
    for name in ex.SCHEDULED:
        _row(name, *estimate(ex.at_cycle_ends(name)["ratio"]))
    _heading("Variance/target at h₀/4", columns)
    for name in ("SGNHT", "ATMC"):
        _row(name, *estimate(ex.at_quarter_step(name)["ratio"]))


TABLES = (
    noise_levels,
    discriminating,
    four_parameters,
    step_sizes,
    others,
    relativistic,
    temperatures,
    sweeps,
    schedules,
)

if __name__ == "__main__":
    start = time.perf_counter()
    for table in TABLES:
        table()
        print(f"[{time.perf_counter() - start:.0f} s]", flush=True)
