"""What can be known of a source before it is used: labels, readable files."""

import io
import itertools
import os
from concurrent import futures

import numpy as np
from PIL import Image

from vit_jax import errors, files
from vit_jax.data import bad_examples, image_files
from vit_jax.data.transforms import decoding

MAX_FILES = 50_000  # More are checked by an even sample of so many,
MAX_REMOTE = 1_000  # and of those in a store.

_NUM_THREADS = 16  # They wait for the disk most of the time.
_HEADER = 64 << 10  # Bytes, in which nearly all images tell their size.


def has_labels(source):
  """Returns whether any example has a label.

  Records, which hold image and label, are read up to the first that has one.
  """
  parts = getattr(source, 'parts', None)
  if parts is not None:
    return any(map(has_labels, parts))
  labels = getattr(source, 'labels', None)  # Of files and arrays.
  if labels is None:
    labels = (_label(source, index) for index in range(len(source)))
  return any(label >= 0 for label in labels)


def _label(source, index):
  try:
    return source[index]['label']
  except (bad_examples.BrokenShardError, image_files.StoreError):
    raise
  except (errors.UserError, OSError):  # A bad example, as others may be.
    return -1


def unreadable(source):
  """Looks at the headers of the image files of a source.

  Returns:
    [(index, what is wrong)] of those that can't be opened, and how many were
    looked at: none of a source that is not of files.
  """
  problems, num_checked = [], 0
  parts = getattr(source, 'parts', (source,))
  firsts = itertools.accumulate(map(len, parts), initial=0)
  for first, part in zip(firsts, parts):
    if getattr(part, 'names', None) is None:
      continue
    most = MAX_REMOTE if files.is_remote(part.root) else MAX_FILES
    chosen = np.arange(0, len(part), max(1, -(-len(part) // most)))
    chosen = [i for i in chosen.tolist() if i not in part.excused]
    with futures.ThreadPoolExecutor(_NUM_THREADS) as threads:
      found = threads.map(lambda i, part=part: _problem(part, i), chosen)
      problems += [
        (first + index, f'{part.where(index)}: {problem}')
        for index, problem in zip(chosen, found)
        if problem is not None
      ]
    num_checked += len(chosen)
  return problems, num_checked


def _problem(part, index):
  """Returns what is wrong with a file, or None."""
  path = os.path.join(part.root, os.fsdecode(part.names[index]))
  try:
    with Image.open(_header(path)) as file:
      decoding.check_size(file.height, file.width)
    return None
  except FileNotFoundError as error:
    return error.strerror
  except Exception:  # Of any kind, on broken bytes; other decoders may do.
    return _decoding_problem(part, index)


def _header(path):
  """Returns what Pillow reads a header from: of an object, its first bytes."""
  if not files.is_remote(path):
    return path
  return io.BytesIO(files.path(path).read_bytes(0, _HEADER))


def _decoding_problem(part, index):
  try:
    decoding.decode(part[index]['image'])
  except image_files.StoreError:
    raise
  except (errors.UserError, OSError) as error:
    return str(error)
  return None
