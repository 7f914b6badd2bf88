"""Image files in folders: <data set>/<split>/<class>/<image>.

`layout` says where splits may lie otherwise, `class_list` which index a class
has, `label_file` how a list of images and labels takes the place of folders,
and `image_files` what is an image.
"""

import collections
import dataclasses
import os
from typing import NamedTuple

import numpy as np

from vit_jax import errors, files
from vit_jax.config import schema
from vit_jax.data import image_files, names
from vit_jax.data.sources import slices
from vit_jax.data.sources.folder import class_list, label_file, layout
from vit_jax.files import listed

_MAX_SIZES = 10_000  # Files whose size is part of the fingerprint.
_BESIDE = 'images beside the class folders'


@dataclasses.dataclass(eq=False)
class FolderSource:
  """A source of image files; see `sources` for what a source is.

  Attributes:
    root: folder of the data set; may be remote, as gs://bucket/photos.
    names: path of each file in it, encoded: bytes [examples]. An array, since
      a million of Python's strings take 100 MB.
    labels: class index of each file, int32 [examples].
    class_names: name of each class, or None.
    num_classes: number of classes.
    left_out: {(path of a split, kind of file): number}, of files in it that are
      no images.
    notes: lines for the user, on what stands for what.
    excused: indices of files that a person has removed as bad; see `listing`.
    sizes: bytes of each file, int64 [examples], -1 where they have to be asked
      for; None: all have.
  """

  root: str
  names: np.ndarray
  labels: np.ndarray
  class_names: tuple[str, ...] | None
  num_classes: int
  left_out: collections.Counter = dataclasses.field(
    default_factory=collections.Counter
  )
  notes: tuple[str, ...] = ()
  excused: frozenset = frozenset()
  sizes: np.ndarray | None = None

  def __len__(self):
    return len(self.names)

  def __getitem__(self, index):
    image = image_files.read(self._path(index))
    return {'image': image, 'label': int(self.labels[index])}

  def where(self, index):
    return names.shown(self._path(index))

  def key(self, index):
    # Unlike what is shown, no two are the same.
    return self.names[index].decode('utf-8', 'backslashreplace')

  def facts(self):
    yield from map('{} {}'.format, self.names, self.labels)
    for index in range(0, len(self), -(-len(self) // _MAX_SIZES)):
      yield str(self.size(index))

  def size(self, index):
    """Returns the bytes of a file; None: there is none."""
    if self.sizes is not None and self.sizes[index] >= 0:
      return int(self.sizes[index])
    path = self._path(index)
    return files.path(path).stat().st_size if files.exists(path) else None

  def _path(self, index):
    return f'{self.root}/{os.fsdecode(self.names[index])}'


class Summary(NamedTuple):
  """What a recipe needs to know of a data set.

  Attributes:
    splits: {name: number of its images}.
    class_names: of all classes, or None.
    num_classes: number of classes.
  """

  splits: dict
  class_names: tuple | None
  num_classes: int


def build(data, split, complete=True):
  """Returns the source of a split, or of slices, of the folder `data.dataset`.

  Args:
    data, split: see `sources.build`.
    complete: whether a list must not name files that are not there.

  Raises:
    UserError: the folder, the split, a class or the images of one are missing,
      a list can't be parsed or lists what is not there, or classes don't fit.
  """
  asked = slices.parse(split)
  found = _DataSet(data, [name for name, _ in asked], complete)
  paths, labels, left_out, notes = [], [], collections.Counter(), []
  for name, bounds in asked:
    part = found.layout.part(name)
    its = found.files(part.split)
    shared = layout.share(part, its.names, its.labels)
    own = [its.names[index] for index in shared]
    taken = [shared[i] for i in slices.take(own, bounds, split)]
    paths += [its.names[index] for index in taken]
    labels += [its.labels[index] for index in taken]
    place = os.fspath(part.split.path)
    for kind, count in its.left_out.items():
      left_out[place, kind] = count
    notes += filter(None, [part.note, *its.notes])
  return FolderSource(
    os.fspath(found.root),
    np.array([os.fsencode(path) for path in paths]),
    np.array(labels, np.int32),
    found.classes.shown,
    max(found.classes.num_classes, 1),
    left_out,
    tuple(dict.fromkeys([*notes, *filter(None, [found.classes.note])])),
    sizes=_sizes(found.root, paths),
  )


def _sizes(root, paths):
  """Returns the bytes of files that a listing of a store has told, or None."""
  if not files.is_remote(root):
    return None
  known = (root.size_of(path) for path in paths)
  return np.array([-1 if size is None else size for size in known], np.int64)


def summary(dataset, train_split='train', eval_split='validation'):
  """Returns the `Summary` of a folder, as a run with these splits sees it.

  Raises:
    UserError: see `build`.
  """
  data = schema.default().data
  data.source, data.dataset = 'folder', dataset
  data.train_split, data.eval_split = train_split, eval_split
  built = {
    split: build(data, split, complete=False)  # A run that is resumed may be.
    for split in (train_split, eval_split)
  }
  source = built[train_split]
  counts = {split: len(each) for split, each in built.items()}
  return Summary(counts, source.class_names, source.num_classes)


def training_split(data):
  """Returns a name of the training split that is the same for any other split.

  Where a part of it is held out to evaluate on, it is that of the rest.
  """
  asked = slices.parse(data.train_split)
  found = _DataSet(data, [name for name, _ in asked], True).layout
  if not found.holds_out or '[' in data.train_split:
    return data.train_split
  return '+'.join(
    f'{name}{layout.HELD_IN}' if found.part(name).share == 'rest' else name
    for name, _ in asked
  )


class _Files(NamedTuple):
  """The files of a split."""

  names: list  # Path of each, within the folder of the data set.
  labels: list  # Class index of each; -1 where there is none.
  left_out: collections.Counter
  notes: list


class _DataSet:
  """A data set on the disk, as one configuration sees it.

  Args:
    data: the part `data` of the configuration.
    asked: names of splits to be read.
    complete: see `build`.
  """

  def __init__(self, data, asked, complete):
    self.root = _open(data.dataset)
    self._complete = complete
    self._allow_outside = data.allow_outside
    self._listed = class_list.read(self.root)
    self._known_labels, self._tables = {}, {}
    training, evaluated = (
      [name for name, _ in slices.parse(split)]
      for split in (data.train_split, data.eval_split)
    )
    wanted = [*training, *evaluated]
    self.layout = layout.find(self.root, wanted, asked, self._listed)
    self.classes = self._unite(wanted, asked, data.num_classes)
    if self._listed is None and self.classes.names is not None:
      self._check_shared(training, evaluated)

  def files(self, split):
    """Returns the `_Files` of a `layout.Split`."""
    folders = list(self._labels(split).first)
    self.classes.check(
      self._labels(split),
      class_list.FILE if self._listed else 'the splits of this run',
    )
    if split.is_list:
      return self._listed_files(split)
    if not folders:
      return self._flat_files(split)
    found = _Files([], [], collections.Counter(), [])
    prefix = f'{split.name}/' if split.name else ''
    for folder in sorted(folders, key=self.classes.index):
      inside = image_files.find(split.path / folder)
      if not inside.names:
        raise _no_images(split.path / folder, inside)
      found.names.extend(f'{prefix}{folder}/{name}' for name in inside.names)
      label = self.classes.index(folder)
      found.labels.extend([label] * len(inside.names))
      found.left_out.update(inside.left_out)
    if split.name:
      found.left_out.update(_beside(split.path))
    else:
      found.notes.append(self._without_splits(folders))
    return found

  def _unite(self, wanted, asked, num_classes):
    """Returns the `class_list.ClassList` of all splits that count."""
    if self._listed is not None:
      return class_list.ClassList(
        self._listed, len(self._listed), is_listed=True
      )
    known = map(self.layout.find, wanted)
    splits = list(dict.fromkeys(split for split in known if split))
    others = [s for s in self.layout.usual() if s not in splits]
    if not splits and not others:
      splits = [self.layout.part(name).split for name in asked]
    labels = [self._labels(split) for split in splits]
    for split in others:
      labels += self._fitting(split, labels)
    return class_list.unite(labels, num_classes)

  def _fitting(self, split, labels):
    """Returns [`class_list.Labels`] of a split that nobody wants, or [].

    They count, so that evaluating on it later changes no index, unless they
    can't be read or have nothing in common with those that are wanted.
    """
    try:
      found = self._labels(split)
      classes = class_list.unite([*labels, found])
    except errors.UserError:
      return []
    indices = set(map(classes.index, found.first))
    shares = any(indices & set(map(classes.index, l.first)) for l in labels)
    return [found] if shares or not labels else []

  def _check_shared(self, training, evaluated):
    """Raises UserError where a split has no class that training has."""
    learned = [
      label
      for split in filter(None, map(self.layout.find, training))
      for label in self._labels(split).first
    ]
    for split in filter(None, map(self.layout.find, evaluated)):
      labels = self._labels(split).first
      shared = {*map(self.classes.index, learned)}.intersection(
        map(self.classes.index, labels)
      )
      if learned and labels and not shared:
        raise errors.UserError(
          f'{names.shown(split.path)} has none of the classes of '
          f'{"+".join(training)}: {names.quoted(labels, 3)}, and '
          f'{names.quoted(learned, 3)}. Call them the same, or list all in '
          f'{class_list.FILE}.'
        )

  def _labels(self, split):
    """Returns the `class_list.Labels` of a split."""
    if split not in self._known_labels:
      first = {}
      if split.is_list:
        table = self._table(split)
        for row, label in enumerate(table.labels):
          if label is not None and label not in first:
            first[label] = table.where(row)
      else:
        for folder in self._folders(split):
          first[folder] = names.shown(split.path / folder)
      self._known_labels[split] = class_list.Labels(
        split.name, first, split.is_list
      )
    return self._known_labels[split]

  def _table(self, split):
    if split.rival:
      raise errors.UserError(
        f'{names.shown(split.path)} and {names.shown(split.rival.name)} both '
        f'list the split {split.name!r}; keep one of them.'
      )
    if split not in self._tables:
      self._tables[split] = label_file.read(split.path)
    return self._tables[split]

  def _folders(self, split):
    """Returns the names of the class folders of a split."""
    folders = split.folders()
    if len(folders) == 1 and split.name and self._listed is None:
      inside = image_files.entries(split.path / folders[0])
      if len(inside.folders) > 1 and not any(
        image_files.is_image(split.path / folders[0] / name)
        for name in inside.files
      ):
        raise errors.UserError(
          f'{names.shown(split.path)} holds only the folder '
          f'{names.shown(folders[0])!r}, and that only folders '
          f'({names.quoted(inside.folders, 3)}). If these are the classes, '
          f'move them up; else list the classes in {class_list.FILE}.'
        )
    return folders

  def _listed_files(self, split):
    table, left_out = label_file.on_disk(
      self.root, self._table(split), self._complete, self._allow_outside
    )
    labels = [
      -1 if label is None else self.classes.index(label)
      for label in table.labels
    ]
    return _Files(table.images, labels, left_out, [])

  def _flat_files(self, split):
    """Returns the files of a folder without classes."""
    inside = image_files.find(split.path)
    if not inside.names:
      raise errors.UserError(
        f'{names.shown(split.path)} has no folders; each class is a folder of '
        'images.'
      )
    found = [f'{split.name}/{name}' for name in inside.names]
    return _Files(found, [-1] * len(found), inside.left_out, [])

  def _without_splits(self, folders):
    """Returns a note on which folders are classes."""
    note = (
      f'{names.shown(self.root)} has no splits: its folders are the classes '
      f'({names.quoted(folders)})'
    )
    others = [
      folder
      for folder in image_files.entries(self.root).folders
      if folder not in folders and image_files.find(self.root / folder).left_out
    ]
    if others:
      note += f'; without images: {names.quoted(others)}'
    return note


def _open(dataset):
  """Returns the path of a data set.

  Raises:
    UserError: it is no folder.
  """
  root = files.path(os.path.expanduser(dataset))
  if files.is_remote(root):
    root = listed.ListedPath(root)
  if not files.is_folder(root):
    raise errors.UserError(
      f'data.dataset={os.fspath(root)!r} is not a folder; with '
      'data.source=folder it holds <split>/<class>/<image>.'
    )
  return root


def _beside(path):
  """Returns {kind of file: number} of the files beside class folders."""
  return collections.Counter(
    _BESIDE if image_files.is_image(path / name) else image_files.kind(name)
    for name in image_files.entries(path).files
  )


def _no_images(path, inside):
  found = 'nothing'
  if inside.left_out:
    found = f'only {image_files.describe(inside.left_out)}'
  known = ', '.join(image_files.FORMATS)
  return errors.UserError(
    f'{names.shown(path)} has no images: it holds {found}. Known are {known}.'
  )
