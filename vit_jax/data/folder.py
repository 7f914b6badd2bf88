"""Image files in folders: <data set>/<split>/<class>/<image>.

A class gets its index from the sorted names of all class folders, and all
splits must have the same ones, so that an index means the same everywhere.
"""

import dataclasses
import pathlib

from vit_jax import errors

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


@dataclasses.dataclass(eq=False)
class FolderSource:
  """A source of image files; see `sources` for what a source is.

  Attributes:
    paths: the files, in the order of the examples.
    labels: class index of each file.
    class_names: name of each class.
    num_classes: number of classes.
  """

  paths: tuple[str, ...]
  labels: tuple[int, ...]
  class_names: tuple[str, ...]
  num_classes: int

  def __len__(self):
    return len(self.paths)

  def __getitem__(self, index):
    image = pathlib.Path(self.paths[index]).read_bytes()
    return {'image': image, 'label': self.labels[index]}

  def where(self, index):
    return self.paths[index]


def build(data, split):
  """Returns the source of one split of the folder `data.dataset`.

  Raises:
    UserError: the folder, the split, a class or the images of one are missing.
  """
  root = pathlib.Path(data.dataset).expanduser()
  if not root.is_dir():
    raise errors.UserError(
      f'data.dataset={str(root)!r} is not a folder; with data.source=folder '
      'it holds <split>/<class>/<image>.'
    )
  splits = {path.name: path for path in _folders(root)}
  if split not in splits:
    raise errors.UserError(
      f'{root} has no split {split!r}, that is no folder of that name. '
      + (errors.nearest(split, splits) if splits else 'It has no folders.')
    )
  class_names = _class_names(splits, split)
  paths, labels = [], []
  for label, name in enumerate(class_names):
    images = _images(splits[split] / name)
    paths += images
    labels += [label] * len(images)
  return FolderSource(
    tuple(paths), tuple(labels), class_names, len(class_names)
  )


def _class_names(splits, split):
  """Returns the sorted classes, which must be the same in all splits."""
  classes = {
    name: {path.name for path in _folders(folder)}
    for name, folder in splits.items()
  }
  if not classes[split]:
    raise errors.UserError(
      f'{splits[split]} has no folders; each class is a folder of images.'
    )
  for other, names in classes.items():
    # A folder without folders is no split: perhaps images without labels.
    for have, lack in ((other, split), (split, other)) if names else ():
      extra = sorted(classes[have] - classes[lack])
      if extra:
        raise errors.UserError(
          f'Class {extra[0]!r} is in split {have!r} '
          f'({splits[have] / extra[0]}) and not in split {lack!r}; all splits '
          f'must have the same class folders (classes that differ so: '
          f'{len(extra)}).'
        )
  return tuple(sorted(classes[split]))


def _images(folder):
  """Returns the sorted paths of the images of one class."""
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
  return [str(folder / name) for name in images]


def _folders(folder):
  return [
    path
    for path in sorted(folder.iterdir())
    if path.is_dir() and not path.name.startswith('.')
  ]
