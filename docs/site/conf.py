"""What Sphinx is told of the documents; ``docs/build_site.py`` runs it."""  # noqa: INP001

project = "Piecework"
author = "the authors of Piecework"
project_copyright = author
extensions = ["myst_parser"]
root_doc = "README"
source_suffix = {".md": "markdown"}
exclude_patterns = [".cache"]
myst_heading_anchors = 5
suppress_warnings = ["myst.header"]  # generated parts begin below the level of what is around them
html_theme = "furo"
html_title = "Piecework"
html_copy_source = False
html_show_sphinx = False
