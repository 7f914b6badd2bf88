"""Data sets of the TensorFlow Datasets catalogue, read at random access.

The catalogue prepares a data set once, as ArrayRecord files; from then on it is
read without TensorFlow. Images stay encoded until the batch is built.
"""

import bisect
import dataclasses
import itertools
import os
import re
from collections.abc import Sequence

import tensorflow_datasets as tfds

from vit_jax import errors
from vit_jax.data import digits

OWN_BUILDERS = (digits.Digits,)  # To define one is to register it.

FORMAT = tfds.core.FileFormat.ARRAY_RECORD


@dataclasses.dataclass(eq=False)
class TfdsSource:
  """A source of records; see `sources` for what a source is.

  Attributes:
    records: serialized examples, at random access.
    features: what to parse of a record: the image and the label.
    files: TFDS's instructions, which parts of which files make up the split.
    class_names: name of each class, or None.
    num_classes: number of classes.
  """

  records: Sequence[bytes]
  features: tfds.features.FeaturesDict
  files: tuple
  class_names: tuple[str, ...] | None
  num_classes: int

  def __post_init__(self):
    self._ends = list(itertools.accumulate(file.take for file in self.files))
    self._image, self._label = self.features.keys()

  def __len__(self):
    return len(self.records)

  def __getitem__(self, index):
    example = self.features.deserialize_example_np(
      self.records[index], decoders={self._image: tfds.decode.SkipDecoding()}
    )
    return {'image': example[self._image], 'label': int(example[self._label])}

  def where(self, index):
    part = bisect.bisect_right(self._ends, index)
    file = self.files[part]
    start = self._ends[part] - file.take
    return f'record {file.skip + index - start} of {file.filename}'


def build(data, split):
  """Returns the source of a split, or of a slice or sum of splits.

  A data set that isn't prepared yet is downloaded and prepared first.

  Raises:
    UserError: the data set is unknown, can't be prepared, is there in another
      file format, or lacks the split, an image or a label.
  """
  builder = _builder(data.dataset, data.data_dir)
  _prepare(builder)
  features = _features(builder, data.num_classes)
  records, files = _records(builder, split)
  label = list(features.values())[1]
  names = getattr(label, 'names', None)
  return TfdsSource(
    records,
    features,
    tuple(files),
    tuple(names) if names else None,
    getattr(label, 'num_classes', None) or data.num_classes,
  )


def num_classes(data):
  """Returns what the catalogue says, whether or not the data set is there.

  Raises:
    UserError: the data set is unknown, or has no class label.
  """
  features = _features(_builder(data.dataset, data.data_dir), None)
  return list(features.values())[1].num_classes


def _builder(dataset, data_dir):
  data_dir = data_dir and os.path.expanduser(data_dir)
  try:
    return tfds.builder(dataset, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    name = re.split('[/:]', dataset)[0]
    known = tfds.list_builders(with_community_datasets=False)
    raise errors.UserError(
      f'data.dataset={dataset!r}: TFDS knows no such data set and '
      f'{data_dir or tfds.core.constants.DATA_DIR} holds none. '
      f'{errors.nearest(name, known)}'
    ) from error
  except (ValueError, AssertionError, ImportError) as error:
    # A version or configuration that isn't there, a name out of form, or a
    # data set whose code wants a package; TFDS says which.
    raise errors.UserError(
      f'data.dataset={dataset!r} does not fit TFDS: {error}'
    ) from error


def _prepare(builder):
  """Sees to it that the data set is on disk, as ArrayRecord."""
  where = os.fspath(builder.data_path)
  if builder.data_path.exists() and builder.is_prepared():
    formats = builder.info.available_file_formats()
    if FORMAT not in formats:
      found = ' and '.join(sorted(format.value for format in formats))
      raise errors.UserError(
        f'{builder.name} is in {where} as {found}, which can not be read at '
        'random access. Give another data.data_dir, to have it prepared there '
        f'as {FORMAT.value}, or convert it with `tfds convert_format '
        f'--dataset_version_dir={where} --out_file_format={FORMAT.value}`.'
      )
    return
  try:
    builder.download_and_prepare(file_format=FORMAT)
  # Preparing runs the code of the data set: it may fail in any way.
  except Exception as error:
    raise errors.UserError(
      f'{builder.name} is not in {where} and can not be prepared there: '
      f'{type(error).__name__}: {error}\n{_advice(error)}'
    ) from error


def _advice(error):
  if isinstance(error, ImportError):
    return (
      'Preparing this data set needs a package that is not installed '
      '(TensorFlow: pip install tensorflow); reading it afterwards does not.'
    )
  return (
    'It can be prepared on another machine, with `tfds build '
    f'--file_format={FORMAT.value}`, and copied; data.data_dir says where to '
    'look. Files that have to be downloaded by hand go where the message says.'
  )


def _features(builder, num_classes):
  """Returns a FeaturesDict of two: the image, then the label."""
  features = builder.info.features
  image = _find(features, 'image', tfds.features.Image)
  label = _find(features, 'label', tfds.features.ClassLabel)
  if label is None and num_classes is not None:
    label = 'label' if 'label' in features else None
  for name, what in ((image, 'image'), (label, 'class label')):
    if name is None:
      raise errors.UserError(
        f'{builder.name} has no {what} to learn from; its features: '
        f'{", ".join(features)}.'
      )
  return tfds.features.FeaturesDict(
    {image: features[image], label: features[label]}
  )


def _find(features, name, kind):
  """Returns `name` if it's of the kind, else the first of the kind, or None."""
  found = [key for key in features if isinstance(features[key], kind)]
  return name if name in found else next(iter(found), None)


def _records(builder, split):
  splits = builder.info.splits
  try:
    records = builder.as_data_source(
      split,
      deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES,
      file_format=FORMAT,
    )
    return records, splits[split].file_instructions
  except (ValueError, AssertionError, KeyError) as error:
    for part in split.split('+'):
      name = part.split('[')[0].strip()
      if name not in splits and name != 'all':
        raise errors.UserError(
          f'{builder.name} has no split {name!r}. '
          f'{errors.nearest(name, splits)}'
        ) from error
    raise errors.UserError(
      f'The split {split!r} of {builder.name} is empty, or not of the form '
      f'train[:99%] or train[100:200]: {error}'
    ) from error
