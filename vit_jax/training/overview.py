"""The first lines of a run's log: what runs where, and how much work it is."""

import collections
import importlib.metadata
import platform

import jax

import vit_jax
from vit_jax import models
from vit_jax.nn import flop_count
from vit_jax.sharding import accelerators
from vit_jax.training import objectives
from vit_jax.training.runtime import timings

_PACKAGES = ('jax', 'jaxlib', 'flax', 'orbax-checkpoint')


def speed(config, components, num_classes):
  """Returns the `timings.Speed` that a run is measured by.

  Args:
    config: of the run.
    components: the `assembly.Components`.
    num_classes: of the training data.
  """
  devices = components.mesh.devices.flat
  chip = accelerators.of_device(devices[0])
  num_chips = len(devices) / (chip.devices if chip else 1)
  peak = chip and num_chips * chip.peak
  if config.run.peak_flops_per_device is not None:
    peak = len(devices) * config.run.peak_flops_per_device
  return timings.Speed(
    config.run.batch_size,
    num_chips,
    _flops_per_image(config, components, num_classes),
    peak,
  )


def lines(config, components, speed, num_steps, num_examples):
  """Returns a few lines on versions, devices, model and the length of a run.

  Args:
    config, components: see `speed`.
    speed: what `speed` returns.
    num_steps: of the whole training.
    num_examples: of the training data.
  """
  versions = [
    f'{name} {importlib.metadata.version(name)}' for name in _PACKAGES
  ]
  params = jax.tree.leaves(components.state.params)
  size = config.run.batch_size
  epochs = num_steps * size / num_examples
  return [
    f'vit_jax {vit_jax.__version__}, {", ".join(versions)}, '
    f'Python {platform.python_version()}',
    _devices(components.mesh, size),
    f'{config.model.name}: {sum(leaf.size for leaf in params):,} parameters, '
    f'{config.model.dtype}, {_flops(speed)}',
    f'{num_steps:,} steps of {size:,} images ({epochs:.3g} epochs)',
  ]


def _devices(mesh, batch_size):
  devices = mesh.devices.flat
  kinds = collections.Counter(device.device_kind for device in devices)
  listed = ', '.join(f'{count} x {kind}' for kind, count in kinds.items())
  axes = ' x '.join(f'{axis}={size}' for axis, size in mesh.shape.items())
  num_shards = mesh.shape['data'] * mesh.shape['fsdp']
  return (
    f'{listed} ({devices[0].platform}) of {jax.process_count()} process(es); '
    f'mesh {axes}; {batch_size // num_shards:,} images per device'
  )


def _flops(speed):
  if speed.flops_per_image is None:
    return 'FLOPs per step not known (a loop of unknown length)'
  text = f'{speed.batch_size * speed.flops_per_image:.4g} FLOPs per step'
  if speed.peak is None:
    return f'{text}; no MFU: no peak is known (run.peak_flops_per_device)'
  return f'{text}; MFU is of {speed.peak / speed.num_chips:.4g} FLOP/s per chip'


def _flops_per_image(config, components, num_classes):
  """Returns the operations of training on an image, as `vit_jax inspect` does.

  None where they can't be counted.
  """
  model, family = config.model, models.family(config.model.name)
  if family.has_attention:
    model = model.copy_and_resolve_references()
    model.attention = 'xla'  # cuDNN's can't be counted; they are as many.
  objective = objectives.build(
    config.objective, models.build(model, num_classes), num_classes, family
  )
  params = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
    components.state.params,
  )
  try:
    return flop_count.training_flops(
      objective.predict, params, components.one_image()
    )
  except ValueError:
    return None
