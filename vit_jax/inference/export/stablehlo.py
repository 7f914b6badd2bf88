"""StableHLO by `jax.export`: one file for CPUs, GPUs and TPUs.

The file needs JAX alone: `jax.export.deserialize(data).call(images)`.
"""

import jax
import numpy as np
from jax import export

from vit_jax import files

PACKAGES = ('flatbuffers',)
PLATFORMS = ('cpu', 'cuda', 'tpu')
MAX_BYTES = 2_000_000_000  # Of parameters; FlatBuffers end at 2^31.


def refuse(program):
  """Returns why a program can't be written so, or None."""
  del program
  return None


def save(program, path):
  """Writes the file; the parameters are constants in it."""
  (batch,) = export.symbolic_shape('batch')
  exported = export.export(jax.jit(program.call), platforms=PLATFORMS)(
    program.images(batch)
  )
  with files.saving(path) as file:
    file.write(exported.serialize())


def load(path, program):
  """Returns what the file computes, as a function of arrays."""
  del program
  data = files.read_bytes(path, 2**31)
  call = jax.jit(export.deserialize(bytearray(data)).call)
  return lambda images: np.asarray(call(images))
