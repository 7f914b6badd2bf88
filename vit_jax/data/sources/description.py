"""What a run says of its data: how many images, and what is odd."""

import collections
import itertools
from concurrent import futures

import numpy as np

from vit_jax import errors
from vit_jax.data import image_files, names
from vit_jax.data.transforms import decoding

_NUM_LOOKED_AT = 8  # Images of 16 bits.


def describe(splits, sources):
  """Returns the lines that a run says of its data.

  Args:
    splits: names, of which the first is that of training.
    sources: one for each.
  """
  lines = [counts(splits, sources)]
  for source in sources:
    lines += getattr(source, 'notes', ())
  for split, source in zip(splits, sources):
    lines += _of_values(split, source)
  lines += _of_classes(sources[0])
  lines += _shared(splits, sources)
  return list(dict.fromkeys(lines))


def _shared(splits, sources):
  """Returns how many images are in several splits."""
  lines = []
  for (one, source), (two, other) in itertools.combinations(
    zip(splits, sources), 2
  ):
    places = [getattr(each, 'root', None) for each in (source, other)]
    if one == two or None in places or places[0] != places[1]:
      continue
    count = len(np.intersect1d(source.names, other.names))
    if count:
      lines.append(
        f'{_counted(count, "image", "s")} in both {one} and {two}: what is '
        'measured on these is no test'
      )
  return lines


def counts(splits, sources):
  """Returns '2,310 images of 12 classes (train), 411 (test)', and so on."""
  rows = []
  left_out = collections.Counter()
  for split, source in zip(splits, sources):
    labels = getattr(source, 'labels', None)
    unlabelled = 0 if labels is None else int((np.asarray(labels) < 0).sum())
    are_none = unlabelled == len(source)
    what = ''
    if not rows:
      what = f' images of {_counted(source.num_classes, "class", "es")}'
      what = ' images without labels' if are_none else what
    row = f'{len(source):,}{what} ({split})'
    if unlabelled and not (are_none and what):
      row += f', {unlabelled:,} of them without a label'
    rows.append(row)
    left_out |= getattr(source, 'left_out', {})
  line = ', '.join(rows)
  kinds = collections.Counter()
  for (_, kind), count in left_out.items():
    kinds[kind] += count
  if kinds:
    line += f'; left out: {image_files.describe(kinds)}'
  return line


def _counted(number, noun, ending):
  return f'{number:,} {noun}{ending * (number != 1)}'


def _of_classes(source):
  """Returns what is odd about the classes of the training."""
  labels = getattr(source, 'labels', None)
  if labels is not None and not (np.asarray(labels) >= 0).any():
    return []
  lines = []
  if source.num_classes == 1:
    lines.append('there is one class only: nothing can be told apart')
  by_case = {}
  for name in source.class_names or ():
    by_case.setdefault(name.casefold(), []).append(name)
  for alike in by_case.values():
    if len(alike) > 1:
      lines.append(
        f'the classes {" and ".join(alike)} differ in upper and lower case only'
      )
  if labels is None:
    return lines
  missing = sorted({*range(source.num_classes)}.difference(labels.tolist()))
  if missing:
    called = [
      source.class_names[index]
      if index < len(source.class_names or ())
      else index
      for index in missing
    ]
    lines.append(
      f'{_counted(len(missing), "class", "es")} without training images: '
      f'{names.quoted(called)}'
    )
  return lines


def _of_values(split, source):
  """Returns whether images of 16 bits use the lower of them alone."""
  chosen = range(0, len(source), -(-len(source) // _NUM_LOOKED_AT))
  with futures.ThreadPoolExecutor(_NUM_LOOKED_AT) as threads:
    bits = list(threads.map(lambda index: _bits_of(source, index), chosen))
  bits = [number for number in bits if number is not None]
  if not bits or max(bits) > 12:
    return []
  return [
    f'images of {split} have 16 bits and use the lower {max(bits)}: they are '
    f'nearly black, since the upper 8 are taken; multiply their values by '
    f'{2 ** (16 - max(bits))}'
  ]


def _bits_of(source, index):
  """Returns the bits that an image uses; None: not of 16, or not readable."""
  try:
    return decoding.bits_used(source[index]['image'])
  except (OSError, errors.UserError):  # It is told when the image is read.
    return None
