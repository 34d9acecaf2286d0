"""A link on each tutorial to the notebook that it was made of, with its outputs.

The notebooks are text (`docs/tutorials/*.md`); MyST-NB writes what it ran as ``.ipynb``. A script
of examples/ that a tutorial imports is linked beside it: the notebook needs it in its folder.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

_LINK = "{{nb-download}}`Download this page as a notebook <{name}.ipynb>`"
_SCRIPT = ", and {{download}}`{name}.py <../../examples/{name}.py>`, which it imports"
_EXAMPLES = Path(__file__).parents[2] / "examples"


def add_link(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the link below the title of a page that is a notebook."""
    if docname.startswith("tutorials/") and "\nkernelspec:" in source[0]:
        link = _LINK.format(name=docname.split("/")[-1])
        imported = re.findall(r"^(?:import|from) (\w+)", source[0], re.MULTILINE)
        own = [name for name in imported if (_EXAMPLES / f"{name}.py").exists()]
        link += "".join(_SCRIPT.format(name=name) for name in own)
        source[0] = re.sub(r"^# .+$", rf"\g<0>\n\n{link}", source[0], count=1, flags=re.MULTILINE)


def setup(app: Sphinx) -> dict:
    """Add the link when a page is read."""
    app.connect("source-read", add_link)
    return {"parallel_read_safe": True}
