"""The settings of Sphinx: `make docs` builds the site from docs/, notebooks/ and a few pages of the repository.

The source folder is the repository's root, so that a relative link leads to the same page on the site and on GitHub.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

HERE = Path(__file__).parent
MAX_ALT = 200  # characters of a description
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402 (it is beside this file)
import lungnb  # noqa: E402

project, author, version = "lungnb", "the lungnb authors", lungnb.__version__
project_copyright = author
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", *(page for page in generate.OTHER_PAGES)]
exclude_patterns = ["docs/_build", ".venv", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"  # the stored outputs are shown
nb_ipywidgets_js = {}  # it would be loaded from another server
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"  # browsers show it without a script from another server
default_role = "code"  # docstrings have `names` in single backticks
autodoc_typehints = "signature"
autodoc_type_aliases = {name: name for name in ("Mask", "Floats", "Model", "OneImage", "ImageList", "Window")}
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = "lungnb"
html_static_path = ["static"]
html_css_files = ["lungnb.css"]
html_extra_path = ["redirect"]  # leads from the top to docs/index.html
html_domain_indices = False  # the module index would list three modules
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "header_links_before_dropdown": 6,
}


def fill_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Insert the generated parts of a page, and point its links at pages of the site."""
    is_notebook = docname.startswith("notebooks/")
    source[0] = generate.site_links(source[0] if is_notebook else generate.fill(source[0]), docname)


def read_tables(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turn Markdown tables of a docstring into tables of Sphinx."""
    lines[:] = generate.markdown_tables(lines)


def name_aliases(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write the name of a type alias where Sphinx writes `TypeAliasForwardRef('NAME')`, as in a list of it."""
    texts = (text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in (signature, returned))
    return next(texts), next(texts)


def skip_fields(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out the fields of named tuples, of which Python only says their numbers."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def describe_images(app: Sphinx, document: nodes.document) -> None:
    """Give pictures without a description the beginning of the text before them, which says what they show."""
    before = ""
    for node in document.findall():
        if isinstance(node, nodes.paragraph):
            before = " ".join(node.astext().split()) or before
        elif isinstance(node, nodes.image) and "alt" not in node:
            node["alt"] = before if len(before) <= MAX_ALT else f"{before[:MAX_ALT].rpartition(' ')[0]} ..."


def write_math(self, node) -> None:  # noqa: ANN001 (a translator and a node of docutils)
    """Write a formula as MathML."""
    is_block = node.tagname == "math_block"
    formula = tex2mathml(node.astext(), as_block=is_block)
    self.body.append(f"<div class='formula'>{formula}</div>" if is_block else formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect the functions above with Sphinx."""
    app.connect("source-read", fill_page)
    app.connect("autodoc-process-docstring", read_tables, priority=400)  # before napoleon
    app.connect("doctree-read", describe_images)
    app.connect("autodoc-process-signature", name_aliases)
    app.connect("autodoc-skip-member", skip_fields)
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
