"""Pages that are generated from the code: reference/ and notebooks/.

conf.py calls `write` before Sphinx reads the sources; git ignores both folders.
"""

import ast
import inspect
import io
import json
import pathlib
import re
import textwrap
import tokenize

from vit_jax.cli import commands, flags
from vit_jax.config import overrides, schema, validation
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
  *('inference', 'weights', 'models', 'training', 'evaluation', 'analysis'),
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


def code(text):
  """Returns text as inline code that may stand in a table."""
  text = str(text).replace('|', r'\|')
  return f'`{text}`' if text else ''


# Configuration ----------------------------------------------------------------


def configuration():
  """Returns the page of all fields, of schema.py and its comments."""
  defaults = overrides.flatten(schema.default())
  comments = schema_comments()
  parts = [
    '# Configuration\n\n'
    'Every field of a run, generated from `vit_jax/config/schema.py`. A recipe '
    'states what differs; `--config.GROUP.FIELD=VALUE` overrides a field on '
    'the command line: `--config.optimizer.learning_rate=3e-4`, '
    '`--config.data.resolution=384`, `--config.data.flip=false`, '
    '`--config.run.num_epochs=none`. A field of type *int or none* has the '
    'default that its description names.'
  ]
  for group, title in GROUPS.items():
    fields = [name for name in defaults if name.rpartition('.')[0] == group]
    rows = [
      [code(name), kind(name), fits(name), code(defaults[name]), comments[name]]
      for name in fields
    ]
    head = ['field', 'type', 'values', 'default', 'description']
    parts.append(f'## {title}\n\n{table(head, rows)}')
  return '\n\n'.join(parts) + '\n'


def kind(field):
  """Returns the type of a field in words."""
  group, _, name = field.rpartition('.')
  config = schema.default()
  owner = config[group] if group else config
  name_of = {'str': 'text', 'float': 'number', 'tuple': 'tuple'}
  found = owner.get_type(name).__name__
  optional = ' or none' if owner[name] is None else ''
  return name_of.get(found, found) + optional


def fits(field):
  """Returns the choices or the range of a field, or ''."""
  if field in assembly.CHOICES:
    return ', '.join(code(name) for name in assembly.CHOICES[field])
  if field in validation.RANGES:
    low, high = validation.RANGES[field]
    return f'{low:,} to {high:,}' if high < 10**9 else f'at least {low:,}'
  return ''


def schema_comments():
  """Returns {field: its comment in schema.py, on one line}."""
  source = inspect.getsource(schema)
  found, field = {}, None
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type != tokenize.COMMENT:
      continue
    text = token.string.removeprefix('#').strip()
    match = re.match(r'\s+(\w+)\.(\w+) = ', token.line)
    if match:
      group, name = match.groups()
      field = name if group == 'config' else f'{group}.{name}'
      found[field] = text
    elif field and token.line.strip().startswith('#'):
      found[field] += f' {text}'
  return {field: text.replace('|', r'\|') for field, text in found.items()}


# Commands ---------------------------------------------------------------------


def command_reference():
  """Returns the page of all commands, of the tables of the command line."""
  rows = [
    [f'[`vit_jax {name}`](#{name})', row.purpose]
    for name, row in commands.COMMANDS.items()
  ]
  parts = [
    '# Commands\n\n'
    'Generated from the tables that parse the command line '
    '(`vit_jax/cli/commands.py`, `vit_jax/cli/flags.py`); '
    '`vit_jax COMMAND --help` prints the same. '
    '[Fault tolerance](../faults.md) lists the exit statuses.',
    table(['command', 'purpose'], rows),
    *(one_command(name) for name in commands.COMMANDS),
  ]
  return '\n\n'.join(parts) + '\n'


def one_command(name):
  command = commands.COMMANDS[name]
  rows = []
  for flag in command.flags:
    _, value, purpose, _ = flags.FLAGS[flag]
    written = f'--{flag}={value}' if value else f'--{flag}'
    needed = ' **Required.**' if flag in command.required else ''
    rows.append([code(written), purpose.replace('|', r'\|') + needed])
  bare = ' '.join(flags.FLAGS[flag].value for flag in command.bare)
  usage = f'vit_jax {name} {bare}'.strip() + ' --flag=value ...'
  lines = [f'vit_jax {name} {example}' for example in command.examples]
  config = (
    '\n\nEvery field of the [configuration](configuration.md) can be '
    'overridden: `--config.GROUP.FIELD=VALUE`.'
    if command.takes_overrides
    else ''
  )
  return (
    f'## `{name}`\n\n{command.purpose}\n\n```text\n{usage}\n```\n\n'
    f'{table(["flag", "meaning"], rows)}{config}\n\n'
    f'Examples:\n\n{textwrap.indent(chr(10).join(lines), "    ")}'
  )


# Released weights -------------------------------------------------------------


def catalogue():
  """Returns the page of all released files that go by a name."""
  groups = {}
  for entry in catalog.ENTRIES.values():
    groups.setdefault(entry.name.partition('/')[0], []).append(entry)
  parts = [
    '# Catalogue of released weights\n\n'
    f'The {len(catalog.ENTRIES)} files that go by a name, generated from '
    '`vit_jax/weights/catalog/`. `--checkpoint`, `--config.init` and '
    '`vit_jax convert` take these names; any other file of AugReg goes by its '
    'own. Accuracies are top-1 on the validation set of ImageNet in per cent, '
    'as published. [Released weights](../weights.md) says what can be done '
    'with each family.'
  ]
  head = ['name', 'model', 'pixels', 'classes', 'accuracy', 'file']
  for group, entries in groups.items():
    rows = [
      [
        code(entry.name),
        entry.model or 'as in the file',
        f'{entry.resolution}',
        f'{entry.num_classes:,}' if entry.num_classes else 'none',
        '' if entry.accuracy is None else f'{entry.accuracy:.2f}',
        code(entry.address),
      ]
      for entry in entries
    ]
    notes = sorted({entry.note for entry in entries if entry.note})
    said = '\n\n' + '; '.join(notes).capitalize() + '.' if notes else ''
    parts.append(f'## {group}\n\n{table(head, rows)}{said}')
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
  blocks = [
    f'## {module}\n\n'
    f'```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```'
    for module in modules_of(name)
  ]
  return f'# {name}\n\n' + '\n\n'.join(blocks) + '\n'


def modules_of(name):
  """Returns a package and the modules in it, in order."""
  if name == 'vit_jax':
    return ['vit_jax', 'vit_jax.errors', 'vit_jax.pytrees']
  names = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in (ROOT / name.replace('.', '/')).rglob('*.py')
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
    *('--config.data.resolution=32', '--config.model.depth=4'),
    *('--config.run.num_steps=400', '--config.optimizer.warmup_steps=40'),
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
RESOLUTION, NUM_STEPS, WORKDIR = 16, 200, 'workdir'
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
