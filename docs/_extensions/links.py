"""Names of the package in prose, ``nn.mlp(x)`` or ``lppd``, as links to their pages.

A literal links where it begins with the name of a public function or class, as people write it:
without ``pymc_sgmcmc.``, those of `diagnostics`, `plots` and `export` without these as well.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx

_PACKAGE = "pymc_sgmcmc."
_SHORT = re.compile(r"(?:diagnostics|plots|export)\.")


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Wrap literals in links, except in titles, in links, and on the page of the name itself."""
    known = {}
    for name, entry in app.env.get_domain("py").objects.items():
        if name.startswith(_PACKAGE) and entry.objtype in ("function", "class"):
            name = name.removeprefix(_PACKAGE)
            known[name] = known[_SHORT.sub("", name)] = entry
    for literal in list(doctree.findall(nodes.literal)):
        found = re.match(
            rf"(?:{re.escape(_PACKAGE)})?([A-Za-z][\w.]*)(?:\(.*\))?\Z", literal.astext()
        )
        entry = known.get(found[1]) if found else None
        if entry is None or entry.docname == docname or _has_no_place(literal):
            continue
        uri = f"{app.builder.get_relative_uri(docname, entry.docname)}#{entry.node_id}"
        place = nodes.reference("", "", internal=True, refuri=uri)
        literal.replace_self(place)
        place += literal


def _has_no_place(literal: nodes.literal) -> bool:
    """Whether a literal is in what can have no link."""
    parent = literal.parent
    while parent is not None:
        if isinstance(parent, nodes.reference | nodes.title):
            return True
        parent = parent.parent
    return False


def setup(app: Sphinx) -> dict:
    """Link once all references are resolved."""
    app.connect("doctree-resolved", link, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
