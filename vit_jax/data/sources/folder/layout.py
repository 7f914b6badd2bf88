"""Where the splits of a data set lie, and by which names they are found.

A split is a folder of class folders, a folder of images without labels, or a
list (`label_file`). Where there are only class folders, there is one split of
all images, `train`. A data set without a split to evaluate on has a fifth of
the images of `train` held out for it, chosen by the hash of their names: where
an image belongs does not depend on the others.
"""

import dataclasses
import os
from typing import NamedTuple

from vit_jax import errors
from vit_jax.data import image_files, names
from vit_jax.data.sources import slices
from vit_jax.data.sources.folder import class_list, label_file

# Names of a split that mean the same, and what may stand in for each other.
_TRAIN = ('train', 'training')
_VALIDATION = ('validation', 'valid', 'val', 'dev', 'eval')
_TEST = ('test', 'testing')
_MEANINGS = {
  **dict.fromkeys(_TRAIN, (_TRAIN,)),
  **dict.fromkeys(_VALIDATION, (_VALIDATION, _TEST)),
  **dict.fromkeys(_TEST, (_TEST, _VALIDATION)),
}

# Behind the name of the training split: it without what is held out of it.
HELD_IN = '-held_in'
_HELD_OUT = 1 / 5  # Of the images of a data set without splits.


class Split(NamedTuple):
  """A split on the disk.

  Attributes:
    name: of its folder or list; '' where the data set has no splits.
    path: of the same.
    is_list: whether it is a list.
    rival: path of another list of the same name, or None.
  """

  name: str
  path: os.PathLike
  is_list: bool = False
  rival: os.PathLike | None = None

  def folders(self):
    """Returns the names of the folders of classes, sorted.

    Raises:
      UserError: it can't be read.
    """
    found = [] if self.is_list else image_files.entries(self.path).folders
    if self.name:
      return found
    return [name for name in found if image_files.has_any(self.path / name)]


class Part(NamedTuple):
  """What a name of a split stands for.

  Attributes:
    split: the `Split`.
    share: 'all' of it, the 'held_out' images, or the 'rest'.
    note: a line for the user, or ''.
  """

  split: Split
  share: str
  note: str


@dataclasses.dataclass(frozen=True)
class Layout:
  """The splits of a data set.

  Attributes:
    root: folder of the data set.
    splits: {name: Split}; of the only name '' where it has none.
    holds_out: whether images of `train` are held out.
  """

  root: os.PathLike
  splits: dict
  holds_out: bool = False

  def part(self, name):
    """Returns the `Part` that a name stands for.

    Raises:
      UserError: there is no such split, or there are several.
    """
    training = self._training()
    if name.endswith(HELD_IN) and self.find(name) is None:
      split = self.find(name.removesuffix(HELD_IN))
      if split is not None and split == training:
        return Part(split, 'rest', '')
    split = self.find(name)
    if split is None and self.holds_out and is_evaluated(name):
      note = (
        f'{names.shown(self.root)} has no split {name!r}: a fifth of its '
        'images, chosen by their names, is held out for it'
      )
      return Part(training, 'held_out', note)
    if split is None:
      raise self._missing(name)
    note = ''
    if split.name not in ('', name):
      note = f'split {name!r}: {names.shown(split.path)} is taken for it'
    share = 'rest' if self.holds_out and split == training else 'all'
    return Part(split, share, note)

  def must_hold_out(self, wanted):
    """Returns whether one of the names is of a split that is not there."""
    return self._training() is not None and any(
      (is_evaluated(name) or name.endswith(HELD_IN)) and self.find(name) is None
      for name in wanted
    )

  def usual(self):
    """Returns the splits with usual names, that of training first."""
    found = [split for name, split in self.splits.items() if _means(name)]
    return sorted(found, key=lambda split: (split != self._training(), split))

  def find(self, name):
    """Returns the `Split` of a name, or of one that means the same, or None.

    Raises:
      UserError: several mean the same.
    """
    if name in self.splits:
      return self.splits[name]
    if '' in self.splits:
      return self.splits[''] if _means(name) == (_TRAIN,) else None
    for meaning in ((name.casefold(),), *_means(name)):
      found = [s for n, s in self.splits.items() if n.casefold() in meaning]
      if len(found) > 1:
        raise errors.UserError(
          f'{names.shown(self.root)} has no split {name!r}, and '
          f'{" and ".join(names.shown(each.name) for each in found)} may be '
          'meant; give one of them as data.train_split or data.eval_split.'
        )
      if found:
        return found[0]
    return None

  def _training(self):
    return self.find('train')

  def _missing(self, name):
    known = sorted(names.shown(each) for each in self.splits)
    hint = errors.nearest(name, known) if known else 'It has no folders.'
    if known == ['']:
      hint = "It has no splits: 'train' is all of it, and train[:80%] a slice."
    return errors.UserError(
      f'{names.shown(self.root)} has no split {name!r}, that is no folder or '
      f'list of that name. {hint}'
    )


def is_evaluated(name):
  """Returns whether a name is one of the usual ones of a held-out split."""
  return len(_means(name)) > 1


def find(root, wanted, asked=(), listed=None):
  """Returns the `Layout` of a data set.

  Args:
    root: folder of the data set.
    wanted: names of the splits to train and to evaluate on.
    asked: names of others; a folder of any of these names is a split.
    listed: the names in classes.txt, or None.

  Raises:
    UserError: the folders may be splits or classes, or can't be read.
  """
  inside = image_files.entries(root)
  splits = {name: Split(name, root / name) for name in inside.folders}
  for name in inside.files:
    path = root / name
    if path.suffix.lower() in label_file.SUFFIXES:
      rival = splits.get(path.stem)
      rival = rival.path if rival and rival.is_list else None
      splits[path.stem] = Split(path.stem, path, True, rival)
  known = {names.key(name) for name in listed or ()}
  are_listed = known.issuperset(map(names.key, inside.folders)) and not all(
    map(_means, inside.folders)  # One may learn to tell trains from cars.
  )
  is_named = any(_means(name) or name in (*wanted, *asked) for name in splits)
  if are_listed or (not is_named and _are_classes(root, inside.folders, known)):
    splits = {'': Split('', root)}
  layout = Layout(root, splits)
  return dataclasses.replace(layout, holds_out=layout.must_hold_out(wanted))


def share(part, paths, labels):
  """Returns the indices of the images of a `Part`, in increasing order.

  Every class keeps an image to train on.

  Args:
    part: the `Part`.
    paths: of all images of its split, within the data set.
    labels: their class indices.

  Raises:
    UserError: none can be held out.
  """
  if part.share == 'all':
    return range(len(paths))
  drawn = [slices.fraction(names.key(path)) for path in paths]
  last = {}  # {class: its image that would be the last to be held out}
  for i, label in enumerate(labels):
    if label not in last or drawn[i] > drawn[last[label]]:
      last[label] = i
  others = set(range(len(paths))) - set(last.values())
  away = {i for i in others if drawn[i] < _HELD_OUT}
  if others and not away:
    away = {min(others, key=drawn.__getitem__)}
  if part.share == 'rest':
    return [i for i in range(len(paths)) if i not in away]
  if not away:
    raise errors.UserError(
      f'{names.shown(part.split.path)} has one image of each class, and so '
      'none to hold out; data.eval_split=train evaluates on the same.'
    )
  return sorted(away)


def _means(name):
  """Returns the groups of names that may be meant, the likeliest first."""
  return _MEANINGS.get(name.casefold(), ())


def _are_classes(root, folders, known):
  """Returns whether the folders of a data set are classes, and not splits.

  Args:
    root: of the data set.
    folders: their names.
    known: keys of the classes in classes.txt.

  Raises:
    UserError: they may be either.
  """
  inside = {name: image_files.entries(root / name) for name in folders}
  below = {name for each in inside.values() for name in each.folders}
  if not known.isdisjoint(map(names.key, folders)):
    return True
  if not known.isdisjoint(map(names.key, below)):
    return False
  if any(
    image_files.is_image(root / name / file)
    for name in folders
    for file in inside[name].files
  ):
    return True
  if not below:
    return False
  first = folders[0]
  if len(folders) == 1:
    raise errors.UserError(
      f'{names.shown(root)} holds only the folder {names.shown(first)!r}; is '
      f'data.dataset={names.shown(root / first)} meant?'
    )
  raise errors.UserError(
    f'{names.shown(root)}: are {names.quoted(folders, 3)} splits or classes? '
    f'They hold no images but folders ({names.quoted(sorted(below), 3)}). '
    'Call the splits train and validation or name them as data.train_split '
    f'and data.eval_split, or list the classes in {class_list.FILE}.'
  )
