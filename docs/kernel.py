"""What a tutorial's kernel sets before its first cell; nothing in it changes a result.

Pictures get ArviZ's style; progress bars, which a page can't show moving, are off; the scripts in
examples/ can be imported. With `PYMC_SGMCMC_DOCS=short` every run is cut to a few draws, so that
all cells run in a short time.
"""


def prepare():
    """Everything here, so that the tutorial's names are its own."""
    import functools
    import os
    import sys
    import warnings
    from pathlib import Path

    import arviz as az
    import matplotlib.pyplot as plt
    import matplotlib_inline.backend_inline
    import pymc as pm

    import pymc_sgmcmc

    def quiet(module, name, **most):
        function = getattr(module, name)
        limits = most if os.environ.get("PYMC_SGMCMC_DOCS") == "short" else {}

        @functools.wraps(function)
        def called(*arguments, **named):
            named = dict(zip(most, arguments, strict=False)) | {"progressbar": False} | named
            for argument, limit in limits.items():
                named[argument] = min(named.get(argument, limit), limit)
            return function(*arguments[len(most) :], **named)

        setattr(module, name, called)

    # A tenth of these draws, of four chains, is as few as az.loo takes.
    quiet(pm, "sample", draws=80, tune=40)
    quiet(pm, "fit", n=300)
    quiet(pymc_sgmcmc, "sample", draws=40, tune=40)
    quiet(pm, "sample_posterior_predictive")

    sys.path.insert(0, str(Path("../../examples").resolve()))  # scripts that tutorials tell about
    az.style.use("arviz-variat")
    plt.rcParams["figure.dpi"] = 110
    matplotlib_inline.backend_inline.set_matplotlib_formats("retina")
    warnings.filterwarnings("ignore", "IProgress not found")  # no progress bars here


prepare()
del prepare
