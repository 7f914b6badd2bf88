"""What a run says first, against what other modules count."""

import dataclasses
import types

import jax
import pytest

from vit_jax.config import schema
from vit_jax.planning import inspection
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly, overview
from vit_jax.training.runtime import timings


def make(**changes):
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 32, 'depth': 2, 'num_heads': 4})
  config.data.source = 'synthetic'
  config.data.update({'num_classes': 10, 'resolution': (8,)})
  config.run.batch_size = 16
  config.run.num_steps = 40
  config.optimizer.warmup_steps = 0
  for field, value in changes.items():
    group, name = field.split('__')
    config[group][name] = value
  mesh = meshes.build(config.mesh, jax.devices())
  return config, assembly.build(config, 10, mesh, 40)


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'objective__name': 'masked_patches', 'model__pooling': 'average'},
    {'model__name': 'Mixer-S/4', 'model__num_heads': None, 'mesh__fsdp': 2},
  ],
)
def test_flops_are_those_that_inspect_prints(changes):
  config, components = make(**changes)
  found = overview.speed(config, components, 10)
  row = f'FLOPs per image, training {found.flops_per_image:,}'
  told = ' '.join(inspection.text(config, 8, 'cpu').split())
  assert row in told


@pytest.mark.parametrize(
  ('kind', 'stated', 'num_chips', 'peak'),
  [
    ('cpu', None, 8, None),
    ('cpu', 1e12, 8, 8e12),
    ('TPU v3', None, 4, 4 * 123e12),  # Two devices on each chip.
    ('NVIDIA H200', None, 8, 8 * 989e12),
    ('NVIDIA H200', 2e15, 8, 16e15),
  ],
)
def test_the_peak_is_that_of_the_chips_or_as_stated(
  kind, stated, num_chips, peak
):
  config, components = make(run__peak_flops_per_device=stated)
  grid = components.mesh.devices
  devices = grid.copy()
  devices.flat = [types.SimpleNamespace(device_kind=kind)] * 8
  mesh = types.SimpleNamespace(devices=devices)
  pretended = dataclasses.replace(components, mesh=mesh)
  found = overview.speed(config, pretended, 10)
  assert (found.num_chips, found.peak) == (num_chips, peak)


def test_the_first_lines_say_what_runs_where():
  config, components = make(mesh__fsdp=2)
  speed = timings.Speed(16, 8, 1e6, 8e12)
  versions, devices, model, length = overview.lines(
    config, components, speed, 40, 320
  )
  assert f'jax {jax.__version__}' in versions and 'Python 3.' in versions
  assert devices == (
    '8 x cpu (cpu) of 1 process(es); mesh data=4 x fsdp=2 x tensor=1; '
    '2 images per device'
  )
  count = sum(leaf.size for leaf in jax.tree.leaves(components.state.params))
  assert model == (
    f'ViT-Ti/4: {count:,} parameters, float32, 1.6e+07 FLOPs per step; '
    'MFU is of 1e+12 FLOP/s per chip'
  )
  assert length == '40 steps of 16 images (2 epochs)'


def test_what_is_not_known_is_said():
  config, components = make()
  speed = timings.Speed(16, 8, 1e6, None)
  text = '\n'.join(overview.lines(config, components, speed, 40, 320))
  assert 'no peak is known (run.peak_flops_per_device)' in text
  speed = timings.Speed(16, 8, None, 1e12)
  text = '\n'.join(overview.lines(config, components, speed, 40, 320))
  assert 'FLOPs per step not known' in text
