"""Summary of a run before it starts: its parameters, FLOPs and bytes."""

import jax
import numpy as np

from vit_jax import models, pytrees
from vit_jax.config import overrides
from vit_jax.data import sources
from vit_jax.nn import flop_count
from vit_jax.planning import report
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement, rules
from vit_jax.training import assembly
from vit_jax.training.optim import parameter_groups


def text(config, num_devices, platform):
  """Returns what `vit_jax inspect` prints; allocates no parameter.

  Args:
    config: what `recipes.load` returns.
    num_devices: number of devices that the run would have.
    platform: of the devices, e.g. 'gpu'.

  Raises:
    UserError: the configuration is invalid, or does not fit the devices.
  """
  assembly.validate(config, num_devices)
  mesh = meshes.abstract(config.mesh, num_devices)
  num_classes = sources.num_classes(config.data)
  # On no devices, so without cuDNN, whose FLOPs can't be counted.
  components = assembly.build(config, num_classes, mesh)
  sections = [
    _config(config),
    _attention(config.model, platform),
    _parameters(config, components.state.params),
    _cost(components, mesh),
    '\n'.join(rules.report(components.state.params, mesh)),
  ]
  return '\n\n'.join(filter(None, sections))


def _config(config):
  return '\n'.join(
    f'{name} = {value!r}' for name, value in overrides.flatten(config).items()
  )


def _attention(model, platform):
  """Returns which implementation of attention is used, and why."""
  family = models.family(model.name)
  if not family.has_attention:
    return ''
  choice = family.choose_attention(model, platform)
  reason = f' ({choice.reason})' if choice.reason else ''
  return f'attention is computed by {choice.name}{reason}'


def _parameters(config, params):
  """Returns a table of the parameters, one per line, and their number."""
  decay = parameter_groups.multipliers(
    'optimizer.decay_rules', config.optimizer.decay_rules, params
  )
  trainable = pytrees.flatten(
    parameter_groups.trainable(
      'optimizer.trainable_rules', config.optimizer.trainable_rules, params
    )
  )
  rows = [('parameter', 'shape', 'dtype', 'sharding', 'decay', 'trained')]
  for path, leaf in pytrees.flatten(params).items():
    rows.append(
      (
        path,
        ' x '.join(map(str, leaf.shape)),
        str(leaf.dtype),
        _split(leaf.sharding),
        _decay(decay[path] * config.optimizer.weight_decay),
        'yes' if trainable[path] else 'no',
      )
    )
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  return f'{report.table(rows)}\n{total:,} parameters'


def _decay(rate):
  return 'by layer' if isinstance(rate, np.ndarray) else f'{rate:g}'


def _split(sharding):
  """Returns the axes that actually split a dimension, as in 'fsdp x -'."""
  sizes = sharding.mesh.shape
  axes = (axis if sizes.get(axis, 1) > 1 else '-' for axis in sharding.spec)
  return ' x '.join(axes)


def _cost(components, mesh):
  """Returns FLOPs per image and bytes per device."""
  forward = flop_count.forward_flops(
    components.objective.predict,
    components.state.params,
    components.one_image(),
  )
  params = placement.bytes_per_device(components.state.params)
  optimizer = placement.bytes_per_device(components.state.opt_state)
  rows = [
    ('FLOPs per image, forward', f'{forward:,}'),
    ('FLOPs per image, training', f'{3 * forward:,}'),
    ('devices', f'{mesh.size} ({dict(mesh.shape)})'),
    ('bytes per device, parameters', f'{params:,}'),
    ('bytes per device, optimizer', f'{optimizer:,}'),
    (
      'bytes per device, average',
      f'{placement.bytes_per_device(components.state.ema):,}',
    ),
    ('bytes per device, gradients', f'{params:,}'),
  ]
  note = 'FLOPs are those of matrix products, 2 per multiply-add.'
  return f'{report.table(rows)}\n{note}'
