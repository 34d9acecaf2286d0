"""The site: `sphinx-build -W docs docs/_build`.

With `PYMC_SGMCMC_DOCS=short` the tutorials take fewer draws (`kernel.py`): their prose is then not
borne out by their figures, but every cell runs.
"""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

import pymc_sgmcmc  # noqa: E402

project = "pymc_sgmcmc"
author = "pymc_sgmcmc developers"
copyright = author
release = version = pymc_sgmcmc.__version__

extensions = [
    "gallery",
    "links",
    "notebooks",
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",  # equations, where no network is
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build", "jupyter_execute"]
templates_path = ["_templates"]  # pages of the reference are called by the name alone

# -- tutorials -----------------------------------------------------------------------------------

SHORT = os.environ.get("PYMC_SGMCMC_DOCS") == "short"
# A profile for the tutorials' kernels, with kernel.py as what they run first.
PROFILE = HERE / "_build" / ".ipython"
(PROFILE / "profile_default" / "startup").mkdir(parents=True, exist_ok=True)
shutil.copy(HERE / "kernel.py", PROFILE / "profile_default" / "startup")
os.environ["IPYTHONDIR"] = str(PROFILE)
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / (".short" if SHORT else ".executed"))
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
suppress_warnings = ["myst-nb.lexer"]  # of cells that were not run: -D nb_execution_mode=off
nb_merge_streams = True
nb_render_image_options = {"align": "center"}
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

# -- reference -----------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings give them
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# -- look ----------------------------------------------------------------------------------------

html_theme = "pymc_sphinx_theme"
html_title = "pymc_sgmcmc"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
# No pages below them to show.
html_sidebars = {
    name: [] for name in ("install", "cookbook", "coming_from", "references", "changelog")
}
html_theme_options = {
    "google_analytics_id": "",  # the theme's default is the PyMC project's own
    "secondary_sidebar_items": ["page-toc"],
    "navbar_start": ["navbar-logo"],
    "header_links_before_dropdown": 6,  # as many as a window of 1,280 pixels has in one line
    "navbar_end": ["theme-switcher"],
    "logo": {"text": "pymc_sgmcmc"},
    "show_prev_next": True,
}
