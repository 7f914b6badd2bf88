"""The site: `make docs` builds it with Sphinx into docs/_build/html."""

import os
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]
# Kernels of notebooks find this checkout, too, and compute on the CPU.
os.environ['PYTHONPATH'] = os.pathsep.join(
  [str(FOLDER.parent), os.environ.get('PYTHONPATH', '')]
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import generate  # noqa: E402

import vit_jax  # noqa: E402

project = 'vit_jax'
author = 'The vit_jax authors'
copyright = author
version = release = vit_jax.__version__

extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
exclude_patterns = ['_build', '**/.ipynb_checkpoints']
html_theme = 'furo'
html_title = f'vit_jax {version}'
html_show_sourcelink = False
templates_path = []
nitpicky = True
# A group of the table of contents may name pages that are yet to come.
suppress_warnings = ['toc.empty_glob']

# Pages are Markdown; headings have the anchors that GitHub gives them.
myst_heading_anchors = 4
myst_enable_extensions = ['colon_fence', 'dollarmath']
myst_links_external_new_tab = False

nb_execution_mode = 'cache'
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True

# Docstrings are Google's style, and their code is `so`.
default_role = 'code'
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_use_param = False


def plain(text):
  """Returns a line of a docstring without markup but for its code."""
  parts = re.split(r'(`[^`]*`)', text)
  parts[::2] = [re.sub(r'([*|\\_])', r'\\\1', part) for part in parts[::2]]
  return ''.join(parts)


def literal_prose(app, what, name, obj, options, lines):
  """Docstrings are no reStructuredText: stars and bars are what they are."""
  lines[:] = [plain(line) for line in lines]


def setup(app):
  app.connect('builder-inited', lambda app: generate.write(app.srcdir))
  app.connect('autodoc-process-docstring', literal_prose, priority=100)
