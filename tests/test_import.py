"""Importing the package, and what it leaves alone."""

import subprocess
import sys

SCRIPT = """
import os, sys
import pymc
before = dict(os.environ)  # PyMC sets some variables of its own
loaded = set(sys.modules)
import pymc_sgmcmc
new = {name.split(".")[0] for name in set(sys.modules) - loaded}
for name in ("jax", "jaxlib", "optax", "numba_cuda", "torch", "blackjax"):
    assert name not in new, name
for name in ("scipy.stats", "scipy.optimize", "matplotlib"):  # they take longer than all of ours
    assert name not in set(sys.modules) - loaded, name
assert "jax" not in sys.modules
assert dict(os.environ) == before
assert set(pymc_sgmcmc.__all__) >= {"ATMC", "SGHMC", "SGLD", "SGNHT", "sample", "schedules"}
assert all(hasattr(pymc_sgmcmc, name) for name in pymc_sgmcmc.__all__)
assert not hasattr(pymc_sgmcmc, "nothing")
assert set(pymc_sgmcmc.__all__) <= set(dir(pymc_sgmcmc))
assert pymc_sgmcmc.__version__[0].isdigit()
assert not hasattr(pymc.to_inference_data, "adds_attributes")  # before a step is made

import pymc as pm
import pymc_sgmcmc as sg
from pymc_sgmcmc.schedules import PolynomialDecay
with pm.Model() as model:
    pm.Normal("x")
    steps = [sg.SGLD(step_size=0.1), sg.SGLD(step_size=0.1, dtype="float32")]
assert "jax" not in sys.modules, "making a step starts JAX"
assert dict(os.environ) == before

import jax
before = dict(os.environ)  # JAX sets some as well
jax.config.update("jax_enable_x64", False)
settings = dict(jax.config.values)
import pytensor.link.jax.dispatch  # sets jax_enable_x64 from floatX
changed = {k: v for k, v in jax.config.values.items() if settings[k] != v}
for step in steps:
    sg.sample(5, tune=0, chains=2, step=step, model=model, progressbar=False)
    after = {k: v for k, v in jax.config.values.items() if settings[k] != v}
    assert after == changed == {"jax_enable_x64": True}, after
jax.config.update("jax_enable_x64", False)
for step in steps:
    x = sg.sample(5, tune=0, chains=2, step=step, model=model, progressbar=False).posterior["x"]
    assert x.dtype == "float64"
assert not jax.config.jax_enable_x64
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
print("done")
"""


def test_import_leaves_jax_and_the_environment_alone(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "done" in run.stdout
