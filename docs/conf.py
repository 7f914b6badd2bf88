"""The site: `make docs` builds it with Sphinx into docs/_build/html."""

import os
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]
# Kernels of notebooks find this checkout, too, and compute on the CPU.
os.environ['PYTHONPATH'] = os.pathsep.join(
  [str(FOLDER.parent), os.environ.get('PYTHONPATH', '')]
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import docstrings  # noqa: E402
import generate  # noqa: E402

import vit_jax  # noqa: E402

project = 'vit_jax'
author = 'The vit_jax authors'
copyright = author
version = release = vit_jax.__version__

extensions = ['myst_nb', 'sphinx.ext.autodoc']
exclude_patterns = ['_build', '**/.ipynb_checkpoints']
html_theme = 'furo'
html_title = f'vit_jax {version}'
html_show_sourcelink = False
templates_path = []
nitpicky = True

# Pages are Markdown; headings have the anchors that GitHub gives them.
myst_heading_anchors = 4
myst_enable_extensions = ['colon_fence', 'dollarmath']
myst_links_external_new_tab = False

nb_execution_mode = 'cache'
nb_execution_timeout = -1  # However busy the machine is.
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
# What other projects document is not looked up: the site builds offline.
nitpick_ignore_regex = [('py:.*', r'(?!vit_jax\b).*')]

TARGETS = docstrings.targets()


def convert(app, what, name, obj, options, lines):
  lines[:] = docstrings.converted(lines, TARGETS)


def setup(app):
  app.connect('builder-inited', lambda app: generate.write(app.srcdir))
  app.connect('autodoc-process-docstring', convert)
