"""The files of a run's data set as they were at its first step.

By it a run goes on although some of them are gone since: each example keeps its
index, and one that is gone counts as bad. A file that was listed as bad may be
mended or removed; any other change is found and refused.
"""

import dataclasses
import io
import itertools
import os
import zipfile
from typing import NamedTuple

import numpy as np

from vit_jax import errors, files
from vit_jax.data import sources

FILE = 'examples.npz'

_MAX_SIZES = 10_000  # Files of a split whose size is stored.
_MAX_SHOWN = 5  # Files that an error names.
_UNKNOWN = -1  # A size that is not stored; 0: there was no file.


class Files(NamedTuple):
  """The files of one source, in its order."""

  names: np.ndarray  # As in `folder.FolderSource`.
  labels: np.ndarray
  sizes: np.ndarray  # Bytes, int64; of an even sample.
  num_classes: int


def save(path, splits):
  """Writes the files of {split: source}; nothing of sources of other kinds."""
  arrays = {}
  for split, source in splits.items():
    arrays[f'{split}/fingerprint'] = np.array(sources.fingerprint(source))
    for number, part in enumerate(_parts(source)):
      if _is_of_files(part):
        for name, value in _files_of(part)._asdict().items():
          arrays[f'{split}/{number}/{name}'] = np.asarray(value)
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  with files.replacing(path) as file:
    file.write(buffer.getvalue())


def load(path):
  """Returns {name: array} that `save` has written; {}: there is none."""
  try:
    with (
      files.open_regular(path) as file,
      np.load(file, allow_pickle=False) as stored,
    ):
      return {name: stored[name] for name in stored.files}
  except FileNotFoundError:
    return {}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile):
    return {}  # Without it, the fingerprint alone tells whether data changed.


def fingerprint(source, stored, split):
  """Returns the fingerprint that a split had when it was stored.

  None where `restore` has not compared all of it.
  """
  found = stored.get(f'{split}/fingerprint')
  had = _stored_parts(source, stored, split)
  return str(found) if all(part is not None for part in had) else None


def num_gone(source, stored, split):
  """Returns how many files of a split are gone; see `restore`."""
  return sum(
    len(_gone(_as_before(part, had), part))
    for part, had in zip(_parts(source), _stored_parts(source, stored, split))
    if had is not None
  )


def restore(source, stored, split, bad, max_fraction, max_new=0):
  """Returns the source with the examples that it had at first.

  Args:
    source: as it is built from the disk now.
    stored: what `load` returns.
    split: a key of what was given to `save`.
    bad: see `bad_examples.listed`; such a file may have changed, and if it is
      gone it is excused: it doesn't count for the next. None: any may.
    max_fraction: of the examples may be gone otherwise.
    max_new: number of files that may be new, and are left out: a slice is of an
      order of all files, and without some of them others move up.

  Raises:
    UserError: names the files that have changed.
  """
  restored = tuple(
    part
    if had is None
    else _restore_part(part, had, own, max_fraction, max_new)
    for part, had, own in zip(
      _parts(source),
      _stored_parts(source, stored, split),
      _by_part(source, bad),
    )
  )
  if not hasattr(source, 'parts'):
    return restored[0]
  return dataclasses.replace(source, parts=restored)


def _stored_parts(source, stored, split):
  """Yields the `Files` of each part, None where they are not stored."""
  for number, part in enumerate(_parts(source)):
    key = f'{split}/{number}'
    if _is_of_files(part) and f'{key}/names' in stored:
      yield Files(*(stored[f'{key}/{name}'] for name in Files._fields))
    else:
      yield None


def _by_part(source, bad):
  """Yields `bad` of each part: in a mixture, its number is before the key."""
  for number, _ in enumerate(_parts(source)):
    if bad is None or not hasattr(source, 'parts'):
      yield bad
    else:
      yield {key.removeprefix(f'{number} ') for key in bad}


def _as_before(part, had):
  sizes = part.sizes
  if sizes is not None:
    known = dict(zip(part.names.tolist(), sizes.tolist()))
    sizes = np.array([known.get(n, _UNKNOWN) for n in had.names.tolist()])
  return dataclasses.replace(
    part, names=had.names, labels=had.labels.astype(np.int32), sizes=sizes
  )


def _gone(first, part):
  """Returns the indices of files that are there no more."""
  now = set(part.names.tolist())
  return {
    index
    for index, name in enumerate(first.names.tolist())
    if name not in now and not files.exists(_path(first, index))
  }


def _restore_part(part, had, bad, max_fraction, max_new):
  """Returns `restore` of a single folder."""
  first = _as_before(part, had)
  gone = _gone(first, part)
  excused = frozenset(i for i in gone if _is_among(bad, first, i))
  changes = list(_changes(first, had, part, gone, bad))
  if len(gone - excused) > max_fraction * len(first):
    changes += [f'{first.where(i)} is gone' for i in sorted(gone - excused)]
  before = set(had.names.tolist())
  if changes or len(set(part.names.tolist()) - before) > max_new:
    changes += [
      f'{part.where(index)} is new'
      for index, name in enumerate(part.names.tolist())
      if name not in before
    ]
    raise errors.UserError(
      'The data have changed since this run was started: '
      f'{_some(changes)}. Restore them, or start a new run in another '
      '--workdir. Files that bad_examples.jsonl lists may change or be gone; '
      f'of others, data.max_bad_fraction={max_fraction:g} may be gone.'
    )
  return dataclasses.replace(first, excused=excused)


def _changes(first, had, part, gone, bad):
  """Yields what is not as it was of files that are still there."""
  if part.num_classes != int(had.num_classes):
    yield f'{part.num_classes} classes, and there were {had.num_classes}'
  labels = dict(zip(part.names.tolist(), part.labels.tolist()))
  sizes = _files_of(first).sizes
  for index, name in enumerate(had.names.tolist()):
    if index in gone:
      continue
    if labels.get(name, had.labels[index]) != had.labels[index]:
      yield f'{first.where(index)} has another label'
    elif sizes[index] != had.sizes[index] and not _is_among(bad, first, index):
      yield (
        f'{first.where(index)} has {sizes[index]} bytes and had '
        f'{had.sizes[index]}'
      )


def _is_among(bad, part, index):
  """Returns whether an example was listed, wherever its data set lay then."""
  return bad is None or not bad.isdisjoint((part.key(index), part.where(index)))


def _parts(source):
  return getattr(source, 'parts', (source,))


def _is_of_files(part):
  return getattr(part, 'names', None) is not None


def _files_of(part):
  sizes = np.full(len(part), _UNKNOWN, np.int64)
  for index in range(0, len(part), -(-len(part) // _MAX_SIZES)):
    sizes[index] = part.size(index) or 0
  return Files(part.names, part.labels, sizes, part.num_classes)


def _path(part, index):
  return os.path.join(part.root, os.fsdecode(part.names[index]))


def _some(lines):
  shown = ', '.join(itertools.islice(lines, _MAX_SHOWN))
  more = len(lines) - _MAX_SHOWN
  return f'{shown} and {more} more' if more > 0 else shown
