"""What is written computes what the model does: the largest difference."""

import cv2
import numpy as np

from vit_jax import errors
from vit_jax.data import batch
from vit_jax.inference import predict

BATCH_SIZES = 1, 7  # The batch of the file is of any size.
# Of the largest magnitude in the output, by the dtype of the computation.
TOLERANCES = {'float32': 1e-4, 'bfloat16': 5e-2}


def difference(call, program, module, params):
  """Returns the largest absolute difference between outputs, and the largest.

  Args:
    call: maps images to what the file makes of them.
    program: the `program.Program` that was written.
    module, params: the model itself.

  Raises:
    UserError: they differ by more than `TOLERANCES`, or are no numbers.
  """
  images = pictures(program.image_size, sum(BATCH_SIZES))
  pixels = np.asarray(batch.to_model_range(images))
  wanted = _wanted(program, *predict.forward(module, params, pixels))
  given = images if program.pixels == 'uint8' else pixels
  parts = np.split(given, np.cumsum(BATCH_SIZES)[:-1])
  found = np.concatenate([call(part) for part in parts])
  assert found.shape == wanted.shape
  largest = float(np.abs(wanted).max())
  differs = float(np.abs(found - wanted).max())
  if not np.isfinite(largest):
    raise errors.UserError(
      'The model itself gives no finite numbers on pictures of noise; nothing '
      'is written.'
    )
  tolerance = TOLERANCES[program.dtype]
  if not differs <= tolerance * largest:
    raise errors.UserError(
      f'What was written differs from the model by {differs:.1e}, its '
      f'{program.output} being up to {largest:.1e}; the tolerance in '
      f'{program.dtype} is {tolerance:g} of that. Nothing is kept; '
      'another format may fit.'
    )
  return differs, len(images)


def _wanted(program, logits, features):
  if program.output == 'features':
    return features
  if program.output == 'logits':
    return logits
  if program.activation == 'sigmoid':
    return 1 / (1 + np.exp(-logits.astype(np.float64)))
  shifted = np.exp(logits - logits.max(-1, keepdims=True))
  return shifted / shifted.sum(-1, keepdims=True)


def pictures(image_size, count):
  """Returns uint8 [count, rows, columns, 3]: noise of all scales, and ramps."""
  rng = np.random.default_rng(0)
  rows, columns = image_size
  made = []
  for index in range(count):
    side = 2 ** (index % 6)  # From one colour over blots to pixels.
    shape = (min(side * side, rows), min(side * side, columns), 3)
    noise = rng.integers(0, 256, shape, np.uint8)
    made.append(cv2.resize(noise, (columns, rows)))
  ramp = np.linspace(0, 255, rows)[:, None] + np.linspace(0, 255, columns)
  made[-1][:] = (ramp / 2).astype(np.uint8)[..., None]
  return np.stack(made)
