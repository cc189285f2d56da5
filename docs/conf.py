"""Sphinx configuration."""

import os
import sys
from pathlib import Path

# The pages call `retrac`, which lies beside the Python that builds them, on the path or not.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

project = "retrac-plugin"
author = "The retrac-plugin developers"
copyright = author

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = [
    "_build",
    "benchmarks/*/table.md",
    "benchmarks/engine/gpu_check_cpu.md",
]  # a table is included by its page
html_theme = "furo"
html_title = "retrac-plugin"

# Every block is executed, and a block that fails fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_execution_show_tb = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_inherit_docstrings = False  # a framework's docstrings are not ours, nor in our markup
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_use_ivar = True
suppress_warnings = ["myst.strikethrough"]
