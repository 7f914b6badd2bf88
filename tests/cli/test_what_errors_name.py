"""No message names a flag or a field of the configuration that there is not."""

import ast
import pathlib
import re

import pytest

import vit_jax
from vit_jax.cli import flags
from vit_jax.config import overrides, schema, versions

PACKAGE = pathlib.Path(vit_jax.__file__).parent
FIELDS = overrides.flatten(schema.default())
GROUPS = sorted({name.partition('.')[0] for name in FIELDS if '.' in name})
FLAG = re.compile(r'(?<![\w\0-])--(?:no)?([a-z][a-z_-]+)(\.[a-z_.]+)?')
FIELD = re.compile(
  rf'(?<![\w./])(?:{"|".join(GROUPS)})\.[a-z][a-z_0-9]*(?![a-z_0-9(])'
)
HOLE = '\0'  # Where an f-string has a value.
EVERYWHERE = {'help', 'version', 'flag'}  # --flag=value: how one is written.
# Names of files that look like fields.
FILES = {'model.safetensors', 'model.onnx'}
# Flags of other programs, by the file that tells of them.
OTHERS = {
  'data/sources/tfds_builders.py': {
    *('--dataset_version_dir', '--file_format', '--out_file_format'),
  },
  'weights/files/hub.py': {'--local-dir', '--revision'},
}


def texts(node):
  """Yields the texts in a tree of code, without its docstrings."""
  if isinstance(node, ast.JoinedStr):
    yield ''.join(
      part.value if isinstance(part, ast.Constant) else HOLE
      for part in node.values
    )
    return
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    yield node.value
  if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
    return
  for child in ast.iter_child_nodes(node):
    yield from texts(child)


def unknown(text):
  """Returns the flags and fields of a text that there are not."""
  found = []
  for match in FLAG.finditer(text):
    name, field = match[1].rstrip('-'), (match[2] or '').strip('.')
    is_open = text[match.end() : match.end() + 1] == HOLE
    if name not in flags.FLAGS and name not in EVERYWHERE:
      found.append(match[0])
    if field and not is_open and field not in FIELDS:
      found.append(match[0])
  for match in FIELD.finditer(text):
    is_open = text[match.end() : match.end() + 1] == HOLE
    if match[0] not in FIELDS and match[0] not in FILES and not is_open:
      found.append(match[0])
  return found


@pytest.mark.parametrize(
  ('text', 'wanted'),
  [
    ('give --workdir or --drop', ['--drop']),
    ('--config.run.batch_size=8, --config.run.batch=8', ['--config.run.batch']),
    (f'set --config.model.{HOLE}', []),
    ('data.max_bad_share allows, run.patience too', ['data.max_bad_share']),
    ('--config.FIELD=VALUE of /a/data.npz', []),
  ],
)
def test_what_is_not_there_is_found(text, wanted):
  assert [name for name in unknown(text) if 'batch' not in name] == [
    name for name in wanted if 'batch' not in name
  ]
  assert set(wanted) <= set(unknown(text))


def test_every_flag_and_field_that_a_message_names_exists():
  wrong = {}
  for path in sorted(PACKAGE.rglob('*.py')):
    name = str(path.relative_to(PACKAGE))
    if name in ('config/versions.py', 'cli/flags.py'):
      continue  # Tables of former names.
    found = {
      each
      for text in texts(ast.parse(path.read_text()))
      for each in unknown(text)
    } - OTHERS.get(name, set())
    if found:
      wrong[name] = sorted(found)
  assert not wrong
  former = {*flags.RENAMED, *versions.RENAMED}
  assert not former & {f'--{flag}' for flag in flags.FLAGS} | former & {*FIELDS}
