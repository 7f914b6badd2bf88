"""The search takes the first candidate that fits, and says why."""

import types

import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.planning import mesh_search

GB = 10**9
STATE, GRADS = 12 * GB, 4 * GB  # Of the whole model.
ACTIVATIONS = {
  'none': 40 * GB,
  'elementwise': 30 * GB,
  'dots': 20 * GB,
  'full': 4 * GB,
}


def some_config(batch_size=512):
  config = schema.default()
  config.run.batch_size = batch_size
  config.run.num_steps = 20_000
  return config


class Compiler:
  """Counts what it compiles for a budget that it only pretends to have."""

  def __init__(self, capacity):
    self.capacity = capacity
    self.compiled = []

  def state_bytes(self, config):
    return STATE // config.mesh.fsdp

  def make(self, config):
    self.compiled.append(config)
    activations = ACTIVATIONS[config.model.remat]
    activations //= config.optimizer.accumulation_steps
    grads = GRADS // config.mesh.fsdp
    needed = self.state_bytes(config) + grads + activations
    return types.SimpleNamespace(
      config=config,
      needed=needed,
      params_bytes=grads,
      fits=needed <= self.capacity,
    )


def search(capacity, num_devices=64, config=None):
  compiler, config = Compiler(capacity), config or some_config()
  before = config.to_dict()
  plan, candidates = mesh_search.search(
    config, num_devices, capacity, compiler.state_bytes, compiler.make
  )
  assert config.to_dict() == before
  assert [
    one.plan.config for one in candidates if one.plan
  ] == compiler.compiled
  return plan, candidates


@pytest.mark.parametrize(
  ('capacity', 'fsdp', 'remat', 'parts', 'num_compiled'),
  [
    (56, 1, 'none', 1, 1),  # All of it: data parallelism will do.
    (50, 8, 'none', 1, 2),
    (41, 64, 'none', 1, 2),  # That fsdp=8 needs 42 is known without compiling.
    (39, 64, 'elementwise', 1, 2),  # Splitting the state can't be enough.
    (29, 64, 'dots', 1, 3),
    (10, 64, 'full', 1, 4),  # The state alone rules out the first rung.
    (3, 64, 'full', 2, 5),
    (1, 64, 'full', 8, 7),
  ],
)
def test_the_cheapest_that_fits_is_found(
  capacity, fsdp, remat, parts, num_compiled
):
  plan, candidates = search(capacity * GB)
  assert plan.fits
  assert plan.config.mesh.fsdp == fsdp
  assert plan.config.model.remat == remat
  assert plan.config.optimizer.accumulation_steps == parts
  assert sum(one.plan is not None for one in candidates) == num_compiled


def test_what_is_not_compiled_would_not_have_fitted():
  for capacity in (1, 3, 10, 20, 39, 41, 45, 50):
    _, candidates = search(capacity * GB)
    compiler = Compiler(capacity * GB)
    for one in candidates:
      if one.plan is None:
        config = mesh_search._changed(some_config(), one.changes)
        plan = compiler.make(config)
        assert not plan.fits and plan.needed >= one.needed


def test_nothing_fits_where_nothing_can():
  plan, candidates = search(GB // 10)
  assert plan is None
  assert candidates and all(one.plan is None for one in candidates)


def test_parts_of_the_batch_divide_over_the_devices():
  _, candidates = search(GB // 2, config=some_config(batch_size=64 * 6))
  parts = [
    one.changes.get('optimizer.accumulation_steps') for one in candidates
  ]
  assert parts[-1] == 2  # Four do not divide six images.


def test_what_the_recipe_spends_already_stays():
  config = some_config()
  config.model.remat = 'dots'
  config.mesh.tensor = 2
  config.optimizer.accumulation_steps = 2
  search_space = list(mesh_search.search_space(config, 64))
  assert {'model.remat': 'dots'}.items() not in [
    changes.items() for changes in search_space
  ]
  assert [changes['mesh.fsdp'] for changes in search_space[:3]] == [1, 8, 32]
  assert search_space[3]['model.remat'] == 'full'
  assert search_space[4]['optimizer.accumulation_steps'] == 4
  assert config.mesh.fsdp == 1


def test_a_search_needs_a_budget():
  with pytest.raises(errors.UserError, match='give it as v5p:4x4x4 or h100'):
    mesh_search.search(some_config(), 8, None, None, None)
