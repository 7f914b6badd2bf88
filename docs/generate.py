"""Pages that are generated from the code: reference/ and notebooks/.

conf.py calls `write` before Sphinx reads the sources; git ignores both folders.
"""

import ast
import json
import pathlib
import re

from vit_jax.cli import commands, reference
from vit_jax.config import fields
from vit_jax.training import assembly
from vit_jax.weights import catalog

ROOT = pathlib.Path(__file__).parents[1]

GROUPS = {
  '': 'The run as a whole',
  'model': 'The model',
  'data': 'Data',
  'objective': 'Objective',
  'optimizer': 'Optimizer and schedule',
  'run': 'Length, logs, checkpoints',
  'mesh': 'Devices',
}

# Packages of the API reference, top to bottom as in docs/design.md.
PACKAGES = (
  *(
    'api',
    'inference',
    'weights',
    'models',
    'training',
    'evaluation',
    'analysis',
  ),
  *('planning', 'paper', 'data', 'config', 'nn', 'sharding', 'checkpoints'),
  *('files', 'cli'),
)


def write(folder):
  """Writes every generated page below `folder`, where it has changed."""
  for name, text in pages().items():
    path = pathlib.Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
      path.write_text(text)


def pages():
  """Returns {path below docs/: text}."""
  return {
    'reference/configuration.md': configuration(),
    'reference/commands.md': command_reference(),
    'reference/catalog.md': catalogue(),
    'reference/recipes.md': included('configs/README.md'),
    **api(),
    **notebooks(),
  }


def included(path):
  """Returns a page that is a file of the checkout."""
  return f'```{{include}} ../../{path}\n```\n'


def table(head, rows):
  """Returns a Markdown table; cells are text without line breaks."""
  rows = [head, ['---'] * len(head), *rows]
  return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def text(value):
  """Returns prose that may stand in a table, with nothing in it markup."""
  return re.sub(r'([|*_<\[])', r'\\\1', str(value))


def code(value):
  """Returns a value as inline code that may stand in a table."""
  value = str(value).replace('|', r'\|')
  return f'`{value}`' if value else ''


# Configuration ----------------------------------------------------------------


def configuration():
  """Returns the page of all fields, of schema.py and its comments."""
  found = fields.matching('*', assembly.CHOICES)
  parts = [
    '# Configuration\n\n'
    'Every field of a run, generated from `vit_jax/config/schema.py`; '
    '`vit_jax config` prints the same. A recipe states what differs; '
    '`--config.GROUP.FIELD=VALUE` overrides a field on the command line: '
    '`--config.optimizer.learning_rate=3e-4`, `--config.data.resolution=384`, '
    '`--config.data.flip=false`, `--config.run.num_epochs=none`.'
  ]
  for group, title in GROUPS.items():
    rows = [
      [code(field.name), fits(field), code(field.default), text(field.comment)]
      for field in found
      if field.name.rpartition('.')[0] == group
    ]
    head = ['field', 'values', 'default', 'description']
    parts.append(f'## {title}\n\n{table(head, rows)}')
  return '\n\n'.join(parts) + '\n'


def fits(field):
  """Returns the choices of a field, or its type and range."""
  if field.choices:
    return ', '.join(map(code, field.choices))
  if not field.bounds:
    return text(field.kind)
  low, high = field.bounds
  if high >= 10**9:
    return f'{text(field.kind)}, at least {low:,}'
  return f'{text(field.kind)}, {low:,} to {high:,}'


# Commands ---------------------------------------------------------------------


def command_reference():
  """Returns the page of all commands, of the tables of the command line."""
  rows = [
    [f'[`vit_jax {name}`](#{name})', text(row.purpose)]
    for name, row in commands.COMMANDS.items()
  ]
  parts = [
    '# Commands\n\n'
    'Generated from the tables that parse the command line; '
    '`vit_jax COMMAND --help` prints the same. Every field of the '
    '[configuration](configuration.md) is a flag of the commands that take a '
    'recipe. [Fault tolerance](../faults.md) lists the exit statuses.',
    table(['command', 'purpose'], rows),
    *(reference.markdown(name) for name in commands.COMMANDS),
  ]
  return '\n\n'.join(parts) + '\n'


# Released weights -------------------------------------------------------------


def catalogue():
  """Returns the page of all released files that go by a name."""
  groups = {}
  for row in catalog.table():
    groups.setdefault(row['name'].partition('/')[0], []).append(row)
  parts = [
    '# Catalogue of released weights\n\n'
    f'The {len(catalog.ENTRIES)} files that go by a name, generated from '
    '`vit_jax/weights/catalog/`; `vit_jax checkpoints` prints the same. '
    '`--checkpoint`, `--config.init`, `vit_jax convert` and `vit_jax.load` '
    'take these names; any other file of AugReg goes by its own. Accuracies '
    'are top-1 on the validation set of ImageNet in per cent, as published. '
    '[Released weights](../weights.md) says what can be done with each family.'
  ]
  head = ['name', 'model', 'MB', 'pixels', 'classes', 'accuracy', 'file']
  for group, entries in groups.items():
    rows = [
      [
        code(row['name']),
        row['model'] or 'as in the file',
        f'{row["MB"]:,}' if row['MB'] else '',
        str(row['resolution']),
        f'{row["classes"]:,}' if row['classes'] else 'none',
        f'{row["accuracy"]:.2f}' if row['accuracy'] else '',
        code(row['url']),
      ]
      for row in entries
    ]
    notes = dict.fromkeys(row['note'] for row in entries if row['note'])
    told = [f'{note[0].upper()}{note[1:]}.' for note in notes]
    parts.append('\n\n'.join([f'## {group}', table(head, rows), *told]))
  return '\n\n'.join(parts) + '\n'


# API --------------------------------------------------------------------------


def api():
  """Returns the pages of the API reference: one for each package."""
  names = ['vit_jax', *(f'vit_jax.{package}' for package in PACKAGES)]
  listed = '\n'.join(names)
  index = (
    '# API\n\n'
    'Generated from the docstrings; [Design](../../design.md) says how the '
    'packages depend on each other, [Python](../../python.md) shows how to use '
    'them.\n\n'
    + table(
      ['package', 'contents'],
      [[f'[`{name}`]({name}.md)', purpose(name)] for name in names],
    )
    + f'\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n'
  )
  return {
    'reference/api/index.md': index,
    **{f'reference/api/{name}.md': package_page(name) for name in names},
  }


def package_page(name):
  """Returns the page of a package: its modules with what is public in them."""
  return '\n\n'.join(
    f'{"#" if module == name else "##"} {module}\n\n'
    f'```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```'
    for module in modules_of(name)
  )


def modules_of(name):
  """Returns a package and the modules in it, in order."""
  folder = ROOT / name.replace('.', '/')
  pattern = '*.py' if name == 'vit_jax' else '**/*.py'
  names = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in folder.glob(pattern)
    if path.name != '__main__.py'
  ]
  return sorted(name.removesuffix('.__init__') for name in names)


def purpose(name):
  """Returns the first line of a package's docstring."""
  path = ROOT / name.replace('.', '/') / '__init__.py'
  text = ast.get_docstring(ast.parse(path.read_text())) or ''
  return text.partition('\n')[0].replace('|', r'\|')


# Notebooks --------------------------------------------------------------------

# What is put behind the parameters of a notebook when the site is built, where
# there is no network; None: shown without its outputs.
SUBSTITUTES = {
  'look_inside': """
# This site is built without a network: here, the weights are those of a small
# ViT that this cell trains on painted roundels, and the photographs are four of
# its test images. Leave this cell out to see the released model.
import pathlib

from PIL import Image

from vit_jax.config import recipes
from vit_jax.data import sources
from vit_jax.training import train

config = recipes.load(
  'miniature/pretrain.py',
  [
    *('--config.data.resolution=24', '--config.model.depth=3'),
    *('--config.run.num_steps=300', '--config.optimizer.warmup_steps=30'),
  ],
)
WORKDIR, CHECKPOINT, PHOTOS = 'look_inside', 'roundels', 'photos'
accuracy = train.run(config, CHECKPOINT)['accuracy']
pathlib.Path(PHOTOS).mkdir()
test_images = sources.build(config.data, 'test[:4]')
for index in range(4):
  pixels = Image.fromarray(test_images[index]['image'])
  pixels.save(f'{PHOTOS}/{index}.png')
print(f'{accuracy:.1%} of the test images are right')
""",
  'quickstart': """
# This site is built without a network: here, both models are small and random,
# written to files as the released ones are. What the classifier says means
# nothing, and the fine-tuning starts from nothing.
from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.weights import mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import vit
import numpy as np


def random_weights(path, name, num_classes, side):
  model = schema.default().model
  model.update(name=name, width=64, depth=4, num_heads=4, mlp_dim=128)
  params = models.params_of(models.build(model, num_classes), (side, side))
  noise = np.random.default_rng(0)
  flat = {
    path: 0.05 * noise.standard_normal(leaf.shape, np.float32)
    for path, leaf in pytrees.flatten(params).items()
  }
  npz.save(path, mapping.to_theirs(flat, vit.rows()))
  return path


CLASSIFIER = random_weights('classifier.npz', 'ViT-B/32', 1000, 224)
START = random_weights('start.npz', 'ViT-Ti/4', 10, 16)
RESOLUTION, NUM_STEPS, WORKDIR = 16, 100, 'workdir'
""",
  'tables': '',  # All of it is arithmetic.
  'augreg': None,
}
NOT_RUN = (
  'This notebook reads the index of AugReg from the network, and is shown here '
  'without its outputs.'
)


def notebooks():
  """Returns the notebooks, with what stands in for downloads."""
  found = {}
  for path in sorted((ROOT / 'notebooks').glob('*.ipynb')):
    notebook = json.loads(path.read_text())
    substitute = SUBSTITUTES[path.stem]
    if substitute is None:
      notebook['cells'].insert(1, markdown(NOT_RUN))
      notebook['metadata']['mystnb'] = {'execution_mode': 'off'}
    elif substitute:
      position = 1 + next(
        index
        for index, cell in enumerate(notebook['cells'])
        if 'parameters' in cell['metadata'].get('tags', [])
      )
      notebook['cells'].insert(position, code_cell(substitute.strip()))
    found[f'notebooks/{path.name}'] = json.dumps(notebook, indent=1)
  return found


def markdown(text):
  return {'cell_type': 'markdown', 'metadata': {}, 'source': text, 'id': 'n'}


def code_cell(text):
  """Returns a cell whose log lines the page leaves out."""
  return {
    'cell_type': 'code',
    'metadata': {'tags': ['remove-stderr']},
    'source': text,
    'execution_count': None,
    'outputs': [],
    'id': 'substitute',
  }
