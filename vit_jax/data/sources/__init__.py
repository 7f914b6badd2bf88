"""Sources of examples: a data set on disk, or generated, with random access.

A source has a length, and its example i is

    image   encoded bytes, or uint8 [rows, columns, 3] ([rows, columns] and
            [rows, columns, 1] where the data set is grey)
    label   class index, -1 where there is none

It also has `num_classes`, `class_names` (a tuple, or None), `where(i)`, which
describes the file or record of example i, `key(i)`, the same without the place
of the data set, and `facts()`, lines that distinguish this data set from any
other: names, counts, sizes. It may have `left_out`, {(split, kind of file):
number}, and `notes`, lines for the user.
"""

import dataclasses
import functools
import hashlib

from vit_jax import errors, plugins
from vit_jax.data.sources import (
  arrays,
  description,
  folder,
  given,
  mixture,
  roundels,
  synthetic,
)


def _tfds(data, split):
  from vit_jax.data.sources import tfds  # Imports TFDS, which takes seconds.

  return tfds.build(data, split)


# (the part `data` of the configuration, split) -> source.
SOURCES = plugins.Registry(
  'source',
  {
    'tfds': _tfds,
    'folder': folder.build,
    'arrays': arrays.build,
    'synthetic': synthetic.build,
    'roundels': roundels.build,
    given.NAME: given.build,
  },
)

CHOICES = {'data.source': SOURCES}

counts = description.counts
describe = description.describe


def build(data, split, complete=True):
  """Returns the source of one split.

  Args:
    data: the part `data` of the configuration.
    split: name of the split, or slices of some, as in 'train[:99%]+extra'.
    complete: whether a list of files must not name any that are gone; a run
      that is resumed knows which it had (see `listing`).

  Raises:
    UserError: the data set, the split or a class isn't there, can't be read or
      prepared, or has more classes than data.num_classes.
  """
  make = errors.choose('data.source', data.source, SOURCES)
  if make is folder.build:
    make = functools.partial(make, complete=complete)
  parts = mixture.parse(data.dataset)
  if parts is None:
    source = make(data, split)
  else:
    built = []
    for dataset, _ in parts:
      one = data.copy_and_resolve_references()
      one.dataset = dataset
      built.append(make(one, split))
    source = mixture.join(built, [weight for _, weight in parts])
  return with_classes(data, source)


def with_classes(data, source):
  """Returns a source with the configured number of classes, or its own.

  Raises:
    UserError: it has more.
  """
  if data.num_classes is None or data.num_classes == source.num_classes:
    return source
  if data.num_classes < source.num_classes:
    raise errors.UserError(
      f'data.num_classes={data.num_classes} is less than the '
      f'{source.num_classes} classes of {data.dataset}; leave it out, or give '
      'at least as many.'
    )
  return dataclasses.replace(source, num_classes=data.num_classes)


def num_classes(data):
  """Returns the number of classes; for TFDS, without preparing the data set.

  Raises:
    UserError: their number is not known.
  """
  if data.num_classes is not None:
    return data.num_classes
  if data.source == 'tfds' and mixture.parse(data.dataset) is None:
    from vit_jax.data.sources import tfds  # As above.

    return tfds.num_classes(data)
  return build(data, data.train_split).num_classes


def training_split(data):
  """Returns the training split, by a name that means it whatever is evaluated.

  Of a folder without a split to evaluate on, a part of the training images is
  held out: then it is the name of the others.
  """
  is_folder = data.source == 'folder' and mixture.parse(data.dataset) is None
  return folder.training_split(data) if is_folder else data.train_split


def fingerprint(source):
  """Returns 16 hexadecimal digits that identify a data set.

  A digest of names, counts and sizes, not of all contents: it takes seconds at
  most.
  """
  digest = hashlib.blake2b(digest_size=8)
  for fact in (str(len(source)), str(source.num_classes), *source.facts()):
    digest.update(fact.encode() + b'\n')
  return digest.hexdigest()
