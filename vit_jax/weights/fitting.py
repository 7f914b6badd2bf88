"""Fits released weights to a model, and reports what became of each array.

Every array of the file and of the model is loaded, resized, left as the model
initialised it, or left unused. The last two happen only where they were asked
for; anything unexplained is an error that shows the difference.
"""

import dataclasses
import re

import jax
import numpy as np

from vit_jax import errors, pytrees
from vit_jax.weights import resizing

HEADS = ('keep', 'replace')
CLASS_TOKENS = ('keep', 'add', 'drop')
PATCHES = ('keep', 'resize')

HEAD = ('head', 'head_hidden')  # Modules that are replaced with the head.
_HEAD = re.compile(rf'({"|".join(HEAD)})/.*')
_PATCHES = 'stem/embedding/kernel'


@dataclasses.dataclass(frozen=True)
class Changes:
  """How a model may differ from the weights that it is given."""

  grid: tuple[int, int] | None = None  # Rows, columns of patches in the model
  given_grid: tuple[int, int] | None = None  # and in the file; None: square.
  positions: str = 'corner_aligned'  # How to resize: resizing.METHODS.
  head: str = 'keep'  # replace: as the model initialised it.
  class_token: str = 'keep'  # add: as initialised, at no position; drop.
  patches: str = 'keep'  # resize: the kernel, to the model's patch size.
  fresh: tuple[str, ...] = ()  # Patterns of paths that may stay initialised
  unused: tuple[str, ...] = ()  # and of those in the file that may be left.

  def __post_init__(self):
    errors.choose('positions', self.positions, resizing.METHODS)
    errors.choose('head', self.head, dict.fromkeys(HEADS))
    errors.choose('class_token', self.class_token, dict.fromkeys(CLASS_TOKENS))
    errors.choose('patches', self.patches, dict.fromkeys(PATCHES))
    for pattern in self.fresh + self.unused:
      try:
        re.compile(pattern)
      except re.error as error:
        raise errors.UserError(
          f'{pattern!r} is no pattern of paths: {error}.'
        ) from error

  def may_be_fresh(self, path):
    return (
      (self.head == 'replace' and bool(_HEAD.fullmatch(path)))
      or (self.class_token == 'add' and path == 'class_token')
      or _any_matches(self.fresh, path)
    )

  def may_be_unused(self, path):
    return (
      (self.head != 'keep' and bool(_HEAD.fullmatch(path)))
      or (self.class_token == 'drop' and path == 'class_token')
      or _any_matches(self.unused, path)
    )


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of each array: {path: shape}; of a run, its step."""

  loaded: dict
  resized: dict  # {path: (shape in the file, shape)}
  fresh: dict
  unused: dict
  step: int | None = None

  def __str__(self):
    return '\n'.join(
      f'{len(table)} {name}' + ''.join(f'\n  {line}' for line in lines)
      for name, table, lines in (
        ('loaded', self.loaded, ()),
        ('resized', self.resized, _lines(self.resized)),
        ('fresh (as initialised)', self.fresh, _lines(self.fresh)),
        ('unused', self.unused, _lines(self.unused)),
      )
    )


NONE = Changes()


def plan(given, wanted, changes):
  """Returns the `Report` of what `fit` would do, from shapes alone.

  Args:
    given: {path: array or shape} of the weights.
    wanted: {path: array or shape} of the model.
    changes: a `Changes`.

  Raises:
    UserError: shows every difference that `changes` does not explain.
  """
  given, wanted = _shapes(given), _shapes(wanted)
  report = Report({}, {}, {}, {})
  for path in sorted(given.keys() & wanted.keys()):
    if path.startswith('head/') and changes.head != 'keep':
      continue
    if _has_to_be_resized(path, given, wanted, changes):
      report.resized[path] = (given[path], wanted[path])
    elif given[path] == wanted[path]:
      report.loaded[path] = wanted[path]
  done = report.loaded | report.resized
  report.fresh.update(
    (path, shape)
    for path, shape in wanted.items()
    if path not in done and changes.may_be_fresh(path)
  )
  report.unused.update(
    (path, shape)
    for path, shape in given.items()
    if path not in done and changes.may_be_unused(path)
  )
  _refuse_the_rest(given, wanted, report)
  return report


def fit(given, model_params, changes=NONE):
  """Returns the model's parameters with the given weights in place.

  Args:
    given: a tree of arrays by our paths, nested or flat.
    model_params: the model's parameters as initialised. Their leaves may be
      shapes (`jax.ShapeDtypeStruct`) where none of them stays fresh.
    changes: how the model may differ from the weights.

  Returns:
    (params, report): a nested tree of NumPy arrays in the model's dtypes,
    fresh leaves as they came; and a `Report`.

  Raises:
    UserError: shows every difference that `changes` does not explain.
  """
  given, wanted = pytrees.flatten(given), pytrees.flatten(model_params)
  report = plan(given, wanted, changes)
  fit_leaf = make_fit_leaf(given, wanted, changes, report)
  flat = {path: fit_leaf(path, array) for path, array in given.items()}
  return join(flat, wanted, report), report


def make_fit_leaf(given, wanted, changes, report):
  """Returns fit_leaf(path, array) for one given array after the other.

  It gives the NumPy array that the model takes; None for an unused one.

  Args:
    given: {path: array or shape} of the weights.
    wanted: {path: array or shape} of the model.
    changes: see `fit`.
    report: what `plan` returns for these.
  """
  given, shapes = _shapes(given), _shapes(wanted)

  def fit_leaf(path, array):
    if path in report.unused:
      return None
    if path in report.resized:
      array = _resize(path, array, given, shapes, changes)
    return np.asarray(array, wanted[path].dtype, order='C')

  return fit_leaf


def join(flat, wanted, report):
  """Returns the nested tree of fitted leaves and fresh ones.

  Args:
    flat: {path: what became of it} of the weights.
    wanted: {path: leaf} of the model; those that stay fresh are arrays.
    report: what `plan` returned.
  """
  params = {}
  for path, leaf in wanted.items():
    if path in report.fresh:
      assert not isinstance(leaf, jax.ShapeDtypeStruct), path
    params[path] = leaf if path in report.fresh else flat[path]
  return pytrees.unflatten(params)


def _any_matches(patterns, path):
  return any(re.fullmatch(pattern, path) for pattern in patterns)


def _lines(table):
  return [f'{path} {shape}' for path, shape in sorted(table.items())]


def _has_to_be_resized(path, given, wanted, changes):
  if path == resizing.POSITIONS and given[path][2:] == wanted[path][2:]:
    grids = resizing.find_grids(given, wanted, changes.given_grid, changes.grid)
    return grids is not None
  return (
    path == _PATCHES
    and changes.patches == 'resize'
    and given[path] != wanted[path]
    and given[path][2:] == wanted[path][2:]
  )


def _resize(path, array, given, wanted, changes):
  if path == _PATCHES:
    return resizing.resize_patches(array, wanted[path][:2])
  grids = resizing.find_grids(given, wanted, changes.given_grid, changes.grid)
  return resizing.fit_positions(
    array,
    resizing.num_prefix_tokens(given),
    resizing.num_prefix_tokens(wanted),
    grids,
    changes.positions,
  )


def _shapes(flat):
  return {path: tuple(leaf.shape) for path, leaf in flat.items()}


def _refuse_the_rest(given, wanted, report):
  used = report.loaded | report.resized
  missing = wanted.keys() - used.keys() - report.fresh.keys()
  extra = given.keys() - used.keys() - report.unused.keys()
  lines = pytrees.diff(
    {path: given[path] for path in extra},
    {path: wanted[path] for path in missing},
  )
  if lines:
    text = '\n'.join(lines)
    raise errors.UserError(
      'The weights do not fit the model. Not wanted by the model, missing '
      f'from the file, or of another shape:\n{text}\n'
      'Choose the model that the weights are of: --model=NAME, or, to train '
      'from them, --config.model.name=NAME.'
    )
