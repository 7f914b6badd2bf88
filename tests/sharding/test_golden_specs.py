"""How large models lie on devices does not change unnoticed.

tests/golden/sharding holds the specification of every parameter, by model and
mesh, with all layers in one, as a loop has them. Where it is meant to change,
write it anew, and say why in the commit:

  pytest tests/sharding/test_golden_specs.py --accept
"""

import json
import pathlib
import re

import pytest

from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import rules
from vit_jax.training import assembly
from vit_jax.weights import loading

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden/sharding'
MESHES = {  # For 8 devices.
  'data 8': {},
  'fsdp 8': {'fsdp': 8},
  'fsdp 4 x tensor 2': {'fsdp': 4, 'tensor': 2},
  'data 2 x fsdp 2 x tensor 2': {'fsdp': 2, 'tensor': 2},
}
MODELS = {
  'vit_b16': 'ViT-B/16',
  'r50_vit_l16': 'R50+ViT-L/16',
  'vit_g14': 'ViT-G/14',
}


def shapes_of(name):
  model = schema.default().model
  model.name = name
  return loading.params_of(models.build(model, 1000), (224, 224))


def mesh_of(sizes):
  config = schema.default().mesh
  config.update(sizes)
  return meshes.abstract(config, 8)


def specs(shapes):
  """Returns {mesh: {path: axes, as text}}."""
  return {
    name: {
      path: ' '.join(str(axis or '-') for axis in spec)
      for path, spec in pytrees.flatten(
        rules.specs(shapes, mesh_of(sizes))
      ).items()
    }
    for name, sizes in MESHES.items()
  }


@pytest.mark.parametrize('model', MODELS)
def test_parameters_lie_as_they_did(model, request):
  path = GOLDEN / f'{model}.json'
  found = specs(pytrees.stack(shapes_of(MODELS[model])))
  if request.config.getoption('--accept'):
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + '\n')
  wanted = json.loads(path.read_text())
  assert found.keys() == wanted.keys()
  for mesh in found:
    lines = pytrees.diff(found[mesh], wanted[mesh])
    assert not lines, '\n'.join([f'{model}, {mesh}:', *lines])


@pytest.mark.parametrize('sizes', MESHES.values(), ids=MESHES)
def test_a_layer_lies_alone_as_it_does_in_a_loop(sizes):
  single, mesh = shapes_of('ViT-Ti/16'), mesh_of(sizes)
  in_loop = pytrees.flatten(rules.specs(pytrees.stack(single), mesh))
  for path, spec in pytrees.flatten(rules.specs(single, mesh)).items():
    stacked = re.sub(r'block_\d+', 'blocks', path)
    wanted = (None, *spec) if stacked != path else (*spec,)
    assert tuple(in_loop[stacked]) == wanted, path


@pytest.mark.parametrize('scan', [False, True])
def test_what_mirrors_a_parameter_lies_as_it_does(scan):
  config = schema.default()
  config.model.update(name='ViT-B/16', depth=2, scan=scan)
  config.optimizer.ema_decay = 0.9999
  mesh = mesh_of({'fsdp': 2, 'tensor': 2})
  state = pytrees.flatten(assembly.build(config, 1000, mesh).state)
  params = {path: leaf for path, leaf in state.items() if path[:6] == 'params'}
  for path, leaf in params.items():
    name = path.removeprefix('params/')
    mirrors = [other for other in state if other.endswith(f'/{name}')]
    assert len(mirrors) == 4  # With two moments and the average.
    for other in mirrors:
      assert state[other].sharding == leaf.sharding, other
