"""What timm's names and arguments say is used here, or refused by name."""

import random
import re

import pytest

torch = pytest.importorskip('torch')
timm = pytest.importorskip('timm')

from timm.models import (  # noqa: E402
  deit,
  vision_transformer,
  vision_transformer_hybrid,
)

from vit_jax import errors  # noqa: E402
from vit_jax.weights.torch_config import timm_models  # noqa: E402

MODULES = vision_transformer, deit, vision_transformer_hybrid
ACTIVATIONS = {None: 'erf', 'gelu': 'erf', 'gelu_tanh': 'tanh'}
NUM_DRAWN = 60
# What is drawn: the first of each is what most models have.
ARGUMENTS = {
  'num_heads': (4, 2, 6),
  'act_layer': ('gelu', 'gelu_tanh', 'quick_gelu', 'silu'),
  'global_pool': ('token', 'avg', 'map', 'max', 'avgmax'),
  'class_token': (True, False),
  'fc_norm': (None, True, False),
  'pos_embed': ('learn', 'none'),
  'no_embed_class': (False, True),
  'pre_norm': (False, True),
  'final_norm': (True, False),
  'qkv_bias': (True, False),
  'proj_bias': (True, False),
  'qk_norm': (False, True),
  'init_values': (None, 0.5),
  'reg_tokens': (0, 2),
  'pool_include_prefix': (False, True),
}


def built(monkeypatch):
  """Returns {name: arguments} that timm's functions give to its ViTs."""
  found = {}
  for module in MODULES:
    for name in dir(module):
      if re.fullmatch(r'_create_\w+', name):
        monkeypatch.setattr(
          module, name, lambda variant, *_, **given: (variant, given)
        )
    for name in timm.list_models(module=module.__name__.rpartition('.')[2]):
      _, found[name] = timm.model_entrypoint(name)()
  return found


def test_names_mean_what_timm_makes_of_them(monkeypatch):
  arguments = built(monkeypatch)
  assert len(arguments) > 150
  num_known = 0
  for name, given in arguments.items():
    try:
      found = timm_models.settings(name, {})
    except errors.UserError:
      continue
    act = given.get('act_layer')
    if not (act is None or isinstance(act, str)):
      continue  # A class, of SwiGLU: its arrays tell.
    num_known += 1
    assert found.gelu == ACTIVATIONS[act], name
    assert found.num_heads in (None, given.get('num_heads', 12)), name
  assert num_known > 100


@pytest.fixture
def create(lab):
  def create(arguments):
    size = lab.pixels.shape[1]
    arguments = {'img_size': size, 'embed_dim': 48, 'depth': 1, **arguments}
    model = timm.create_model(
      'vit_tiny_patch16_224', num_classes=11, **arguments
    )
    lab.fill(model)
    folder = lab.folder / 'timm'
    timm.models.save_for_hf(
      model, folder, safe_serialization=True, model_args=arguments
    )
    return model, folder

  return create


@pytest.mark.parametrize('seed', range(NUM_DRAWN))
def test_any_model_of_timm_agrees_or_is_refused(seed, lab, create):
  draw = random.Random(seed)
  changed = draw.sample(sorted(ARGUMENTS), draw.choice((1, 2, 2, 3)))
  arguments = {name: draw.choice(ARGUMENTS[name]) for name in changed}
  try:
    model, folder = create(arguments)
  except (AssertionError, ValueError):
    pytest.skip(f'timm has no such model: {arguments}')
  try:
    ours = lab.ours(folder)
  except errors.UserError as error:
    assert len(str(error)) < 600, str(error)
    return
  lab.assert_same(ours, lab.by_torch(model, lab.pixels))
