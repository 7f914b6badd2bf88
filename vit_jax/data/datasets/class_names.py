"""What classes are called, and which of two data sets are the same.

ImageNet's classes are synsets of WordNet, as n01440764, in the order of the
released models' heads; `readable` tells their words. Their sources are in
vit_jax/data/datasets/names/README.md.
"""

import functools
import pathlib

from vit_jax import errors
from vit_jax.data import names as file_names

_FOLDER = pathlib.Path(__file__).parent / 'names'
_FILES = {1000: 'imagenet2012.txt', 21_843: 'imagenet21k.txt'}
_SHOWN = 5  # Names in a message.


def imagenet(num_classes):
  """Returns ImageNet's synsets; None where it has not that many classes."""
  if num_classes not in _FILES:
    return None
  return tuple(_read(_FILES[num_classes]))


def readable(names):
  """Returns the names, each synset in words, such as 'tench, Tinca tinca'."""
  return tuple(_words().get(name, name) for name in names)


def recognised(names):
  """Returns ImageNet's synsets if these are its names in words, else `names`.

  Words name two of its classes 'crane'; synsets are unique.
  """
  synsets = imagenet(len(names))
  if synsets and list(map(_plain, names)) == list(
    map(_plain, readable(synsets))
  ):
    return synsets
  return tuple(names)


def match(names, others):
  """Returns, for each of `others`, the index of the same class in `names`.

  The same are names that differ by case, white space, underscores or the form
  of Unicode; and for ImageNet's classes, a synset and any of its words.

  Args:
    names: of the classes of a model.
    others: of the classes of a data set.

  Raises:
    UserError: `names` lacks some of `others`; it shows the difference.
  """
  index, lacking = _index(names), []
  found = []
  for name in others:
    places = [index[key] for key in _keys(name) if index.get(key) is not None]
    found.append(places[0] if places else None)
    if not places:
      lacking.append(name)
  if lacking:
    matched = set(found) - {None}
    unmatched = [n for i, n in enumerate(names) if i not in matched]
    raise errors.UserError(
      f'{len(lacking)} of the {len(others)} classes of the data are none of '
      f"the model's: {_some(lacking)}. The model's that the data lack: "
      f'{_some(unmatched) or "none"}.'
    )
  twice = [others[i] for i, p in enumerate(found) if p in found[:i]]
  if twice:
    raise errors.UserError(
      f'Several classes of the data are the same class of the model; one of '
      f'them is {twice[0]!r}.'
    )
  return tuple(found)


def are_indices(names):
  """Returns whether the names are '0', '1', ...: they say nothing more."""
  return tuple(names) == tuple(map(str, range(len(names))))


def _index(names):
  """Returns {key: index of the class; None: of several}."""
  index = {}
  for rank in range(3):
    found = {}
    for place, name in enumerate(names):
      keys = _keys(name)
      for key in _of_rank(keys, rank):
        found[key] = None if found.get(key, place) != place else place
    index = found | index
  return index


def _of_rank(keys, rank):
  """Returns of the keys of a name: itself, its synset, or its other words."""
  return (keys[:1], keys[1:2], keys[2:])[rank]


def _keys(name):
  """Returns what a class may be called: itself, its synset, then its words."""
  plain = _plain(name)
  synset = plain if plain in _words() else _synsets().get(plain)
  if synset is None:
    return [plain, plain]
  words = _words()[synset]
  return [plain, synset, _plain(words), *map(_plain, words.split(','))]


def _plain(name):
  return ' '.join(file_names.key(name).replace('_', ' ').casefold().split())


def _some(names):
  return file_names.quoted(list(map(repr, names)), _SHOWN)


@functools.cache
def _read(file):
  """Returns {synset: its words}, in the order of the file."""
  lines = (_FOLDER / file).read_text().splitlines()
  return dict(line.split(' ', 1) for line in lines)


@functools.cache
def _words():
  return _read(_FILES[21_843]) | _read(_FILES[1000])


@functools.cache
def _synsets():
  """Returns {words: their synset; None: of several}, ImageNet-1k's first."""
  every = {}
  for file in _FILES.values():
    found = {}
    for synset, words in _read(file).items():
      key = _plain(words)
      found[key] = None if key in found else synset
    every = found | every
  return every
