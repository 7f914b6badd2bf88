"""What a prepared data set says of itself, judged before TFDS reads it.

TFDS imports the module of whatever feature class `features.json` names, reads
the files that it names, and formats the names of files by it. A folder of
somebody else's may name anything: here, classes are those of a closed list, and
numbers, names and sizes have bounds.
"""

import os
import re

from tensorflow_datasets.core import naming
from tensorflow_datasets.core.utils import file_utils

from vit_jax import errors, files
from vit_jax.files import listed

MAX_CLASSES = 1_000_000
MAX_SIDE = 1 << 24  # Of an array's shape.

_CORE = 'tensorflow_datasets.core.features'
# Those that data sets of images are made of; video and audio start programs.
FEATURES = frozenset(
  f'{_CORE}.{name}'
  for name in (
    'bounding_boxes.BBoxFeature',
    'class_label_feature.ClassLabel',
    'feature.Tensor',
    'features_dict.FeaturesDict',
    'image_feature.Image',
    'labeled_image.LabeledImage',
    'scalar.Scalar',
    'sequence_feature.Sequence',
    'tensor_feature.Tensor',
    'text_feature.Text',
    'top_level_feature.TopLevelFeature',
  )
)
_DTYPES = frozenset(
  (
    *('bool', 'string', 'object', 'float16', 'float32', 'float64'),
    *(f'{kind}{bits}' for kind in ('int', 'uint') for bits in (8, 16, 32, 64)),
  )
)
# By the word, without underscores and in lower case: the largest number.
_NUMBERS = {
  'numclasses': MAX_CLASSES,
  'length': MAX_SIDE,
  'dimensions': MAX_SIDE,
  'shape': MAX_SIDE,
  'numshards': MAX_CLASSES,
  'shardlengths': 1 << 40,
}
_CLASS_NAMES = ('pythonclassname', 'type')
_PATHS = ('namesfile', 'labels', 'ffmpegextraargs')  # Read, or run, by TFDS.
_SIMPLE = re.compile(r'[\w+.-]*')
_TEMPLATE = re.compile(
  r'([\w.-]|\{(DATASET|SPLIT|SHARD_INDEX|NUM_SHARDS|SHARD_X_OF_Y|FILEFORMAT)\})*'
)


def check(dataset, data_dir):
  """Reads what TFDS is about to read of a data set, of every version there.

  Args:
    dataset: name, as in 'cifar10:3.*.*' or 'sun397/tfds'.
    data_dir: folder of data sets; None: TFDS's own.

  Raises:
    UserError: a file is too large, no file, no JSON or names what no data set
      of images has; or the name of the data set would run code of others.
  """
  try:
    name, options = naming.parse_builder_name_kwargs(dataset)
  except ValueError as error:
    raise errors.UserError(
      f'data.dataset={dataset!r} does not fit TFDS: {error}'
    ) from error
  if name.namespace or options.keys() - {'version', 'config'}:
    raise errors.UserError(
      f'data.dataset={dataset!r} names a registry or arguments, by which TFDS '
      'would run code of others; prepare the data set by itself, and give its '
      'plain name.'
    )
  for root in file_utils.list_data_dirs(data_dir):
    with files.asking(root):
      folder = files.path(root) / name.name
      if files.is_remote(folder):
        folder = listed.ListedPath(folder)
      if folder.is_dir():
        _check_folders(folder)


def _check_folders(top):
  """Checks the folder of a data set: <config>/<version>/ or <version>/."""
  default = top / '.config' / 'metadata.json'
  if default.exists():
    found = _read(default)
    config = found.get('default_config_name') if found else None
    if config is not None:
      _require(_is_simple(config), default, 'its config', config)
  for folder in _folders(top):
    for inner in (folder, *_folders(folder)):
      _check_files(inner)


def _check_files(folder):
  for path in folder.iterdir():
    if path.name.endswith('.labels.txt'):
      _bounded(path)
    elif path.name == 'features.json':
      _check_features(path, _read(path))
    elif path.name == 'dataset_info.json':
      _check_info(path, _read(path))
    elif path.name == 'metadata.json':
      _read(path)


def _folders(folder):
  return [path for path in folder.iterdir() if path.is_dir()]


def _check_features(path, found):
  """Checks each name and number in the JSON of features, and in its texts."""
  nodes = [found]
  while nodes:
    node = nodes.pop()
    if isinstance(node, list):
      nodes += node
    if not isinstance(node, dict):
      continue
    for key, value in node.items():
      word = key.replace('_', '').lower()
      if isinstance(value, str):
        _check_text(path, word, value)
        if word in ('json', 'content'):  # JSON in JSON, as older versions have.
          value = _parse(path, value)
      elif word in _NUMBERS:
        _check_numbers(path, key, value, _NUMBERS[word])
      nodes.append(value)


def _check_text(path, word, value):
  if word in _CLASS_NAMES:
    _require(value in FEATURES, path, 'the feature class', value)
  elif word == 'dtype':
    _require(value in _DTYPES, path, 'the dtype', value)
  elif word in _NUMBERS:
    _check_numbers(path, word, value, _NUMBERS[word])
  else:
    _require(word not in _PATHS, path, f'{word} in a file', value)


def _check_info(path, found):
  """Checks the facts of a data set: its features, names and splits."""
  _check_features(path, {'features': found.get('features')})
  for field in 'name', 'configName', 'config_name', 'version', 'fileFormat':
    _require(_is_simple(found.get(field, '')), path, field, found.get(field))
  splits = found.get('splits') or []
  _require(isinstance(splits, list), path, 'splits', splits)
  for split in splits:
    _require(isinstance(split, dict), path, 'a split', split)
    _require(_is_simple(split.get('name', '')), path, 'a split', split)
    for key, value in split.items():
      word = key.replace('_', '').lower()
      if word == 'filepathtemplate':
        fits = isinstance(value, str) and _TEMPLATE.fullmatch(value)
        _require(fits and '..' not in value, path, 'the names of files', value)
      elif word in _NUMBERS:
        _check_numbers(path, key, value, _NUMBERS[word])


def _check_numbers(path, key, value, largest):
  """Checks a number, or lists of some; JSON of protocol buffers has texts."""
  if isinstance(value, list):
    for each in value:
      _check_numbers(path, key, each, largest)
  elif isinstance(value, int | str):
    fits = re.fullmatch(r'-?\d{1,18}', str(value))
    fits = fits and -1 <= int(value) <= largest
    _require(fits, path, key, value)


def _is_simple(text):
  return isinstance(text, str) and _SIMPLE.fullmatch(text) and '..' not in text


def _require(fits, path, what, value):
  if not fits:
    raise errors.UserError(
      f'{os.fspath(path)}: {what} {str(value)[:200]!r} is of no data set of '
      'images that TFDS has prepared, and is not followed; prepare the data '
      'set again, by code that you trust.'
    )


def _read(path):
  """Returns the object in a JSON file."""
  return _parse(path, _bounded(path))


def _parse(path, text):
  try:
    found = files.parse_json(text)
    if not isinstance(found, dict):
      raise ValueError('it is no object')
  except ValueError as error:
    raise errors.UserError(
      f'{os.fspath(path)} is not JSON: {error}.'
    ) from error
  return found


def _bounded(path):
  """Returns what is in a file, local or remote, of the size of metadata."""
  with files.asking(path):
    return files.read_bytes(path, files.MAX_JSON)
