"""Image files in folders: <data set>/<split>/<class>/<image>.

A class gets its index from the sorted names of all class folders (which may be
the indices themselves, 0 to n - 1), and all splits must have the same ones, so
that an index means the same everywhere; or from `classes.txt` in the data set's
folder, a name per line, and then a split may lack some. In place of the folder
of a split there may be a list of its images and their labels: see `label_file`.
"""

import dataclasses
import os

import numpy as np
from etils import epath

from vit_jax import errors
from vit_jax.data.sources import label_file, slices

EXTENSIONS = (
  '.jpg',
  '.jpeg',
  '.png',
  '.webp',
  '.bmp',
  '.gif',
  '.tif',
  '.tiff',
)

_MAX_SIZES = 10_000  # Files whose size is part of the fingerprint.


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
  """

  root: str
  names: np.ndarray
  labels: np.ndarray
  class_names: tuple[str, ...] | None
  num_classes: int

  def __len__(self):
    return len(self.names)

  def __getitem__(self, index):
    where = self.where(index)
    return {'image': _read(where), 'label': int(self.labels[index])}

  def where(self, index):
    return f'{self.root}/{os.fsdecode(self.names[index])}'

  def facts(self):
    yield from map('{} {}'.format, self.names, self.labels)
    if '://' not in self.root:
      for index in range(0, len(self), -(-len(self) // _MAX_SIZES)):
        path = self.where(index)
        yield str(os.path.getsize(path) if os.path.exists(path) else None)


def build(data, split):
  """Returns the source of a split, or of slices, of the folder `data.dataset`.

  Raises:
    UserError: the folder, the split, a class or the images of one are missing,
      or a list of labels can't be parsed.
  """
  root = epath.Path(data.dataset).expanduser()
  try:
    is_folder = root.is_dir()
  except ImportError as error:  # Each kind of remote path needs a package.
    raise errors.UserError(
      f'data.dataset={os.fspath(root)!r} can not be read: {error}.'
    ) from error
  if not is_folder:
    raise errors.UserError(
      f'data.dataset={os.fspath(root)!r} is not a folder; with '
      'data.source=folder it holds <split>/<class>/<image>.'
    )
  listed = class_list(root)
  names, labels, class_names, num_classes = [], [], listed, 0
  for name, bounds in slices.parse(split):
    if label_file.find(root, name):
      part = label_file.read(root, name, listed)
    else:
      part = _read_folders(root, name, listed)
    taken = slices.take(part.names, bounds, split)
    names += [part.names[index] for index in taken]
    labels += [part.labels[index] for index in taken]
    class_names = part.class_names
    num_classes = max(num_classes, part.num_classes)
  return FolderSource(
    os.fspath(root),
    np.array([os.fsencode(name) for name in names]),
    np.array(labels, np.int32),
    class_names,
    num_classes,
  )


def class_list(root):
  """Returns the lines of classes.txt, or None where there is no such file."""
  path = root / 'classes.txt'
  if not path.exists():
    return None
  names = tuple(
    line.strip() for line in path.read_text().splitlines() if line.strip()
  )
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice or not names:
    said = f'names {twice[0]!r} twice' if twice else 'is empty'
    raise errors.UserError(f'{path} {said}; it has each class on one line.')
  return names


def _read_folders(root, split, listed):
  """Returns a `label_file.Listing` of the files of a split's folders."""
  splits = {path.name: path for path in _folders(root)}
  if split not in splits:
    known = {*splits, *label_file.splits(root)}
    raise errors.UserError(
      f'{root} has no split {split!r}, that is no folder of that name. '
      + (errors.nearest(split, known) if known else 'It has no folders.')
    )
  class_names = _class_names(splits, split, listed)
  names, labels = [], []
  present = {path.name for path in _folders(splits[split])}
  for label, name in enumerate(class_names):
    if name in present:
      images = _images(splits[split] / name)
      names += [f'{split}/{name}/{image}' for image in images]
      labels += [label] * len(images)
  return label_file.Listing(names, labels, class_names, len(class_names))


def _class_names(splits, split, listed):
  """Returns the classes: those listed, else the same in all splits, sorted."""
  classes = {
    name: {path.name for path in _folders(folder)}
    for name, folder in splits.items()
    if listed is None or name == split
  }
  if not classes[split]:
    raise errors.UserError(
      f'{splits[split]} has no folders; each class is a folder of images.'
    )
  if listed is not None:
    extra = sorted(classes[split] - set(listed))
    if extra:
      raise errors.UserError(
        f'Class {extra[0]!r} ({splits[split] / extra[0]}) is not in '
        f'classes.txt. {errors.nearest(extra[0], listed)}'
      )
    return listed
  for other, names in classes.items():
    # A folder without folders is no split: perhaps images without labels.
    for have, lack in ((other, split), (split, other)) if names else ():
      extra = sorted(classes[have] - classes[lack])
      if extra:
        raise errors.UserError(
          f'Class {extra[0]!r} is in split {have!r} '
          f'({splits[have] / extra[0]}) and not in split {lack!r}; all splits '
          'must have the same class folders, or a classes.txt beside the '
          f'splits lists them (classes that differ so: {len(extra)}).'
        )
  return tuple(sorted(classes[split], key=_order_of(classes[split])))


def _order_of(names):
  """Returns the sort key of classes: as numbers if 0 to n - 1, else as names.

  The folders of ImageNet-v2 are called 0 to 999, the indices of the classes.
  """
  are_indices = names == set(map(str, range(len(names))))
  return int if are_indices else str


def _images(folder):
  """Returns the sorted names of the images of one class."""
  names = sorted(
    path.name for path in folder.iterdir() if not path.name.startswith('.')
  )
  images = [name for name in names if name.lower().endswith(EXTENSIONS)]
  if not images:
    found = f'only {names[0]!r} and the like' if names else 'nothing'
    raise errors.UserError(
      f'{folder} has no images: it holds {found}. Known are files ending in '
      f'{", ".join(EXTENSIONS)}.'
    )
  return images


def _read(path):
  if '://' in path:
    return epath.Path(path).read_bytes()
  with open(path, 'rb', buffering=0) as file:
    return file.read()


def _folders(folder):
  return [
    path
    for path in sorted(folder.iterdir())
    if path.is_dir() and not path.name.startswith('.')
  ]
