"""Names of ImageNet's classes, in the order of the released models' heads.

Their sources are in vit_jax/data/datasets/names/README.md.
"""

import functools
import pathlib

_FOLDER = pathlib.Path(__file__).parent / 'names'
_FILES = {1000: 'imagenet2012.txt', 21_843: 'imagenet21k.txt'}


@functools.cache
def get(num_classes):
  """Returns a tuple of as many names, such as 'tench, Tinca tinca'.

  Without a list of that many classes, the names are 'class 0' and so on.
  """
  if num_classes not in _FILES:
    return tuple(f'class {index}' for index in range(num_classes))
  lines = (_FOLDER / _FILES[num_classes]).read_text().splitlines()
  return tuple(line.partition(' ')[2] for line in lines)


def are_known(num_classes):
  return num_classes in _FILES
