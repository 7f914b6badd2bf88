"""SavedModel by orbax-export, for TensorFlow and TensorFlow Serving."""

import os

import jax

from vit_jax.inference.export import program as programs
from vit_jax.inference.export import stablehlo

PACKAGES = ('orbax.export', 'tensorflow')
MAX_BYTES = None  # Of parameters, which are in files of their own.
SIGNATURE = 'serving_default'
LAST = 'saved_model.pb'  # Without it, TensorFlow takes no folder for a model.


def refuse(program):
  """Returns why a program can't be written so, or None."""
  del program
  return None


def save(program, path):
  """Writes the folder; the parameters are variables in it."""
  tensorflow = _tensorflow()
  from orbax import export

  shape = program.images(1).shape
  images = tensorflow.TensorSpec(
    (None, *shape[1:]), program.pixels, name=programs.INPUT
  )
  module = export.JaxModule(
    program.params,
    lambda params, images: {program.output: program.apply(params, images)},
    input_polymorphic_shape='batch, ...',
    jax2tf_kwargs={'native_serialization_platforms': stablehlo.PLATFORMS},
  )
  serving = export.ServingConfig(SIGNATURE, input_signature=[images])
  export.ExportManager(module, [serving]).save(str(path))


def load(path, program):
  """Returns what the folder computes, as a function of arrays."""
  tensorflow = _tensorflow()
  model = tensorflow.saved_model.load(str(path))
  call = model.signatures[SIGNATURE]

  def run(images):
    tensor = tensorflow.constant(jax.device_get(images))
    return call(**{programs.INPUT: tensor})[program.output].numpy()

  run.model = model  # Else its variables are gone.
  return run


def _tensorflow():
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  import tensorflow

  # JAX has the accelerators.
  tensorflow.config.set_visible_devices([], 'GPU')
  return tensorflow
