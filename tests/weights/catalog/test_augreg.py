"""AugReg's index of fifty thousand files."""

import pytest

from vit_jax import errors
from vit_jax.weights.catalog import augreg


def test_rows_are_read_by_the_names_of_columns(tmp_path):
  path = tmp_path / 'index.csv'
  path.write_text('name,ds,final_val\nB/16,i21k,0.4\nR26+S/32,i1k,0.7\n')
  first, second = augreg.rows(path)
  assert first == {'name': 'B/16', 'ds': 'i21k', 'final_val': '0.4'}
  assert second['ds'] == 'i1k'


@pytest.mark.parametrize(
  ('name', 'model'),
  [
    ('R26+S/32', 'R26_S_32'),
    ('R_Ti_16', 'R_Ti_16'),
    ('B_16-i21k-300ep-lr_0.001', 'B_16'),
  ],
)
def test_models_are_known_however_they_are_spelled(name, model):
  assert augreg.model_of({'name': name}) == model
  assert model in augreg.RECOMMENDED


@pytest.mark.parametrize('content', [None, b'name\xff\n\xfe'])
def test_what_can_not_be_read_is_told(content, tmp_path):
  path = tmp_path / 'index.csv'
  if content:
    path.write_bytes(content)
  with pytest.raises(errors.UserError, match=r"is not AugReg's index\.csv"):
    list(augreg.rows(path))
  with pytest.raises(errors.UserError, match=r"is not AugReg's index\.csv"):
    augreg.pick(path, 'B_16')
