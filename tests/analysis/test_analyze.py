"""`vit_jax analyze`: weights and images in, arrays and pictures out."""

import cv2
import jax
import numpy as np
import PIL.Image
import pytest

from vit_jax import models, pytrees
from vit_jax.analysis import attention_distance, rollout
from vit_jax.checkpoints import parameters
from vit_jax.cli import main
from vit_jax.config import recipes, schema
from vit_jax.weights import mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import bit, mixer, vit

TINY = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}


def draw(side, name='ViT-B/16', has_uniform_attention=False, **fields):
  """Returns the fields of a small model, and random parameters for it."""
  config = schema.default()
  config.model.update(name=name, **fields)
  model = models.build(config.model, 3)
  noise = np.random.default_rng(0)
  flat = {
    path: 0.3 * noise.standard_normal(leaf.shape, np.float32)
    for path, leaf in pytrees.flatten(
      models.params_of(model, (side, side))
    ).items()
  }
  if has_uniform_attention:
    for path in flat:
      if '/query/' in path:
        flat[path] = np.zeros_like(flat[path])
  return config, flat


def save(path, rows, side=32, name='ViT-B/16', **fields):
  """Writes a small random model with released names; returns its path."""
  _, flat = draw(side, name, **fields)
  npz.save(path, mapping.to_theirs(flat, rows))
  return path


def save_run(folder, **fields):
  """Writes a small random model as a run does; returns the folder."""
  config, flat = draw(32, **TINY, **fields)
  config.data.resolution, config.data.num_classes = (32,), 3
  recipes.save(config, folder)
  parameters.save(folder, pytrees.unflatten(flat))
  return folder


def write_images(folder, count, shape=(70, 90, 3)):
  folder.mkdir()
  for number in range(count):
    noise = np.random.default_rng(number)
    pixels = noise.integers(0, 256, shape, np.uint8)
    cv2.imwrite(str(folder / f'{number:02}.png'), pixels)
  return folder


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """A folder with weights and, in photos/, three images."""
  folder = tmp_path_factory.mktemp('analyze')
  write_images(folder / 'photos', 3)
  save(folder / 'plain.npz', vit.rows(), **TINY)
  return folder


def run(name, checkpoint, output, *flags):
  return main.main(
    [
      'analyze',
      name,
      f'--checkpoint={checkpoint}',
      f'--output={output}',
      *flags,
    ]
  )


def arrays(path):
  with np.load(path) as file:
    return {name: file[name] for name in file.files}


def size_of(path):
  with PIL.Image.open(path) as picture:
    return picture.size


# Grids of 2 x 3 from weights for 2 x 2; a token of the hybrid spans 32 pixels.
CASES = {
  'class_token': (vit.rows(), 16, 7, {}),
  'average': (vit.rows(), 16, 6, {'pooling': 'average'}),
  'attention': (vit.big_vision_rows(False), 16, 6, {'pooling': 'attention'}),
  'hybrid': (vit.rows(), 32, 7, {'name': 'R+ViT-Ti/16'}),
}


@pytest.mark.parametrize('case', CASES)
def test_uniform_attention_is_seen_as_such_off_the_square(
  case, place, tmp_path, capsys
):
  rows, pixels, num_tokens, fields = CASES[case]
  checkpoint = save(
    tmp_path / 'a.npz',
    rows,
    side=2 * pixels,
    has_uniform_attention=True,
    **TINY,
    **fields,
  )
  resolution = f'--resolution={2 * pixels}x{3 * pixels}'
  photos = f'--input={place / "photos"}'
  assert run('rollout', checkpoint, tmp_path, photos, resolution) == 0
  found = arrays(tmp_path / 'rollout.npz')
  assert found['image'].tolist() == [
    str(place / f'photos/{n:02}.png') for n in range(3)
  ]
  # The class token keeps half of itself in each of two layers.
  share = (1 - (num_tokens - 6) * 0.25) / num_tokens
  np.testing.assert_allclose(
    found['rollout'], np.full((3, 2, 3), share), atol=1e-6
  )

  assert (
    run('attention-distance', checkpoint, tmp_path, photos, resolution) == 0
  )
  found = arrays(tmp_path / 'attention_distance.npz')
  wanted = attention_distance.patch_distances((2, 3), pixels).mean()
  assert found['distance'].shape == (2, 2)
  np.testing.assert_allclose(found['distance'], wanted, rtol=1e-5)
  assert found['uniform'] == pytest.approx(wanted)
  assert found['num_images'] == 3
  lines = capsys.readouterr().out.splitlines()
  assert lines == [
    f'{tmp_path}/{name}.{suffix}'
    for name in ('rollout', 'attention_distance')
    for suffix in ('npz', 'png')
  ]
  for line in lines[1::2]:
    assert min(size_of(line)) > 100


@pytest.mark.parametrize('case', ['class_token', 'hybrid'])
def test_weights_alone_give_position_similarity_and_filters(case, tmp_path):
  rows, pixels, _, fields = CASES[case]
  checkpoint = save(tmp_path / 'a.npz', rows, 2 * pixels, **TINY, **fields)
  resolution = f'--resolution={2 * pixels}x{3 * pixels}'
  assert run('position-similarity', checkpoint, tmp_path, resolution) == 0
  similarity = arrays(tmp_path / 'position_similarity.npz')['similarity']
  assert similarity.shape == (2, 3, 2, 3)
  matrix = similarity.reshape(6, 6)
  np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-6)
  assert matrix.min() < 0.9
  assert run('filters', checkpoint, tmp_path) == 0
  found = arrays(tmp_path / 'filters.npz')
  shape = {'class_token': (7, 16, 16, 3), 'hybrid': (28, 7, 7, 3)}[case]
  assert found['components'].shape == shape
  assert found['shares'].shape == shape[:1]
  for name in 'position_similarity', 'filters':
    assert min(size_of(tmp_path / f'{name}.png')) > 100


def test_embeddings_on_their_own_grid_are_compared_as_they_are(place, tmp_path):
  _, flat = draw(32, **TINY)
  assert run('position-similarity', place / 'plain.npz', tmp_path) == 0
  found = arrays(tmp_path / 'position_similarity.npz')['similarity']
  patches = flat['encoder/position_embedding/embedding'][0, 1:]
  patches /= np.linalg.norm(patches, axis=1, keepdims=True)
  np.testing.assert_allclose(
    found.reshape(4, 4), patches @ patches.T, atol=1e-5
  )


def test_many_images_come_in_batches_and_bad_ones_are_named(
  place, tmp_path, capsys
):
  photos = write_images(tmp_path / 'photos', 11)
  (photos / '04.png').write_bytes(b'no image')
  common = ('attention-distance', place / 'plain.npz')
  assert run(*common, tmp_path / 'all', f'--input={photos}') == 1
  assert f'vit_jax: {photos}/04.png: ' in capsys.readouterr().err
  together = arrays(tmp_path / 'all/attention_distance.npz')
  assert together['num_images'] == 10
  total = 0
  for numbers in range(0, 11, 2), range(1, 11, 2):
    some = ','.join(f'{photos}/{n:02}.png' for n in numbers)
    run(*common, tmp_path / 'some', f'--input={some}')
    found = arrays(tmp_path / 'some/attention_distance.npz')
    total = total + found['distance'] * found['num_images']
  np.testing.assert_allclose(together['distance'], total / 10, rtol=1e-5)


def test_each_image_has_the_map_that_it_has_alone(place, tmp_path):
  common = ('rollout', place / 'plain.npz')
  run(*common, tmp_path / 'all', f'--input={place / "photos"}')
  run(*common, tmp_path / 'one', f'--input={place / "photos/01.png"}')
  together = arrays(tmp_path / 'all/rollout.npz')['rollout']
  (alone,) = arrays(tmp_path / 'one/rollout.npz')['rollout']
  np.testing.assert_allclose(together[1], alone, atol=1e-6)
  assert np.abs(together[0] - alone).max() > 1e-4
  assert ((together.sum((1, 2)) > 0) & (together.sum((1, 2)) < 1)).all()


@pytest.mark.parametrize('name', ['rollout', 'attention-distance'])
def test_the_attention_of_all_layers_is_never_in_memory_at_once(name):
  depth, heads, num_tokens = 8, 4, 65
  config, flat = draw(128, **{**TINY, 'depth': depth, 'num_heads': heads})
  model = models.build(config.model, 3)
  function = {
    'rollout': lambda: rollout.make_flows_of(model),
    'attention-distance': lambda: attention_distance.make_distances_of(
      model, (8, 8), 16
    ),
  }[name]()
  pixels = jax.ShapeDtypeStruct((8, 128, 128, 3), np.float32)
  compiled = function.lower(pytrees.unflatten(flat), pixels).compile()
  memory = compiled.memory_analysis()
  used = memory.temp_size_in_bytes + memory.output_size_in_bytes
  one_layer = 4 * 8 * heads * num_tokens**2
  averaged = depth / heads * one_layer
  assert used < averaged + 5 * one_layer < depth * one_layer


def test_a_run_gives_what_its_weights_give(place, tmp_path):
  workdir = save_run(tmp_path / 'run', scan=False)
  photos = f'--input={place / "photos"}'
  run('rollout', workdir, tmp_path, photos)
  run('rollout', place / 'plain.npz', tmp_path / 'npz', photos)
  np.testing.assert_allclose(
    arrays(tmp_path / 'rollout.npz')['rollout'],
    arrays(tmp_path / 'npz/rollout.npz')['rollout'],
    atol=1e-6,
  )


def test_layers_in_a_loop_are_looked_at_one_by_one(place, tmp_path):
  workdir = save_run(tmp_path / 'run', scan=True)
  photos = f'--input={place / "photos"}'
  assert run('attention-distance', workdir, tmp_path, photos) == 0
  found = arrays(tmp_path / 'attention_distance.npz')['distance']
  assert found.shape == (2, 2)
  assert len(np.unique(found)) == 4


def test_position_embeddings_of_every_layer_are_drawn(tmp_path):
  workdir = save_run(tmp_path / 'run', position_placement='every_layer')
  assert run('position-similarity', workdir, tmp_path) == 0
  first, second = (
    arrays(tmp_path / f'position_similarity_{layer}.npz')['similarity']
    for layer in range(2)
  )
  assert np.abs(first - second).max() > 0.01


def test_sines_and_cosines_know_how_far_apart_two_patches_are(tmp_path):
  workdir = save_run(tmp_path / 'run', position_embedding='sincos_2d')
  assert (
    run('position-similarity', workdir, tmp_path, '--resolution=32x64') == 0
  )
  found = arrays(tmp_path / 'position_similarity.npz')['similarity']
  np.testing.assert_allclose(found[0, 0, :, :3], found[0, 1, :, 1:], atol=1e-6)
  assert found[0, 0, 0, 1] < 0.999


@pytest.mark.parametrize('kind', ['none', 'relative'])
def test_positions_without_embeddings_are_told(kind, tmp_path, capsys):
  placement = {'position_placement': 'shared'} if kind == 'relative' else {}
  workdir = save_run(tmp_path / 'run', position_embedding=kind, **placement)
  assert run('position-similarity', workdir, tmp_path) == 2
  assert (
    f'This ViT-B/16 has no position embeddings (model.position_embedding={kind}'
    in capsys.readouterr().err
  )


MIXER = {'name': 'Mixer-S/16', 'width': 8, 'depth': 1, 'mlp_dim': 12}


@pytest.mark.parametrize(
  ('rows', 'fields', 'kernel'),
  [(mixer.rows(), MIXER, 16), (bit.rows(), {'name': 'BiT-R8x1'}, 7)],
)
def test_models_without_attention_have_filters_and_nothing_else(
  rows, fields, kernel, place, tmp_path, capsys
):
  checkpoint = save(tmp_path / 'a.npz', rows, **fields)
  photos = f'--input={place / "photos"}'
  for name in 'rollout', 'attention-distance':
    assert run(name, checkpoint, tmp_path / 'out', photos) == 2
    assert 'has no attention weights; a plain' in capsys.readouterr().err
  assert run('position-similarity', checkpoint, tmp_path / 'out') == 2
  assert f'This {fields["name"]} has no position' in capsys.readouterr().err
  assert not (tmp_path / 'out').exists()
  assert run('filters', checkpoint, tmp_path / 'out') == 0
  components = arrays(tmp_path / 'out/filters.npz')['components']
  assert components.shape[1:] == (kernel, kernel, 3)


@pytest.mark.parametrize(
  ('name', 'flags', 'message'),
  [
    ('rolout', (), 'Did you mean rollout'),
    ('rollout', (), 'looks at images; say which by --input=IMAGES'),
    ('filters', ('--input=a.png',), 'the weights alone; leave --input out'),
    ('rollout', ('--input={}/none',), 'there is no such file or folder'),
    ('rollout', ('--input={}/bad.png',), 'None of the images could be read'),
    ('position-similarity', ('--resolution=40',), 'not a multiple of the 16'),
    ('filters', ('--output={}/bad.png',), 'can not be a folder: File exists'),
  ],
)
def test_a_mistake_is_told(name, flags, message, place, tmp_path, capsys):
  (tmp_path / 'bad.png').write_bytes(b'no image')
  flags = [flag.format(tmp_path) for flag in flags]
  checkpoint = place / 'plain.npz'
  assert run(name, checkpoint, tmp_path / 'out', *flags) == 2
  assert message in capsys.readouterr().err
