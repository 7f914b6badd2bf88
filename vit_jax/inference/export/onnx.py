"""ONNX by jax2onnx, for ONNX Runtime and what else reads ONNX."""

import logging

import jax
import jax.export

from vit_jax import files
from vit_jax.inference.export import program as programs

PACKAGES = ('jax2onnx', 'onnxruntime')
MAX_BYTES = 2_000_000_000  # Of parameters; protocol buffers end at 2^31.


def refuse(program):
  """Returns why a program can't be written so, or None."""
  if program.dtype != 'float32':
    return (
      f'it computes in {program.dtype}, for which ONNX Runtime has no kernels '
      'on CPUs; --dtype=float32 computes in float32'
    )
  return None


def save(program, path):
  """Writes the file; the parameters are constants in it."""
  # It tells of each plugin, also those for packages that are not used here.
  for name in 'jax2onnx', 'onnx_ir':
    logging.getLogger(name).setLevel(logging.CRITICAL)
  import jax2onnx

  (batch,) = jax.export.symbolic_shape('batch')
  model = jax2onnx.to_onnx(
    program.call,
    [program.images(batch)],
    model_name='model',
    input_names=[programs.INPUT],
    output_names=[program.output],
  )
  with files.saving(path) as file:
    file.write(model.SerializeToString())


def load(path, program):
  """Returns what the file computes, as a function of arrays."""
  import onnxruntime

  session = onnxruntime.InferenceSession(
    str(path), providers=['CPUExecutionProvider']
  )
  names = [program.output]
  return lambda images: session.run(names, {programs.INPUT: images})[0]
