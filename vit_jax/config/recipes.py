"""Recipes and overrides to a checked configuration, and to disk and back.

A recipe is a local Python file whose `get_config` starts from
`schema.default()`; its keyword arguments are its knobs. The recipes of this
project (configs/) are installed with it and are known by their names there,
such as finetune/transfer.py, in any folder. A run writes its configuration to
workdir/config.json, which is data and is never executed.
"""

import hashlib
import inspect
import json
import pathlib
import re
import runpy
import sys
import traceback

from ml_collections import config_dict

import vit_jax
from vit_jax import errors, files
from vit_jax.config import listed, paths, schema, versions
from vit_jax.config import overrides as config_overrides
from vit_jax.files import folders

FILE = 'config.json'
# What runs and exports write into their folder: none of it may be a link.
WRITTEN = (
  *('*.csv', '*.html', '*.json', '*.jsonl', '*.png', '*.safetensors', '*.npz'),
  *('checkpoints', 'logs', 'params', 'profile', 'tensorboard', 'wandb'),
)

# Where the recipes are: in a checkout beside the package, installed inside it.
_PACKAGE = pathlib.Path(vit_jax.__file__).parent
FOLDER = _PACKAGE / 'configs'
if not FOLDER.is_dir():
  FOLDER = _PACKAGE.parent / 'configs'

# What a config.json, which may be a stranger's, does not decide: for its user,
# it is off unless it is given again.
_ON_THE_COMMAND_LINE = {'data.allow_outside': False}

# A run may resume with other values of these: they change where it runs, how
# fast, and what it logs, not what it computes.
MAY_CHANGE = (
  'model.attention',
  'model.scan',
  'model.remat',
  'optimizer.accumulation_steps',
  'data.data_dir',
  'data.num_threads',
  'data.num_workers',
  'data.allow_outside',
  'data.max_bad_fraction',
  'data.prefetch_batches',
  'run.eval_batch_size',
  'run.eval_every',
  'run.log_every',
  'run.writers',
  'run.log_parameter_norm',
  'run.log_compiles',
  'run.profile_steps',
  'run.peak_flops_per_device',
  'run.checkpoint_every',
  'run.checkpoints_to_keep',
  'run.keep_best',
  'run.watchdog_seconds',
  'mesh.data',
  'mesh.fsdp',
  'mesh.tensor',
)


def load(spec, overrides=()):
  """Returns the locked configuration that a recipe and overrides describe.

  Args:
    spec: 'path/recipe.py', 'path/recipe.py:variant=B/16,dataset=cifar10' with
      knobs, or the 'config.json' of a run. Where no such file exists, the path
      is the name of a recipe in `FOLDER`, with or without 'configs/'. The value
      of a knob may be a URL or a path; one with a comma is quoted.
    overrides: strings '--config.run.batch_size=8'; the last of a field wins.
      Fields that are None by default can be set back with 'none'.

  Raises:
    UserError: the file, a knob, a field or the type of a value doesn't fit.
  """
  path, knobs = _split(spec)
  if path.suffix == '.json':
    saved = _read_json(path)
    given = versions.upgrade(saved) | _ON_THE_COMMAND_LINE
    _print_added(path, versions.ADDED.keys() - saved.keys())
  else:
    given = config_overrides.flatten(_run_recipe(path, knobs))
  config = config_overrides.unflatten(given, path)
  for override in overrides:
    config_overrides.override(config, override)
  _resolve_paths(config)
  return config


def save(config, workdir):
  """Writes the configuration to workdir/config.json, whole or not at all.

  Its paths are absolute there.
  """
  workdir = _writable(workdir)
  config = config.copy_and_resolve_references()
  _resolve_paths(config)
  files.write_text(workdir / FILE, _to_json(config.to_dict()) + '\n')


def check_same(config, workdir):
  """Creates the folder of a run, and refuses the folder of another run.

  Data on the disk may have moved: a session compares their fingerprint.

  Raises:
    UserError: `workdir` can't be written, or its config.json differs in more
      than `MAY_CHANGE`; the message shows theirs and ours.
  """
  workdir = _writable(workdir)
  if not (workdir / FILE).exists():
    return
  saved, ours = (
    paths.resolve(flat)
    for flat in (
      versions.upgrade(_read_json(workdir / FILE)),
      config_overrides.flatten(config),
    )
  )
  ignored = _may_change(ours)
  if saved.get('data.source') == ours['data.source'] in paths.FILES:
    ignored.add('data.dataset')
  given, wanted = (
    {
      field: json.dumps(value)
      for field, value in flat.items()
      if field not in ignored
    }
    for flat in (saved, ours)
  )
  if given != wanted:
    from vit_jax import pytrees  # Recipes are read before JAX is imported.

    lines = '\n'.join(f'  {line}' for line in pytrees.diff(given, wanted))
    raise errors.UserError(
      f'{workdir} holds a run with another configuration:\n{lines}\n'
      'Give this run a new --workdir, or resume that one with '
      f'--config={workdir / FILE}.'
    )


def _may_change(flat):
  """Returns the fields of a configuration that don't change what it computes.

  With patience, it is evaluations that end the training.
  """
  fixed = {'run.eval_every'} if flat['run.patience'] is not None else set()
  return set(MAY_CHANGE) - fixed


def fields_that_count(config):
  """Returns {field: value} of what decides what a run computes.

  Those of `MAY_CHANGE` don't.
  """
  flat = config_overrides.flatten(config)
  ignored = _may_change(flat)
  return {field: value for field, value in flat.items() if field not in ignored}


def digest(config):
  """Returns 16 hexadecimal digits that identify what a run computes."""
  text = json.dumps(fields_that_count(config), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def grid(spec):
  """Returns the grid (see `grids`) that `get_grid` of a recipe gives.

  {} where the recipe has no such function, which is called with those of the
  recipe's knobs that it has.

  Args:
    spec: see `load`.

  Raises:
    UserError: it doesn't return that.
  """
  path, knobs = _split(spec)
  if path.suffix == '.json':
    return {}
  recipe = runpy.run_path(str(path))
  get_grid = recipe.get('get_grid')
  if get_grid is None:
    return {}
  known = inspect.signature(get_grid).parameters
  given = _arguments(recipe['get_config'], knobs, path)
  found = get_grid(**{name: given[name] for name in given if name in known})
  if not isinstance(found, dict) or not all(found.values()):
    raise errors.UserError(
      f'get_grid of {path} should return values for each field, such as '
      "{'optimizer.learning_rate': (0.01, 0.03)}."
    )
  return {entry: tuple(values) for entry, values in found.items()}


# What the user names -------------------------------------------------------


def find(name):
  """Returns the path of a file, given as a path or by the name of a recipe.

  Args:
    name: a path, which wins where there is such a file; else 'quickstart.py' or
      'configs/quickstart.py', a recipe in `FOLDER`.

  Raises:
    UserError: there is neither; it names the nearest.
  """
  path = files.path(name).expanduser()
  if path.is_file():
    return path
  if files.is_remote(name):
    raise errors.UserError(f'There is no file {name}.')
  short = name.removeprefix('configs/')
  shipped = installed()
  if short in shipped:
    return FOLDER / short
  if path.is_absolute() or path.suffix != '.py':
    raise errors.UserError(f'There is no file {path}. {_near_files(path)}')
  prefix = name.removesuffix(short)
  known = {*_files(path.parent), *(prefix + recipe for recipe in shipped)}
  raise errors.UserError(
    f'There is no file {name}, nor a recipe of this name. '
    f'{errors.nearest(name, known)}'
  )


def from_folder(spec):
  """Returns a spec for `load` that always means a recipe in `FOLDER`.

  Args:
    spec: a name (see `find`) and knobs; files in the current folder are
      ignored.
  """
  return f'{FOLDER}/{spec.removeprefix("configs/")}'


def with_knob(spec, name, value):
  """Returns a spec for `load` with one more knob, or another value of it."""
  _, knobs = _parts(spec)
  return f'{spec}{"," if knobs else ":"}{name}={listed.quoted(value)}'


def installed():
  """Returns the names of the recipes in `FOLDER`, as finetune/transfer.py."""
  return {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob('*.py')}


def _parts(spec):
  """Returns the name of the file in 'name:knobs', and the text of the knobs."""
  match = re.fullmatch(r'(.+?\.(?:py|json))(?::(.*))?', spec, re.DOTALL)
  name, knobs = match.groups('') if match else (spec, '')
  if files.is_remote(name) and not name.endswith('.json'):
    raise errors.UserError(
      f'{spec} is a URL; a recipe is read from a local file only. '
      'Download it, read it, and give its path.'
    )
  if not match:
    raise errors.UserError(
      f'{spec} is neither a recipe (path/recipe.py:knob=value) '
      f'nor the {FILE} of a run.'
    )
  return name, knobs


def _split(spec):
  """Splits 'path:knobs' into the path and the text of the knobs."""
  name, knobs = _parts(spec)
  if knobs and name.endswith('.json'):
    raise errors.UserError(
      f'{name} is data and has no knobs; given: {knobs}. '
      'Override fields with --config.FIELD=VALUE.'
    )
  return find(name), knobs


def _near_files(path):
  folder = path.parent
  if not folder.is_dir():
    return f'There is no folder {folder.absolute()} either.'
  names = _files(folder)
  if not names:
    return f'The folder {folder.absolute()} holds no recipe.'
  return errors.nearest(str(path), names)


def _files(folder):
  """Returns the paths of files that `load` may take, if it is a folder."""
  if not folder.is_dir():
    return []
  return [
    str(folder / file.name)
    for file in folder.iterdir()
    if file.suffix in ('.py', '.json')
  ]


def _read_json(path):
  """Returns the fields of a config.json, unchanged."""
  try:
    return config_overrides.flatten(files.read_json(path, finite=False))
  except (OSError, ValueError, AttributeError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise errors.UserError(
      f'{path} is not the {FILE} of a run ({reason}).'
    ) from error


def _print_added(path, added):
  """Prints which fields are newer than a config.json, and their values."""
  if added:
    values = ', '.join(
      f'{field}={versions.ADDED[field]}' for field in sorted(added)
    )
    print(
      f'{path} is of an older version; fields added since then keep the old '
      f'behaviour: {values}.',
      file=sys.stderr,
    )


# Recipes -------------------------------------------------------------------


def _run_recipe(path, knobs):
  get_config = runpy.run_path(str(path)).get('get_config')
  if not callable(get_config):
    raise errors.UserError(
      f'{path} has no function get_config that returns the configuration.'
    )
  arguments = _arguments(get_config, knobs, path)
  try:
    config = get_config(**arguments)
  except (AttributeError, KeyError, TypeError) as error:
    message = _explain(error)
    if message is None:  # A bug of the recipe, which needs its traceback.
      raise
    raise errors.UserError(message) from error
  if not isinstance(config, config_dict.ConfigDict):
    raise errors.UserError(
      f'get_config of {path} returns {type(config).__name__}; '
      'it should return the ConfigDict of schema.default().'
    )
  return config


def _arguments(get_config, knobs, path):
  """Returns the keyword arguments that 'variant=B/16,size=3' stands for."""
  known = inspect.signature(get_config).parameters
  if knobs and not known:
    raise errors.UserError(f'{path} has no knobs; given: {knobs}.')
  arguments = {}
  for knob in listed.split(knobs, ',', '=') if knobs else ():
    name, equals, text = knob.partition('=')
    text = listed.unquoted(text)
    if not equals:
      raise errors.UserError(
        f'{path}: knobs are written name=value, separated by commas; '
        f'given: {knob!r}. The knobs: {", ".join(known)}. '
        "A value with a comma is in quotes: name='a,b'."
      )
    default = errors.choose(f'{path}: knob', name, known).default
    arguments[name] = _knob_value(f'{path}: {name}={text}', text, default)
  for name, parameter in known.items():
    if parameter.default is parameter.empty and name not in arguments:
      raise errors.UserError(f'{path} needs a value: {path}:{name}=...')
  return arguments


def _knob_value(shown, text, default):
  """Casts text to the type of the default; without one, it stays text."""
  try:
    if isinstance(default, bool):
      return {'true': True, 'false': False}[text.lower()]
    if isinstance(default, (int, float)):
      return type(default)(text)
  except (ValueError, KeyError) as error:
    raise errors.UserError(
      f'{shown} does not fit: the knob is '
      f'{type(default).__name__}, by default {default}.'
    ) from error
  return text


def _explain(error):
  """Explains which field a recipe got wrong; None: the error is another one."""
  frames = traceback.extract_tb(error.__traceback__)
  library = inspect.getfile(config_dict.ConfigDict)
  key = re.match(r'\W*(?:Key|Could not override field)?\W*(\w+)', str(error))
  if not key or frames[-1].filename != library:
    return None
  frame = next(f for f in reversed(frames) if f.filename != library)
  # The library names the last part of the field; the line, often all of it.
  written = re.search(rf'[\w.]*\b{key[1]}\b', frame.line or '')
  field = (written[0] if written else key[1]).removeprefix('config.')
  where = f'{frame.filename}, line {frame.lineno}, {frame.line}'
  if not isinstance(error, TypeError):
    return f'{where}: {field} is not a field. {config_overrides.nearest(field)}'
  known = config_overrides.flatten(schema.default())
  fits = [
    f'{name} is {config_overrides.kind(name)}'
    for name in known
    if f'.{name}'.endswith(f'.{field}')
  ]
  rule = ' and '.join(fits) or f'{field} is a group of fields'
  return f'{where}: this does not fit; {rule}.'


# Disk ----------------------------------------------------------------------


def _resolve_paths(config):
  for field, value in paths.resolve(config_overrides.flatten(config)).items():
    if value != schema.lookup(config, field):
      config_overrides.assign(config, field, value, field)


def _writable(workdir):
  """Creates a folder if needed and returns its path; it must be writable."""
  workdir = files.path(workdir).expanduser()
  try:
    folders.check(workdir)
    files.refuse_links(workdir, WRITTEN)
    return workdir
  except OSError as error:
    raise errors.UserError(
      f'--workdir={workdir} cannot be written ({error.strerror}); '
      'give a writable folder.'
    ) from error


def _to_json(node, indent=''):
  """Returns JSON with one field per line, whatever its value."""
  if not isinstance(node, dict):
    return json.dumps(node, allow_nan=False)
  inner = f'{indent}  '
  lines = [
    f'{inner}{json.dumps(name)}: {_to_json(value, inner)}'
    for name, value in node.items()
  ]
  return '{\n' + ',\n'.join(lines) + f'\n{indent}}}'
