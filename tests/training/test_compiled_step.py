"""The compiled training step does no more work, and sends no more, than it did.

tests/golden/compiled_step.json holds what XLA says of it, for a version of
jaxlib. A rise of over 1 % fails. Where it is meant, accept it, in the commit
that causes it and with the reason in its message:

  pytest tests/training/test_compiled_step.py --accept
"""

import json
import pathlib
import platform

import jax
import jaxlib
import pytest

from benchmarks import expected_traffic
from vit_jax.config import schema
from vit_jax.planning import collectives, compiled_cost
from vit_jax.sharding import mesh as meshes
from vit_jax.training import assembly

pytestmark = pytest.mark.usefixtures('optimized')

BASELINE = pathlib.Path(__file__).parents[1] / 'golden/compiled_step.json'
VERSION = f'jaxlib {jaxlib.__version__}, {platform.machine()}'
RISE = 1.01

DEPTH, WIDTH, TOKENS, BATCH = 1, 32, 17, 16
CASES = {
  'one device': {},
  'data=8': {'mesh.data': 8},
  'fsdp=8': {'mesh.fsdp': 8},
  'data=4 tensor=2': {'mesh.tensor': 2},
  'fsdp=8, in a loop': {
    'mesh.fsdp': 8,
    'model.scan': True,
    'model.remat': 'full',
  },
}


def some_config(changes):
  config = schema.default()
  config.model.name = 'ViT-Ti/8'
  config.model.update({'width': WIDTH, 'depth': DEPTH, 'num_heads': 4})
  config.model.update({'mlp_dim': 64, 'dropout': 0.1})
  config.data.resolution = (32,)
  config.optimizer.clip_norm = 1.0
  config.run.batch_size = BATCH
  config.run.num_steps = 20_000
  for field, value in changes.items():
    group, name = field.split('.')
    config[group][name] = value
  return config


@pytest.fixture(scope='module', params=CASES)
def case(request):
  """A name, the components of a run and its compiled step."""
  config = some_config(CASES[request.param])
  num_devices = 1 if request.param == 'one device' else 8
  mesh = meshes.build(config.mesh, jax.devices()[:num_devices])
  components = assembly.build(config, 40, mesh)
  return (
    request.param,
    components,
    components.lower_train_step(config.run).compile(),
  )


def test_no_figure_has_risen(case, request):
  name, _, compiled = case
  found = compiled_cost.figures(compiled)
  baselines = json.loads(BASELINE.read_text())
  if request.config.getoption('--accept'):
    baselines.setdefault(VERSION, {})[name] = found
    text = json.dumps(baselines, indent=2, sort_keys=True)
    BASELINE.write_text(text + '\n')
  if VERSION not in baselines:
    pytest.skip(f'{BASELINE.name} knows nothing of {VERSION}; --accept adds it')
  risen = [
    f'{figure}: {baselines[VERSION][name][figure]:,} -> {value:,}'
    for figure, value in found.items()
    if value > RISE * baselines[VERSION][name][figure]
  ]
  assert not risen, (
    f'The step of {name!r} costs more: {"; ".join(risen)}. If that is meant, '
    f'run pytest {pathlib.Path(__file__).name} --accept, commit {BASELINE} and '
    'say why.'
  )


def expected(components, in_loop):
  """Returns {kind: bytes} from the shapes alone."""
  sent = expected_traffic.of_parameters(
    components.state.params, layer_gathers=2 if in_loop else 1
  )
  sums = expected_traffic.of_tensor_parallelism(
    (BATCH, TOKENS, WIDTH),
    DEPTH,
    components.mesh.shape,
    # XLA for CPU sums the gradients of queries, keys and values one by one.
    num_sums=6,
  )
  sent['all-reduce'] = sent.get('all-reduce', 0) + sums
  return {kind: num_bytes for kind, num_bytes in sent.items() if num_bytes}


def test_what_is_sent_is_what_must_be_sent(case):
  name, components, compiled = case
  found = {}
  for (kind, _), one in collectives.traffic(compiled.as_text()).items():
    found[kind] = found.get(kind, 0) + one.num_bytes
  # Norms, losses and whether all is well are numbers of four bytes.
  allowed = {'rel': 0.001, 'abs': 400 if components.mesh.size > 1 else 0}
  assert found == pytest.approx(expected(components, 'loop' in name), **allowed)
