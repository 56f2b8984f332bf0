"""How Sphinx makes the site of all Markdown in this repository: `make site`.

The source is the repository itself, so that a link between files is the same on a git host and in
the site. What is special to us is in ``docs/_site/``, a file for each thing.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from porch_client.version import VERSION  # noqa: E402

logging.getLogger("alembic").setLevel(logging.WARNING)

project = "porch"
copyright = "the authors of porch; Apache-2.0"
release = VERSION
html_title = f"porch {VERSION}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "_site.contents",
    "_site.reference",
    "_site.sources",
]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "docs/**.md", "examples/**.md"]
exclude_patterns = [".*", "site", "**/_*", "build", "benchmarks", "client", "tests"]
highlight_language = "none"
smartquotes = False  # a dash and a quote are typed as they are read

myst_heading_anchors = 4  # as git hosts make them of headings
nitpicky = True

default_role = "code"  # in docstrings, for which Sphinx reads reStructuredText
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
# What is not ours, and what stands for "not given".
nitpick_ignore_regex = [
    ("py:.*", r"(typing|collections|datetime|os|tuple)\b.*"),
    ("py:.*", r".*\.Unchanged"),
]

html_theme = "furo"
html_favicon = "../coordinator/gateway/pages/static/porch.svg"
html_static_path = ["_site/static"]
html_css_files = ["porch.css"]
templates_path = ["_site/templates"]
html_additional_pages = {"index": "to_docs.html"}
html_copy_source = False
html_show_sphinx = False
