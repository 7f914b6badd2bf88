"""Mean and standard deviation of pixels, as part of the kernel that reads them.

Released weights take (x - mean) / std of pixels x in [0, 1]; the models here
take y = 2 x - 1. What theirs take is a y + c, with a = 1 / (2 std) and
c = (1 / 2 - mean) / std for each channel. A kernel K and a bias b give the same
with a K and b + sum(c K): exactly, where no pixel is padded and nothing is done
to the kernel before it is used.
"""

import numpy as np

from vit_jax import errors

STEM = KERNEL, BIAS = 'stem/embedding/kernel', 'stem/embedding/bias'
# Of hybrids and BiT: padded with zeros, and standardized before it is used.
_ROOTS = ('stem/root_conv/kernel', 'root_conv/kernel')


def needed(preprocessing):
  """Returns whether weights take other pixels than the models here."""
  return {*preprocessing.mean, *preprocessing.std} != {0.5}


def check(path, paths, preprocessing):
  """Refuses what can not be folded.

  Args:
    path: of the file.
    paths: of the parameters, ours.
    preprocessing: a `preprocessing.Preprocessing`.

  Raises:
    UserError: the first layer of the model takes nothing but [-1, 1].
  """
  if needed(preprocessing) and any(root in paths for root in _ROOTS):
    raise errors.UserError(
      f'{path} wants pixels with the mean {list(preprocessing.mean)} and the '
      f'standard deviation {list(preprocessing.std)}. Its first convolution '
      'pads images and standardizes its kernel, so they can not become part '
      'of it: of hybrids and BiT, only weights with 0.5 and 0.5, such as those '
      'of Google, can be used.'
    )


def fold(stem, preprocessing):
  """Returns parameters that take pixels in [-1, 1].

  Args:
    stem: {path: array} of `STEM`: [rows, columns, 3, width] and [width]; or {}.
    preprocessing: what the given ones take.

  Returns:
    {path: float64 array} of the same.
  """
  if not stem:
    return {}
  a, c = _coefficients(preprocessing)
  kernel, bias = (np.asarray(stem[path], np.float64) for path in STEM)
  return {KERNEL: a * kernel, BIAS: bias + (c * kernel).sum((0, 1, 2))}


def unfold(flat, preprocessing):
  """Returns {path: array} whose stem takes other pixels; undoes `fold`.

  Args:
    flat: {path: array} of a model, which takes pixels in [-1, 1].
    preprocessing: what the returned ones take.
  """
  if not needed(preprocessing) or KERNEL not in flat:
    return flat
  a, c = _coefficients(preprocessing)
  kernel, bias = (np.asarray(flat[path], np.float64) for path in STEM)
  kernel = kernel / a
  stem = {KERNEL: kernel, BIAS: bias - (c * kernel).sum((0, 1, 2))}
  return flat | {
    path: array.astype(flat[path].dtype) for path, array in stem.items()
  }


def _coefficients(preprocessing):
  """Returns a and c, each [3, 1], which multiply [rows, columns, 3, width]."""
  mean = np.array(preprocessing.mean)[:, None]
  std = np.array(preprocessing.std)[:, None]
  return 0.5 / std, (0.5 - mean) / std
