"""Where examples come from: a data set on disk, or made up, at random access.

A source knows its length and gives example i as

    image   encoded bytes, or uint8 [rows, columns, 3] ([rows, columns] and
            [rows, columns, 1] where the data set is grey)
    label   class index, -1 where there is none

along with `num_classes`, `class_names` (a tuple, or None) and `where(i)`, which
tells in words the file or record that example i is read from.
"""

import dataclasses

from vit_jax import errors
from vit_jax.data import arrays, folder, synthetic, tfds_source

SOURCES = {
  'tfds': tfds_source.build,
  'folder': folder.build,
  'arrays': arrays.build,
  'synthetic': synthetic.build,
}


def build(data, split):
  """Returns the source of one split.

  Args:
    data: the part `data` of the configuration.
    split: name of the split; with TFDS also a slice, as in 'train[:99%]'.

  Raises:
    UserError: the data set, the split or a class isn't there, can't be read or
      prepared, or has more classes than data.num_classes.
  """
  source = errors.choose('data.source', data.source, SOURCES)(data, split)
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
  """Returns the number of classes; of TFDS, without preparing the data set.

  Raises:
    UserError: nobody says how many there are.
  """
  if data.num_classes is not None:
    return data.num_classes
  if data.source == 'tfds':
    return tfds_source.num_classes(data)
  return build(data, data.train_split).num_classes
