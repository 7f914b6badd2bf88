"""Mean and standard deviation become part of the first layer, and leave it."""

import json

import jax
import numpy as np
import pytest

from vit_jax import errors, pytrees
from vit_jax.weights import (
  formats,
  loading,
  mapping,
  normalization,
  preprocessing,
)
from vit_jax.weights.files import safetensors
from vit_jax.weights.tables import mixer, vit

IMAGENET = preprocessing.Preprocessing(
  mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
BYTES = preprocessing.Preprocessing(mean=(0.0,) * 3, std=(1 / 255,) * 3)


def make_stem(side=4, width=5):
  rng = np.random.default_rng(0)
  return {
    normalization.KERNEL: rng.standard_normal((side, side, 3, width)),
    normalization.BIAS: rng.standard_normal(width),
  }


def apply(stem, pixels):
  kernel, bias = (stem[path] for path in normalization.STEM)
  return np.einsum('rcp,rcpw->w', pixels, kernel) + bias


@pytest.mark.parametrize('prepared', [IMAGENET, BYTES])
def test_a_folded_stem_gives_the_same(prepared):
  stem = make_stem()
  pixels = np.random.default_rng(1).uniform(0, 1, (4, 4, 3))
  theirs = apply(stem, (pixels - prepared.mean) / prepared.std)
  ours = apply(normalization.fold(stem, prepared), 2 * pixels - 1)
  np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize('prepared', [IMAGENET, BYTES])
def test_what_is_folded_unfolds_to_a_unit_in_the_last_place(prepared):
  stem = {path: x.astype(np.float32) for path, x in make_stem().items()}
  folded = {
    path: array.astype(np.float32)
    for path, array in normalization.fold(stem, prepared).items()
  }
  back = normalization.unfold(folded, prepared)
  kernel, bias = normalization.STEM
  np.testing.assert_array_almost_equal_nulp(back[kernel], stem[kernel], 1)
  # The bias is a difference of numbers as large as what all pixels give.
  scale = np.abs(folded[bias]).max()
  np.testing.assert_allclose(back[bias], stem[bias], atol=2e-7 * scale)


def test_pixels_as_ours_change_no_bit():
  stem = make_stem()
  assert not normalization.needed(preprocessing.AS_RELEASED)
  assert normalization.unfold(stem, preprocessing.AS_RELEASED) is stem
  for path, array in normalization.fold(
    stem, preprocessing.AS_RELEASED
  ).items():
    np.testing.assert_array_equal(array, stem[path])


@pytest.mark.parametrize(
  ('name', 'fields', 'rows'),
  [
    ('ViT-B/16', {}, vit.timm_rows()),
    ('Mixer-S/16', {'num_heads': None}, mixer.timm_rows()),
  ],
)
def test_a_file_is_folded_as_it_is_read(name, fields, rows, zoo, tmp_path):
  model = zoo.small(name=name, **fields)
  flat = zoo.params(model, 32)
  path = tmp_path / 'model.safetensors'
  safetensors.save(path, mapping.to_theirs(flat, rows), {'format': 'pt'})
  shapes = {p: jax.ShapeDtypeStruct(a.shape, a.dtype) for p, a in flat.items()}
  placed = []

  def place(path, array):
    placed.append(path)
    return array

  params, report = formats.load(
    path, 'timm', pytrees.unflatten(shapes), place=place, prepared=IMAGENET
  )
  given = pytrees.flatten(params)
  assert sorted(placed) == sorted(flat) == sorted(report.loaded)
  stem = {path: flat[path] for path in normalization.STEM}
  for path, array in (flat | normalization.fold(stem, IMAGENET)).items():
    np.testing.assert_array_equal(
      given[path], array.astype(np.float32), err_msg=path
    )


def test_a_padded_stem_is_refused(tmp_path, zoo):
  size = {'width': 8, 'depth': 1, 'num_heads': 2, 'mlp_dim': 12}
  flat = zoo.params(zoo.build('R+ViT-Ti/16', **size), 32)
  theirs = mapping.to_theirs(flat, vit.timm_rows(vit.BACKBONE))
  path = tmp_path / 'model.safetensors'
  safetensors.save(path, theirs, {'format': 'pt'})
  config = {
    'model_args': {'num_heads': 2},
    'pretrained_cfg': {'mean': [0.485, 0.456, 0.406]},
  }
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(errors.UserError, match='pads images and standardizes'):
    loading.find(str(tmp_path))
  config['pretrained_cfg'] = {'mean': [0.5] * 3, 'std': [0.5] * 3}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  assert loading.find(str(tmp_path)).model.name == 'R+ViT-Ti/16'
