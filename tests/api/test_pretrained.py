"""A model in Python: images in, results out, and back to disk."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import vit_jax
from vit_jax import pytrees
from vit_jax.cli import main

TINY = {'width': 16, 'depth': 3, 'num_heads': 2, 'mlp_dim': 32}
NAMES = ('ant', 'bee', 'cow', 'dog')


def noisy(model, scale=0.3):
  """Returns a model whose parameters are all drawn anew, the head's too."""
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: np.float32(scale * rng.standard_normal(leaf.shape)),
    model.params,
  )
  return model.replace(params=params)


@pytest.fixture(scope='module')
def model():
  return noisy(
    vit_jax.create_model('ViT-B/16', class_names=NAMES, image_size=32, **TINY)
  )


@pytest.fixture(scope='module')
def saved(model, tmp_path_factory):
  folder = tmp_path_factory.mktemp('saved') / 'model'
  model.save(folder)
  return folder


def pixels_of(seed, shape=(40, 60, 3)):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_images(folder, count):
  folder.mkdir()
  paths = [folder / f'{i}.png' for i in range(count)]
  for i, path in enumerate(paths):
    Image.fromarray(pixels_of(i, (40 + i, 60, 3))).save(path)
  return paths


def test_it_says_what_it_is_in_a_line(model):
  assert repr(model) == (
    '<Pretrained: ViT-B/16, 19,172 parameters, 4 classes, named, 32 x 32 '
    'pixels, fresh, seed 0>'
  )


def test_images_of_any_kind_give_the_same_pixels(model, tmp_path):
  (path,) = write_images(tmp_path / 'set', 1)
  array = pixels_of(0)
  wanted = model.preprocess(array)
  assert wanted.shape == (1, 32, 32, 3) and wanted.dtype == np.float32
  assert -1 <= wanted.min() < -0.5 and 0.5 < wanted.max() <= 1
  for image in (
    *(path, str(path), path.read_bytes(), Image.open(path)),
    *(Image.fromarray(array), array[None], jnp.asarray(array), [array]),
    Image.fromarray(array).convert('RGBA'),
    (each for each in [path]),
  ):
    np.testing.assert_array_equal(model.preprocess(image), wanted)
  grey = Image.fromarray(array).convert('L')
  np.testing.assert_array_equal(
    model.preprocess([grey, np.asarray(grey), np.asarray(grey)[..., None]]),
    np.repeat(model.preprocess(grey.convert('RGB')), 3, 0),
  )


def test_logits_are_those_of_the_command_line_bit_for_bit(
  model, saved, tmp_path, capsys
):
  paths = write_images(tmp_path / 'set', 10)  # One batch and a part of another.
  logits, features = tmp_path / 'logits.npy', tmp_path / 'features.npy'
  arguments = [f'--checkpoint={saved}', f'--input={tmp_path / "set"}']
  outputs = [f'--logits={logits}', f'--features={features}', '--top=2']
  assert not main.main(['predict', *arguments, *outputs])
  loaded = vit_jax.load(saved)
  np.testing.assert_array_equal(loaded.logits(paths), np.load(logits))
  np.testing.assert_array_equal(loaded.features(paths), np.load(features))
  printed = re.findall(r'  +([\d.]+)%  (\w+)', capsys.readouterr().out)
  found = [pair for row in loaded.predict(paths, top=2) for pair in row]
  assert [(f'{100 * p:.2f}', name) for name, p in found] == printed


def test_predictions_are_the_softmax_of_the_logits(model):
  images = [pixels_of(0), pixels_of(1, (33, 90))]
  wanted = np.asarray(jax.nn.softmax(model.logits(images)))
  for row, probabilities in zip(model.predict(images, top=9), wanted):
    assert {name for name, _ in row} == set(NAMES)
    assert [p for _, p in row] == sorted((p for _, p in row), reverse=True)
    for name, p in row:
      assert p == pytest.approx(probabilities[NAMES.index(name)], rel=1e-5)


def test_what_is_seen_inside_belongs_together(model):
  images = pixels_of(0, (9, 50, 40, 3))
  tokens, maps = model.tokens(images), model.attention(images)
  assert tokens.shape == (9, 5, 16) and maps.shape == (3, 9, 2, 5, 5)
  assert tokens.dtype == maps.dtype == np.float32
  np.testing.assert_allclose(maps.sum(-1), np.ones((3, 9, 2, 5)), rtol=1e-5)
  np.testing.assert_allclose(model.features(images), tokens[:, 0], rtol=1e-5)


def test_a_page_shows_where_it_looks(model, tmp_path):
  page = model.explore(pixels_of(0), tmp_path / 'page.html', layers=(1, 3))
  assert (tmp_path / 'page.html').read_text() == page.text
  assert 'image 0' in page.text and 'ant' in page.text
  with pytest.raises(vit_jax.UserError, match='13 images are too many'):
    model.explore(pixels_of(0, (13, 9, 9, 3)))


def test_it_is_exported(model, tmp_path):
  pytest.importorskip('vit_jax.inference.export')
  told = model.export(tmp_path / 'm.stablehlo')
  assert (tmp_path / 'm.stablehlo').stat().st_size and told
  with pytest.raises(vit_jax.UserError):
    model.export(tmp_path / 'm.stablehlo')


def test_it_passes_through_jit_grad_and_vmap(model):
  x = model.preprocess(pixels_of(0, (2, 50, 40, 3)))
  out = model(x)
  np.testing.assert_allclose(
    jax.jit(lambda m, x: m(x).logits)(model, x), out.logits, rtol=1e-4
  )
  of_each = jax.jit(jax.vmap(lambda image: model(image[None]).logits[0]))(x)
  np.testing.assert_allclose(of_each, out.logits, rtol=1e-4, atol=1e-5)

  def loss(params):
    return model.replace(params=params)(x).logits.sum()

  gradients = jax.jit(jax.grad(loss))(model.params)
  by_model = jax.jit(jax.grad(lambda m: m(x).logits.sum()))(model)
  assert isinstance(by_model, vit_jax.Pretrained)
  np.testing.assert_allclose(gradients['head']['bias'], [2.0] * 4)
  for one, other in zip(*map(jax.tree.leaves, (gradients, by_model))):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_flax_applies_the_module_to_the_parameters(model):
  x = model.preprocess(pixels_of(0))
  out = model.module.apply({'params': model.params}, x, train=False)
  np.testing.assert_array_equal(out.logits, model(x).logits)


def test_what_is_saved_is_loaded(model, saved):
  loaded = vit_jax.load(saved)
  assert loaded.class_names == NAMES and loaded.image_size == (32, 32)
  assert loaded.config.model.depth == 3 and loaded.config.data.num_classes == 4
  for path, leaf in pytrees.flatten(loaded.params).items():
    np.testing.assert_array_equal(leaf, pytrees.flatten(model.params)[path])
  with pytest.raises(vit_jax.UserError, match='is there already'):
    loaded.save(saved)


def test_a_fresh_head_is_for_other_classes_at_another_size(model, saved):
  tuned = vit_jax.load(saved, class_names=('a', 'b', 'c'), image_size=(64, 48))
  assert (tuned.num_classes, tuned.image_size) == (3, (64, 48))
  assert tuned.card.source == {'init': str(saved)}
  ((first, *others),) = tuned.predict(pixels_of(0))
  assert first == ('a', pytest.approx(1 / 3)) and len(others) == 2
  assert tuned.tokens(pixels_of(0)).shape == (1, 1 + 4 * 3, 16)
  bare = vit_jax.load(saved, num_classes=0)
  assert 'head' not in bare.params and bare.num_classes == 0
  np.testing.assert_allclose(
    bare.features(pixels_of(0)), model.features(pixels_of(0)), rtol=1e-6
  )
  with pytest.raises(vit_jax.UserError, match='no head'):
    bare.predict(pixels_of(0))


def test_only_what_is_trainable_moves(saved):
  model = vit_jax.load(saved, num_classes=3)
  mask = vit_jax.trainable(model.params, 'head/.*')
  assert mask == model.freeze('(?!head/).*')
  optimizer = optax.multi_transform(
    {True: optax.sgd(1.0), False: optax.set_to_zero()}, mask
  )
  x = model.preprocess(pixels_of(0))
  gradients = jax.grad(
    lambda params: (
      -jax.nn.log_softmax(model.replace(params=params)(x).logits).ravel()[1]
    )
  )(model.params)
  updates, _ = optimizer.update(gradients, optimizer.init(model.params))
  moved = {path for path, u in pytrees.flatten(updates).items() if np.any(u)}
  assert moved == {'head/kernel', 'head/bias'}


def test_mistakes_are_told_with_what_to_do(model, tmp_path):
  image = pixels_of(0)
  good, bad = tmp_path / 'good.png', tmp_path / 'bad.png'
  Image.fromarray(image).save(good)
  bad.write_bytes(b'no image')
  x = model.preprocess(image)
  for call, told in (
    (lambda: model.predict(image / 255), 'floats is not known'),
    (lambda: model.predict([good, x[0]]), 'image 1: float32'),
    (lambda: model.predict([good, bad]), 'bad.png: Not an image'),
    (lambda: model.predict(tmp_path), 'is a folder'),
    (lambda: model.predict(tmp_path / 'none.png'), 'none.png: '),
    (lambda: model.predict([]), 'no images'),
    (lambda: model.predict(7), 'int is no image'),
    (lambda: model.predict([[image]]), 'image 0: list is no image'),
    (lambda: model.predict(image, top=0), 'top=0'),
    (lambda: model(image[None]), 'preprocess'),
    (lambda: model(x[:, :16]), 'image_size'),
    (lambda: model(x, layers=(4,)), 'no layer 4'),
    (lambda: model.replace(params={'a': 1.0}), 'head/bias.*missing'),
    (lambda: model.replace(class_names=('a',)), '1 class names'),
    (lambda: model.save(tmp_path / 'x', format='torch'), 'torch'),
    (lambda: vit_jax.trainable(model.params, 'haed/.*'), 'matches no param'),
    (lambda: vit_jax.trainable(model.params), 'needs patterns'),
    (lambda: vit_jax.load(tmp_path, num_classes=-1), 'num_classes=-1'),
    (lambda: vit_jax.create_model('ViT-B/16', depht=3), 'model.depth'),
    (lambda: vit_jax.create_model('Vit-B/16'), 'ViT-B/16'),
    (lambda: vit_jax.create_model('ViT-B/16', image_size=40), '32, 48'),
  ):
    with pytest.raises(vit_jax.UserError, match=told):
      call()
