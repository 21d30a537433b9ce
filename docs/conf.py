"""Sphinx configuration: MyST Markdown, the furo theme."""

import gc

gc.disable()  # a sixth of the time of a build, which ends with its process

project = "paysession"
author = "The paysession developers"
copyright = "2026, The paysession developers"  # noqa: A001 - Sphinx's name for it
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "paysession"
exclude_patterns = ["_build", "examples"]
myst_enable_extensions = ["colon_fence", "tasklist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = (
    "py:obj"  # a name in single backticks, as docstrings here write it, is a link where it can be one
)
suppress_warnings = ["ref.python"]  # a name that two modules export is no mistake
