import pytest
import tensorflow_datasets as tfds

from vit_jax import errors
from vit_jax.data import datasets
from vit_jax.data.datasets import vtab
from vit_jax.data.sources import prepare


@pytest.fixture
def data_dir(tmp_path):
  tfds.disable_progress_bar()
  return str(tmp_path)


def test_a_data_set_is_prepared_and_then_found(data_dir, monkeypatch):
  text = prepare.run('digits', data_dir)
  assert f'digits/1.0.0 is in {data_dir}/digits/1.0.0 (array_record)' in text
  lines = [line.split() for line in text.splitlines()]
  assert ['train', '1,437', 'examples'] in lines
  assert '--config.data.dataset=digits' in text
  monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', None)
  assert prepare.run('digits', data_dir) == text


@pytest.mark.parametrize('name', ['imagenet2012', 'imagenet2012_real'])
def test_what_must_be_downloaded_by_hand_goes_to_a_place_that_is_told(
  name, data_dir
):
  with pytest.raises(errors.UserError) as info:
    prepare.run(name, data_dir)
  text = str(info.value)
  manual = f'{data_dir}/downloads/manual'
  assert text.index(manual) < text.index('can not be prepared')
  assert 'ILSVRC2012_img_val.tar' in text and '6,744,924,160 bytes' in text


def test_the_place_told_is_the_one_where_tfds_looks(data_dir):
  with pytest.raises(errors.UserError) as info:
    prepare.run('imagenet2012', data_dir)
  told, said = str(info.value).split('can not be prepared')
  assert f'{data_dir}/downloads/manual' in told
  assert f'{data_dir}/downloads/manual does not exist' in said


def test_what_tfds_has_not_is_told_how_to_lay_out(data_dir):
  with pytest.raises(errors.UserError, match=r'winter21_whole.tar.gz') as info:
    prepare.run('imagenet21k', data_dir)
  assert f'{data_dir}/imagenet21k/train/<class>' in str(info.value)


def test_a_task_of_vtab_prepares_its_data_set(data_dir, monkeypatch):
  monkeypatch.setitem(vtab.TASKS, 'ten', vtab.Task('digits', 10, 'test'))
  text = prepare.run('vtab/ten', data_dir)
  assert 'digits/1.0.0 is in' in text
  assert '--config.data.dataset=vtab/ten' in text
  assert prepare.run('vtab_full/ten', data_dir) == text.replace(
    'vtab/ten', 'vtab_full/ten'
  )
  with pytest.raises(errors.UserError, match=r"VTAB='tem'.* mean ten"):
    prepare.run('vtab/tem', data_dir)


def test_facts_of_a_name_go_with_its_place_in_tfds(data_dir, monkeypatch):
  row = datasets.Dataset(
    'tfds', 'digits:1.*.*', 10, ('train', 1437), ('test', 360)
  )
  monkeypatch.setitem(datasets.DATASETS, 'numerals', row)
  assert 'dataset=digits:1.*.*' in prepare.run('numerals', data_dir)


def test_an_unknown_data_set_names_the_nearest(data_dir):
  with pytest.raises(errors.UserError, match=r'Did you mean .*cifar10'):
    prepare.run('cifar11', data_dir)
