"""The documentation site: `make docs`.  Warnings are errors, and notebooks are executed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # generated.py: pages made of the program itself

from socsci_jax import __version__

project = "socsci_jax"
copyright = "the socsci_jax authors, Apache-2.0"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "generated",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
# A page that has not changed is not executed again (docs/_build/.jupyter_cache).
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "socsci_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
# Prompts of a shell are not copied.
copybutton_prompt_text = "$ "
