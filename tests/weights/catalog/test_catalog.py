"""Every released file: its size, its names, there and back again.

No file is at hand. What each must hold follows from its model, by the rows of
its format; that it is the right model, the sizes in the public listings tell.
"""

import dataclasses
import functools
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.config import schema
from vit_jax.weights import catalog, formats, mapping, publishing
from vit_jax.weights.catalog import augreg
from vit_jax.weights.files import npz, weights_file
from vit_jax.weights.tables import bit, mixer, vit

# MiB, as `gsutil ls -lh` prints them. Zip's own headers take up to 0.25.
LISTED = {
  'imagenet21k/R26+ViT-B_32': 450.23,
  'imagenet21k/R50+ViT-B_16': 439.85,
  'imagenet21k/ViT-B_16': 393.69,
  'imagenet21k/ViT-B_32': 400.01,
  'imagenet21k/ViT-B_8': 393.72,
  'imagenet21k+imagenet2012/R50+ViT-B_16': 377.57,
  'imagenet21k+imagenet2012/ViT-B_16': 331.4,
  'imagenet21k+imagenet2012/ViT-B_16-224': 330.29,
  'imagenet21k+imagenet2012/ViT-B_32': 336.89,
  'imagenet21k+imagenet2012/ViT-B_8': 334.78,
  'sam/ViT-B_16': 330.3,
  'sam/ViT-B_32': 336.61,
  'sam/ViT-S_16': 252.57,
  'mixer/imagenet1k/Mixer-B_16': 228.47,
  'mixer/imagenet1k/Mixer-L_16': 794.29,
  'mixer/imagenet21k/Mixer-B_16': 289.61,
  'mixer/imagenet21k/Mixer-L_16': 875.78,
  'mixer/sam/Mixer-B_32': 230.04,
  'mixer/gsam/Mixer-S_16': 70.71,
  'mixer/gsam/Mixer-S_32': 72.91,
  'mixer/gsam/Mixer-S_8': 78.79,
}
# Listed in whole MiB, or in hundredths of a GiB.
LISTED_ROUGHLY = {
  'augreg/Ti_16': (37, 0.5),
  'augreg/S_16': (115, 0.5),
  'augreg/S_32': (118, 0.5),
  'augreg/B_16': (391, 0.5),
  'augreg/B_32': (398, 0.5),
  'augreg/L_16': (1243, 0.7),
  'augreg/R_Ti_16': (40, 0.5),
  'augreg/R26_S_32': (170, 0.5),
  'augreg/R50_L_32': (1337, 0.7),
  'imagenet21k/ViT-L_16': (1.22 * 1024, 6),
  'imagenet21k/ViT-H_14': (2.46 * 1024, 6),
  'imagenet21k/R50+ViT-L_32': (1.31 * 1024, 6),
  'imagenet21k+imagenet2012/ViT-L_16-224': (1.13 * 1024, 6),
}
TOWERS = ('lit/', 'siglip/', 'siglip2/')
SINES = {'pooling': 'average', 'position_embedding': 'sincos_2d'}


def fields_of(name):
  """Returns what the configuration says of a row beside the model's name."""
  family = name.partition('/')[0]
  if family == 'imagenet21k':
    return {'head': 'pre_logits'}
  if family == 'big_vision':
    return {**SINES, 'head': 'pre_logits'}
  return {
    'gsam': {'pooling': 'average'},
    'siglip': {'pooling': 'attention'},
    'siglip2': {'pooling': 'attention'},
  }.get(family, {})


def rows_of(entry):
  if entry.format == 'big_vision':
    return vit.big_vision_rows(fields_of(entry.name).get('pooling') is None)
  if entry.format == 'google':
    linen = entry.name.startswith('big_vision/')
    return vit.rows('linen' if linen else 'pre_linen')
  return {'mixer': mixer.rows, 'bit': bit.rows}[entry.format]()


def shapes_of(entry, **smaller):
  """Returns {our path: shape} of the parameters in a row's file."""
  model, resolution = entry.model, entry.resolution
  if entry.flexible:  # Its kernels have 32 pixels and its grid is 7 x 7.
    model, resolution = f'{entry.model.partition("/")[0]}/32', 224
  fields = fields_of(entry.name) | smaller
  return _shapes(
    model, resolution, entry.num_classes, tuple(sorted(fields.items()))
  )


@functools.cache
def _shapes(name, resolution, num_classes, fields):
  """Two layers are traced; all further ones are as the second.

  How many parameters whole models have, tests/models counts.
  """
  config = schema.default()
  config.model.update(name=name, **dict(fields))
  model = models.build(config.model, num_classes)
  depth = getattr(model, 'depth', 0)  # A ResNet has none.
  if depth > 2:
    model = model.clone(depth=2)
  shapes = pytrees.flatten(models.params_of(model, (resolution, resolution)))
  further = {
    path.replace('block_1', f'block_{layer}', 1): leaf
    for path, leaf in shapes.items()
    for layer in range(2, depth)
    if re.match('(encoder/)?block_1/', path)
  }
  return {**shapes, **further}


def released_shapes(entry):
  rows = rows_of(entry)
  return jax.eval_shape(
    lambda flat: mapping.to_theirs(flat, rows), shapes_of(entry)
  )


class Headers(weights_file.WeightsFile):
  """A file of which there is no more than names and shapes."""

  def __getitem__(self, name):
    raise AssertionError('Names and shapes should do.')

  def close(self):
    pass


@pytest.fixture
def pretend(monkeypatch):
  """Returns pretend(shapes), which opens a file of such arrays."""

  def pretend(shapes):
    headers = {
      name: weights_file.Header(leaf.shape, np.dtype(np.float32))
      for name, leaf in shapes.items()
    }
    monkeypatch.setattr(formats, '_is_zip', lambda path: True)
    monkeypatch.setattr(formats, '_NPZ', lambda path: Headers(path, headers))
    return formats.opened('file.npz')

  return pretend


@pytest.mark.parametrize('name', LISTED)
def test_sizes_are_those_of_the_public_listing(name):
  size = catalog.get(name).num_bytes / 2**20
  assert 0 < LISTED[name] - size < 0.25


@pytest.mark.parametrize('name', LISTED_ROUGHLY)
def test_sizes_agree_where_the_listing_is_rounded(name):
  listed, error = LISTED_ROUGHLY[name]
  assert abs(catalog.get(name).num_bytes / 2**20 - listed) < error


@pytest.mark.parametrize(
  'name', [n for n in catalog.ENTRIES if not n.startswith(TOWERS)]
)
def test_the_parameters_of_every_file_are_counted(name):
  entry = catalog.ENTRIES[name]
  count = sum(leaf.size for leaf in released_shapes(entry).values())
  copies = 3 if name == 'sam/ViT-S_16' else 1
  assert entry.num_parameters == copies * count
  # Without a row in the table, it is counted.
  unlisted = dataclasses.replace(entry, name='')
  assert unlisted.num_parameters == copies * count


@pytest.mark.parametrize('name', catalog.ENTRIES)
def test_every_file_is_recognised_and_goes_back(name, pretend):
  entry = catalog.ENTRIES[name]
  theirs = released_shapes(entry)
  with pretend(theirs) as file:
    shapes = file.shapes()
    assert file.format == entry.format
    rows = file.table
  back = jax.eval_shape(lambda flat: mapping.to_theirs(flat, rows), shapes)
  assert not pytrees.diff(back, theirs)
  found = models.infer_config({p: leaf.shape for p, leaf in shapes.items()})
  assert found.num_classes == entry.num_classes
  fields = {'pooling': 'class_token'} if 'ViT' in entry.model else {}
  fields |= fields_of(name) | {'name': entry.model}
  if entry.flexible:
    fields['name'] = found.fields['name']
  else:
    side = entry.resolution
    assert found.image_size in (None, (side, side))
  assert found.fields == fields


# One of each kind, small enough to be filled with numbers.
KINDS = [
  ('imagenet21k/ViT-B_16', 'google', ''),
  ('imagenet21k+imagenet2012/ViT-B_32', 'google', ''),
  ('sam/ViT-S_16', 'google', 'opt/target/'),
  ('gsam/ViT-B_32', 'google', ''),
  ('augreg/R_Ti_16', 'google', ''),
  ('augreg/R26_S_32', 'google', ''),
  ('mixer/gsam/Mixer-B_16', 'google', ''),
  ('siglip/en_b16_224', 'big_vision', 'params/'),
]
SMALL = {'width': 8, 'depth': 2, 'mlp_dim': 12}


@pytest.mark.parametrize(('name', 'to', 'prefix'), KINDS)
def test_every_array_comes_back_with_the_same_bytes(name, to, prefix, tmp_path):
  entry = catalog.ENTRIES[name]
  heads = {} if 'Mixer' in name else {'num_heads': 2}
  shapes = shapes_of(entry, **SMALL, **heads)
  rng = np.random.default_rng(0)
  theirs = mapping.to_theirs(
    {p: rng.standard_normal(s.shape, np.float32) for p, s in shapes.items()},
    rows_of(entry),
  )
  path = tmp_path / 'released.npz'
  npz.save(path, {prefix + name: array for name, array in theirs.items()})
  params, report = formats.load(path, None, pytrees.unflatten(shapes))
  assert len(report.loaded) == len(theirs)
  back = publishing.translate(pytrees.flatten(params), to, entry.model)
  assert back.keys() == theirs.keys()
  for name, array in theirs.items():
    assert back[name].tobytes() == array.tobytes(), name
    assert back[name].shape == array.shape


def test_bit_comes_back_with_the_same_bytes(tmp_path):
  entry = catalog.ENTRIES['bit/BiT-S-R50x1']
  shapes = shapes_of(entry)
  rng = np.random.default_rng(0)
  flat = {p: rng.random(s.shape, np.float32) for p, s in shapes.items()}
  npz.save(tmp_path / 'a.npz', mapping.to_theirs(flat, bit.rows()))
  params, _ = formats.load(tmp_path / 'a.npz', None, pytrees.unflatten(shapes))
  npz.save(
    tmp_path / 'b.npz',
    publishing.translate(pytrees.flatten(params), 'google', entry.model),
  )
  first, second = (tmp_path / name for name in ('a.npz', 'b.npz'))
  assert first.read_bytes() == second.read_bytes()


# By pattern -------------------------------------------------------------------


def test_files_are_found_by_pattern():
  found = [entry.name for entry in catalog.matching('augreg/*imagenet2012-384')]
  assert found == [
    name
    for name in catalog.ENTRIES
    if name.startswith('augreg/') and name.endswith('imagenet2012-384')
  ]
  assert len(found) > 9
  assert len(catalog.matching()) == len(catalog.ENTRIES)


def test_the_table_has_the_size_of_every_file_that_is_known():
  rows = catalog.table()
  assert [row['name'] for row in rows] == [*catalog.ENTRIES]
  assert {row['name'] for row in rows if row['parameters'] is None} == {
    name
    for name, entry in catalog.ENTRIES.items()
    if entry.address.endswith(':img') and entry.total is None
  }
  (row,) = catalog.table('lit/LiT-B16B')
  assert row['parameters'] == catalog.get('lit/LiT-B16B').total
  (row,) = catalog.table('augreg/B_16')
  assert (row['MB'], row['model']) == (410, 'ViT-B/16')


def test_a_pattern_of_no_file_is_refused_with_one_that_works():
  with pytest.raises(errors.UserError, match=r"'\*deit3\*'"):
    catalog.matching('deit3')


def test_names_are_looked_up_without_jax():
  code = (
    'import sys; from vit_jax.weights import catalog; '
    "catalog.matching('sam/*'); sys.exit('jax' in sys.modules)"
  )
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0


# AugReg -----------------------------------------------------------------------

FILE = 'R26_S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.1-do_0.0-sd_0.0'


def test_any_file_of_augreg_is_known_by_its_name():
  entry = catalog.get(
    f'augreg/{FILE}--oxford_iiit_pet-steps_0k-lr_0.03-res_384'
  )
  assert entry.model == 'R26+ViT-S/32'
  assert (entry.resolution, entry.num_classes) == (384, 37)
  assert entry.address.endswith('-res_384.npz')
  assert catalog.get(f'augreg/{FILE}').num_classes == 21_843


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('augreg/B_99', 'no file of AugReg'),
    (f'augreg/{FILE}--mnist-steps_0k-lr_0.03-res_384', "'mnist' is unknown"),
    ('imagenet21k/ViT-B_17', r'Did you mean .*imagenet21k/ViT-B_16'),
  ],
)
def test_an_unknown_name_is_refused(name, message):
  with pytest.raises(errors.UserError, match=message):
    catalog.get(name)


def index(path):
  def row(model, ds, final, aug, task=None, side=224, adapted=''):
    file = f'{model}-{ds}-300ep-lr_0.001-aug_{aug}-wd_0.1-do_0.0-sd_0.0'
    fine = f'{file}--{task}-steps_10k-lr_0.01-res_{side}'
    return (
      f'{model},{ds},{final},gs://vit_models/augreg/{file}.npz,{task or ""},'
      f'{side},{adapted},{fine}.npz'
    )

  lines = [
    'name,ds,final_val,filename,adapt_ds,adapt_resolution,adapt_final_val,'
    'adapt_filename',
    row('B_16', 'i21k', 0.47, 'none'),
    row('B_16', 'i21k', 0.49, 'medium1'),
    row('B_16', 'i1k', 0.79, 'strong1'),
    row('B_32', 'i21k', 0.99, 'light1'),
    row('B_16', 'i21k', 0.47, 'none', 'cifar100', 224, 0.93),
    row('B_16', 'i21k', 0.47, 'light1', 'cifar100', 384, 0.92),
  ]
  path.write_text('\n'.join(lines) + '\n')
  return path


@pytest.mark.parametrize(
  ('wanted', 'part'),
  [
    ({}, 'B_16-i21k-300ep-lr_0.001-aug_medium1-'),
    ({'data': 'i1k'}, 'B_16-i1k-300ep-lr_0.001-aug_strong1-'),
    ({'task': 'cifar100'}, '-aug_none-wd_0.1-do_0.0-sd_0.0--cifar100-'),
    ({'task': 'cifar100', 'resolution': 384}, '-aug_light1-'),
  ],
)
def test_the_index_picks_what_validates_best(wanted, part, tmp_path):
  entry = augreg.pick(index(tmp_path / 'index.csv'), 'B_16', **wanted)
  assert part in entry.address
  assert entry.model == 'ViT-B/16'


def test_an_index_without_a_fitting_row_is_told(tmp_path):
  path = index(tmp_path / 'index.csv')
  with pytest.raises(errors.UserError, match='has no L_16 trained on i21k'):
    augreg.pick(path, 'L_16')
  path.write_text('name,ds\nB_16,i21k\n')
  with pytest.raises(errors.UserError, match=r"is not AugReg's index\.csv"):
    augreg.pick(path, 'B_16')
