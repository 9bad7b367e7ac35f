"""The site: ``python -m sphinx -W -b html docs build/site``. Nothing is fetched."""

import sys
from pathlib import Path

import storage_plugins

sys.path.insert(0, str(Path(__file__).parent))

project = "storage-plugins"
version = release = storage_plugins.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "_pages"]
exclude_patterns = ["_static"]
default_role = "py:obj"  # `load` in a docstring leads to its entry

myst_heading_anchors = 4  # as on GitHub
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = project
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

# `-b man` writes storage-plugins.1, from the code of the command line too
man_pages = [("reference/commands", "storage-plugins", "upload, cite and load brain-data assemblies", "", 1)]
