"""Data sets of TensorFlow Datasets (TFDS), read with random access.

TFDS prepares a data set once, as ArrayRecord files; from then on it is read
without TensorFlow. One that was prepared as TFRecord files can be read, too.
Images stay encoded until the batch is built.
"""

import bisect
import dataclasses
import itertools
import operator
import os
from collections.abc import Callable, Sequence

import tensorflow_datasets as tfds

from vit_jax import errors, files
from vit_jax.data import bad_examples
from vit_jax.data.datasets import vtab
from vit_jax.data.sources import array_record, tfds_builders, tfrecord
from vit_jax.data.transforms import decoding

_COPY = '; copy the file again'


@dataclasses.dataclass(eq=False)
class TfdsSource:
  """A source of records; see `sources` for what a source is.

  Attributes:
    records: serialized examples, with random access.
    features: what to parse of a record: the image, then what `label` needs.
    label: maps a parsed example to the class index.
    files: TFDS's instructions: which parts of which files make up the split.
    class_names: name of each class, or None.
    num_classes: number of classes.
    is_binary: whether the pixels are 0 and 1, to be scaled to 0 and 255.
  """

  records: Sequence[bytes]
  features: tfds.features.FeaturesDict
  label: Callable
  files: tuple
  class_names: tuple[str, ...] | None
  num_classes: int
  is_binary: bool = False

  def __post_init__(self):
    self._ends = list(itertools.accumulate(file.take for file in self.files))
    self._image = next(iter(self.features))

  def __len__(self):
    return len(self.records)

  def __getitem__(self, index):
    record = self._record(index)
    try:
      example = self.features.deserialize_example_np(
        record, decoders={self._image: tfds.decode.SkipDecoding()}
      )
      image, label = example[self._image], int(self.label(example))
    except errors.UserError:
      raise
    except Exception as error:  # Of any kind: the bytes can be anything.
      raise errors.UserError(
        f'{self.where(index)} has no image and label as '
        f'{", ".join(self.features)} ({type(error).__name__}: {error}).'
      ) from error
    if self.is_binary:
      image = decoding.decode(image)
      image = image * 255 if image.max() <= 1 else image
    return {'image': image, 'label': label}

  def where(self, index):
    file, number = self._place(index)
    return f'record {number} of {file.filename}'

  def key(self, index):
    file, number = self._place(index)
    return f'record {number} of {os.path.basename(file.filename)}'

  def facts(self):
    sizes = tfrecord.sizes_of(file.filename for file in self.files)
    for file in self.files:
      size = sizes[file.filename]
      name = os.path.basename(file.filename)
      yield f'{name} {file.skip} {file.take} {size}'

  def relabelled(self, feature, kind, label, num_classes):
    """Returns the source with another label.

    Args:
      feature: name of what the label is made of.
      kind: the `tfds.features` class instance that parses it.
      label: maps a parsed example to the class index.
      num_classes: number of classes.
    """
    image = {self._image: self.features[self._image]}
    return dataclasses.replace(
      self,
      features=tfds.features.FeaturesDict({**image, feature: kind}),
      label=label,
      class_names=None,
      num_classes=num_classes,
    )

  def _record(self, index):
    try:
      return self.records[index]
    except RuntimeError as error:  # ArrayRecord's error for broken records.
      advice = '' if files.is_remote(self.files[0].filename) else _COPY
      raise bad_examples.BrokenShardError(
        f'{self.where(index)} can not be read{advice}: {error}'
      ) from error

  def _place(self, index):
    """Returns the instruction that covers an example, and its record there."""
    part = bisect.bisect_right(self._ends, index)
    file = self.files[part]
    return file, file.skip + index - (self._ends[part] - file.take)


def build(data, split):
  """Returns the source of a split, or of a slice or sum of splits.

  A data set that isn't prepared yet is downloaded and prepared first. For a
  task of VTAB, such as vtab/dtd, the splits are those of `vtab.Version`.

  Raises:
    UserError: the data set is unknown, can't be prepared, is there in another
      file format, or lacks the split, a file, an image or a label.
  """
  of_vtab = vtab.find(data.dataset)
  task = of_vtab and of_vtab.task
  builder = _builder(data, task)
  tfds_builders.prepare(builder)
  features = _features(builder, data.num_classes, task)
  *_, label = features
  records, instructions = _records(builder, _tfds_split(of_vtab, split))
  names = getattr(features[label], 'names', None)
  return TfdsSource(
    records,
    features,
    (task and task.label) or operator.itemgetter(label),
    tuple(instructions),
    tuple(names) if names and not (task and task.label) else None,
    _count(features, task) or data.num_classes,
    is_binary=builder.name == 'dsprites',
  )


def num_classes(data):
  """Returns the number of classes, whether or not the data set is prepared.

  Raises:
    UserError: the data set is unknown, or has no class label.
  """
  of_vtab = vtab.find(data.dataset)
  task = of_vtab and of_vtab.task
  return _count(_features(_builder(data, task), None, task), task)


def _builder(data, task):
  name = task.builder if task else data.dataset
  return tfds_builders.builder(name, data.data_dir)


def _tfds_split(of_vtab, split):
  if of_vtab is None:
    return split
  if split not in of_vtab.splits:
    raise errors.UserError(
      f'A task of VTAB has no split {split!r}; '
      f'{errors.nearest(split, of_vtab.splits)}'
    )
  return of_vtab.splits[split]


def _count(features, task):
  """Returns the number of classes, None where only the user knows."""
  if task:
    return task.num_classes
  *_, label = features.values()
  return getattr(label, 'num_classes', None)


def _features(builder, num_classes, task=None):
  """Returns a FeaturesDict of two: the image, then what the label needs."""
  features = builder.info.features
  image = _find(features, 'image', tfds.features.Image)
  if task and task.reads:
    label = task.reads
  else:
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
  """Returns the records of a split and TFDS's instructions for it."""
  format = tfds_builders.file_format(builder)
  splits = builder.info.splits
  try:
    instructions = splits[split].file_instructions
    if not instructions:
      raise ValueError('it has no examples')
    if format == tfds_builders.TFRECORD:
      name = f'{builder.name}-{"-".join(sorted(_names(split)))}'
      return tfrecord.read(instructions, name), instructions
    tfrecord.sizes_of(file.filename for file in instructions)
    if not array_record.is_readable(instructions[0].filename):
      return array_record.copied(instructions), instructions
    records = builder.as_data_source(
      split,
      deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES,
      file_format=format,
    )
  except errors.UserError:
    raise
  # TFDS parses what the files say; it may fail in any way.
  except Exception as error:
    for name in _names(split):
      if name not in splits and name != 'all':
        raise errors.UserError(
          f'{builder.name} has no split {name!r}. '
          f'{errors.nearest(name, splits)}'
        ) from error
    raise errors.UserError(
      f'The split {split!r} of {builder.name} is empty, or not of the form '
      f'train[:99%] or train[100:200]: {error}'
    ) from error
  return records, instructions


def _names(split):
  """Returns the names in a split, as in train[:5]+test."""
  return [part.split('[')[0].strip() for part in split.split('+')]
