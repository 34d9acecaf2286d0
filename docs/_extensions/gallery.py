"""The directive ``gallery``: a thumbnail for each tutorial, taken from what its cells drew.

A tutorial marks the cell whose picture it is known by with the tag ``thumbnail``. What it is about
may follow its name. ::

    ```{gallery}
    tutorials/five_minutes
    tutorials/two_moons | a Bayesian network, beside ADVI and NUTS
    ```
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)


class Gallery(SphinxDirective):
    """A grid of pictures with titles, which are only known once all pages are read."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Leave a place for the grid."""
        pages = [line.strip() for line in self.content if line.strip()]
        return [gallery("", pages=pages)]


class gallery(nodes.General, nodes.Element):
    """Stands for the grid until the pages are resolved."""


def remember_thumbnail(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the address of the picture that a page's cell with the tag ``thumbnail`` drew."""
    thumbnails = app.env.metadata.setdefault("gallery thumbnails", {})
    for cell in doctree.findall(nodes.container):
        if "tag_thumbnail" in cell["classes"]:
            for image in cell.findall(nodes.image):
                thumbnails[app.env.docname] = image["uri"]


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the grid in its place."""
    thumbnails = app.env.metadata.get("gallery thumbnails", {})
    for place in list(doctree.findall(gallery)):
        grid = nodes.container(classes=["gallery"])
        for line in place["pages"]:
            page, _, about = (part.strip() for part in line.partition("|"))
            title = app.env.titles[page].astext()
            link = nodes.reference("", refuri=app.builder.get_relative_uri(docname, page))
            if page in thumbnails:
                uri = thumbnails[page]
                app.builder.images[uri] = app.env.images[uri][1]
                link += nodes.image(uri=uri, alt=title, candidates={"*": uri})
            elif app.config.nb_execution_mode != "off":
                logger.warning("%s has no cell with the tag 'thumbnail' and a picture", page)
            link += nodes.inline("", title)
            if about:
                link += nodes.inline("", about, classes=["about"])
            grid += nodes.container("", nodes.paragraph("", "", link), classes=["gallery-item"])
        place.replace_self(grid)


def setup(app: Sphinx) -> dict:
    """Add the directive."""
    app.add_node(gallery)
    app.add_directive("gallery", Gallery)
    app.connect("doctree-read", remember_thumbnail, priority=900)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": False}
