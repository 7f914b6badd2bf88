"""`import vit_jax` takes no time; its names are there, and known to editors."""

import subprocess
import sys

import pytest

import vit_jax

SLOW = ('jax', 'numpy', 'flax', 'tensorflow', 'PIL', 'ml_collections')
SCRIPT = f"""
import sys, time
start = time.process_time()
import vit_jax
print(time.process_time() - start)
print([name for name in sys.modules if name.partition('.')[0] in {SLOW}])
print([name for name in sys.modules if name.startswith('vit_jax.')])
"""


def test_the_import_is_instant():
  out = subprocess.run(
    [sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=True
  )
  seconds, *imported = out.stdout.splitlines()
  print(f'import vit_jax takes {float(seconds):.3f} s of CPU')
  assert imported == ['[]', '[]']


def test_all_names_are_there_once_asked_for():
  assert set(vit_jax.__all__) == set(vit_jax._PUBLIC)
  assert set(vit_jax.__all__) <= set(dir(vit_jax))
  for name in vit_jax.__all__:
    assert getattr(vit_jax, name).__doc__, name


def test_an_unknown_name_is_told_with_those_there_are():
  with pytest.raises(AttributeError, match=r"'lod'.* load,"):
    vit_jax.lod()


def test_models_and_weights_are_listed():
  assert 'ViT-S/16' in vit_jax.list_models('ViT-*/16')
  assert len(vit_jax.list_models()) > len(vit_jax.list_models('*Mixer*')) > 1
  found = vit_jax.list_checkpoints('augreg/B_32-i21k*384')
  (row,) = found
  assert (row.model, row.resolution, row.num_classes) == ('ViT-B/32', 384, 1000)
  head, line = repr(found).splitlines()
  assert head.split() == [
    'name',
    'model',
    'MB',
    'pixels',
    'classes',
    'accuracy',
  ]
  size = f'{row.num_bytes / 1e6:.0f}'
  assert line.split() == [row.name, 'ViT-B/32', size, '384', '1,000', '83.36']
  assert f'<td>{row.name}</td>' in found._repr_html_()
  with pytest.raises(vit_jax.UserError, match='augrg'):
    vit_jax.list_checkpoints('augrg/*')
