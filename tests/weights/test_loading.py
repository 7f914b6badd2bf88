"""Weights are found by name, address, file or folder."""

import jax
import numpy as np
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.config import schema
from vit_jax.evaluation import target
from vit_jax.inference import predict
from vit_jax.weights import catalog, convert, loading, mapping, resizing
from vit_jax.weights.files import download, npz
from vit_jax.weights.tables import vit

TINY = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}


def save(path, rows, prefix='', name='ViT-B/16', side=32, **fields):
  """Writes a small random model and returns its parameters, flat."""
  config = schema.default()
  config.model.update(name=name, **TINY, **fields)
  model = models.build(config.model, 5)
  shapes = pytrees.flatten(models.params_of(model, (side, side)))
  rng = np.random.default_rng(0)
  flat = {
    path: 0.3 * rng.standard_normal(leaf.shape, np.float32)
    for path, leaf in shapes.items()
  }
  theirs = mapping.to_theirs(flat, rows)
  npz.save(path, {prefix + name: array for name, array in theirs.items()})
  return flat


@pytest.fixture
def fetched(monkeypatch, tmp_path):
  """Takes the place of downloads: {address: file}; notes what was asked."""
  table, asked = {}, []

  def fetch(address, num_bytes=None):
    asked.append((address, num_bytes))
    return table[address]

  monkeypatch.setattr(download, 'fetch', fetch)
  table['asked'] = asked
  return table


def load(found, **options):
  size = found.image_size
  params, _ = found.load(
    models.params_of(loading.build(found), size),
    loading.changes_to(found, found.model, size),
    **options,
  )
  return pytrees.flatten(params)


def test_a_name_of_the_catalogue_is_fetched(fetched, tmp_path):
  flat = save(
    tmp_path / 'a.npz',
    vit.big_vision_rows(class_token=False),
    'params/img/',
    pooling='attention',
    side=224,
  )
  entry = catalog.get('siglip/en_b16_224')
  fetched[entry.address.removesuffix(':img')] = tmp_path / 'a.npz'
  found = loading.find('siglip/en_b16_224', 'ViT-B/16')
  assert found.entry == entry
  assert found.format == 'big_vision'
  assert found.image_size == (224, 224)
  found.model.update(TINY)
  loaded = load(found)
  for path, array in flat.items():
    np.testing.assert_array_equal(loaded[path], array)


def test_the_size_that_is_expected_is_handed_on(fetched, tmp_path):
  save(tmp_path / 'a.npz', vit.rows(), side=384)
  entry = catalog.get('augreg/B_16-i21k-imagenet2012-384')
  fetched[entry.address] = tmp_path / 'a.npz'
  loading.find(entry.name)
  assert fetched['asked'] == [(entry.address, entry.num_bytes)]


def test_the_best_of_augreg_is_looked_up_in_its_index(fetched, tmp_path):
  file = 'B_16-i1k-300ep-lr_0.001-aug_none-wd_0.1-do_0.0-sd_0.0'
  (tmp_path / 'index.csv').write_text(
    'name,ds,final_val,filename,adapt_ds,adapt_resolution,adapt_final_val,'
    f'adapt_filename\nB_16,i1k,0.7,{file}.npz,pets,384,0.9,'
    f'{file}--cifar100-steps_0k-lr_0.01-res_384.npz\n'
  )
  save(tmp_path / 'a.npz', vit.rows(), side=224)
  fetched['gs://vit_models/augreg/index.csv'] = tmp_path / 'index.csv'
  fetched[f'gs://vit_models/augreg/{file}.npz'] = tmp_path / 'a.npz'
  assert loading.find('augreg/best/B_16-i1k').entry.name == f'augreg/{file}'
  with pytest.raises(errors.UserError, match="'x' is no resolution"):
    loading.find('augreg/best/B_16-i1k-pets-x')


def test_an_address_with_a_digest_and_a_part_is_fetched(fetched, tmp_path):
  save(tmp_path / 'a.npz', vit.rows(), 'img/')
  fetched['https://x.org/a.npz#sha256=0'] = tmp_path / 'a.npz'
  found = loading.find('https://x.org/a.npz:img#sha256=0')
  assert found.path == f'{tmp_path}/a.npz:img'
  assert found.entry is None


def test_a_file_that_exists_comes_before_the_catalogue(
  fetched, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'sam').mkdir()
  save('sam/ViT-B_16', vit.rows())
  assert loading.find('sam/ViT-B_16').entry is None


def test_one_file_for_all_patch_sizes_is_resized_to_those_of_the_model(
  fetched, tmp_path
):
  save(tmp_path / 'a.npz', vit.big_vision_rows(True), name='ViT-B/32', side=224)
  entry = catalog.get('flexivit/b_i1k')
  fetched[entry.address] = tmp_path / 'a.npz'
  found = loading.find('flexivit/b_i1k')
  assert found.image_size == (240, 240)
  found.model.update(TINY)
  model = loading.build(found)
  params, report = found.load(
    models.params_of(model, (240, 240)),
    loading.changes_to(found, found.model, (240, 240)),
  )
  assert set(report.resized) == {
    'stem/embedding/kernel',
    'encoder/position_embedding/embedding',
  }
  assert params['stem']['embedding']['kernel'].shape == (16, 16, 3, 8)
  position = params['encoder']['position_embedding']['embedding']
  assert position.shape == (1, 1 + 15 * 15, 8)


def test_what_is_known_of_a_file_is_told_where_it_is_used(
  fetched, tmp_path, capsys, monkeypatch
):
  save(tmp_path / 'a.npz', vit.rows(), side=32)
  entry = catalog.Entry(
    'sam/odd', 'gs://odd.npz', None, 'google', 32, note='it is odd'
  )
  monkeypatch.setitem(catalog.ENTRIES, 'sam/odd', entry)
  fetched[entry.address] = tmp_path / 'a.npz'
  np.save(tmp_path / 'x.npy', np.zeros((1, 32, 32, 3), np.float32))
  assert predict.run('sam/odd', str(tmp_path / 'x.npy')) == 0
  assert 'sam/odd: it is odd' in capsys.readouterr().err


def test_arrays_are_placed_one_by_one(tmp_path):
  save(tmp_path / 'a.npz', vit.rows())
  found = loading.find(str(tmp_path / 'a.npz'))
  seen = []

  def place(path, array):
    seen.append(path)
    return jax.device_put(array)

  loaded = load(found, place=place)
  assert sorted(seen) == sorted(loaded)
  assert all(isinstance(leaf, jax.Array) for leaf in loaded.values())


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('imagenet21k/ViT-B_17', 'Did you mean'),
    ('nothing.npz', 'is no file, folder or address'),
  ],
)
def test_what_is_nowhere_is_told(name, message):
  with pytest.raises(errors.UserError, match=message):
    loading.find(name)


def test_another_model_than_the_folder_holds_is_told(tmp_path):
  save(tmp_path / 'a.npz', vit.rows())
  convert.run(str(tmp_path / 'a.npz'), str(tmp_path / 'b'), 'orbax')
  with pytest.raises(errors.UserError, match='holds a ViT-B/16; leave --model'):
    loading.find(str(tmp_path / 'b'), 'ViT-S/16')


# Another resolution ----------------------------------------------------------

POSITIONS = 'encoder/position_embedding/embedding'


def enlarged(found):
  """Returns the position embeddings of 2 x 2 patches, for 4 x 4."""
  params, _ = found.load(
    models.params_of(loading.build(found), (64, 64)),
    loading.changes_to(found, found.model, (64, 64)),
  )
  return pytrees.flatten(params)[POSITIONS]


def resized(flat, method):
  patches = flat[POSITIONS][:, 1:]
  return resizing.resize_grid(patches, (2, 2), (4, 4), method)


@pytest.mark.parametrize(
  ('to', 'method'),
  [
    ('google', 'corner_aligned'),
    ('big_vision', 'corner_aligned'),
    ('huggingface', 'bicubic'),
    ('timm', 'bicubic_antialiased'),
    ('orbax', 'corner_aligned'),
  ],
)
def test_positions_are_resized_as_those_of_the_format_do(to, method, tmp_path):
  source, target = tmp_path / 'a.npz', tmp_path / f'{to}.npz'
  if to not in ('google', 'big_vision'):
    target = tmp_path / to
  flat = save(source, vit.rows())
  convert.run(str(source), str(target), to)
  new = enlarged(loading.find(str(target)))[:, 1:]
  np.testing.assert_allclose(new, resized(flat, method), atol=1e-6)


@pytest.mark.parametrize('method', resizing.METHODS)
def test_the_user_may_choose_how_positions_are_resized(method, tmp_path):
  flat = save(tmp_path / 'a.npz', vit.rows())
  found = loading.find(str(tmp_path / 'a.npz'), position_resize=method)
  new = enlarged(found)[:, 1:]
  np.testing.assert_allclose(new, resized(flat, method), atol=1e-6)
  others = set(resizing.METHODS) - {method}
  assert all(abs(new - resized(flat, other)).max() > 1e-3 for other in others)


def test_the_catalogue_knows_who_resized_otherwise(fetched, tmp_path):
  save(tmp_path / 'a.npz', vit.big_vision_rows(True), side=224)
  for name, method in (
    ('deit3/base_224_1k', 'bicubic'),
    (
      'flexivit/vit_b16_i21k_300ep',
      'corner_aligned',
    ),
  ):
    fetched[catalog.get(name).address] = tmp_path / 'a.npz'
    found = loading.find(name)
    changes = loading.changes_to(found, found.model, (384, 384))
    assert changes.positions == method


def test_predict_and_evaluate_hand_on_how_positions_are_resized(tmp_path):
  save(tmp_path / 'a.npz', vit.rows())
  np.save(tmp_path / 'x.npy', np.zeros((1, 64, 64, 3), np.float32))
  logits = []
  for method in None, 'corner_aligned', 'bicubic':
    path = tmp_path / f'{method}.npy'
    predict.run(
      str(tmp_path / 'a.npz'),
      str(tmp_path / 'x.npy'),
      logits_path=str(path),
      position_resize=method,
    )
    logits.append(np.load(path))
  np.testing.assert_array_equal(logits[0], logits[1])
  assert np.abs(logits[0] - logits[2]).max() > 1e-5
  options = target.EvalOptions(position_resize='bicubicle')
  with pytest.raises(errors.UserError, match='Did you mean bicubic'):
    target.of_weights(str(tmp_path / 'a.npz'), None, options)


@pytest.mark.parametrize('name', ['qqqqqqq', '/no/such/folder', 'xyz:best'])
def test_a_mistyped_checkpoint_shows_at_most_five_names(name):
  with pytest.raises(errors.UserError, match='is no file, folder') as raised:
    loading.find(name)
  told = str(raised.value)
  assert sum(known in told for known in catalog.ENTRIES) <= 5
  assert 'vit_jax/weights/catalog/__init__.py' in told


def test_a_mistyped_path_shows_what_is_beside_it(tmp_path):
  (tmp_path / 'flowers_run').mkdir()
  with pytest.raises(errors.UserError, match=f'mean {tmp_path}/flowers_run'):
    loading.find(f'{tmp_path}/flower_run')
