"""Small data sets: each ends in right labels or in one clear line."""

import pathlib
import re
import runpy

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.cli import main
from vit_jax.config import schema
from vit_jax.data import names, sources
from vit_jax.data.transforms import decoding

HERE = pathlib.Path(__file__).parent
SMALL = runpy.run_path(str(HERE / 'small_data_sets.py'))
RANDOM = runpy.run_path(str(HERE / 'random_data_sets.py'))


def config(root, train_split, eval_split, **fields):
  data = schema.default().data
  data.source, data.dataset = 'folder', str(root)
  data.train_split, data.eval_split = train_split, eval_split
  data.update(fields)
  return data


def build(data):
  """Returns the sources to train and to evaluate on."""
  return tuple(
    sources.build(data, split) for split in (data.train_split, data.eval_split)
  )


def check_labels(source):
  """Checks that every image has the colour of the class of its label."""
  for index in range(len(source)):
    example = source[index]
    label = example['label']
    image = decoding.decode(example['image']).astype(int)
    if label >= 0:
      name = source.class_names[label] if source.class_names else str(label)
      found = image.mean((0, 1)).round()
      wanted = colours(name)
      assert any(np.abs(found - each).max() <= 16 for each in wanted), (
        f'{source.where(index)} is labelled {name!r}'
      )


def colours(name):
  """Returns what classes of that name may look like.

  A name that is not valid text is shown with replacement characters, and of
  numbers the value counts.
  """
  known = (*RANDOM['NAMES'], *RANDOM['NUMBERS'], *RANDOM['NOT_UTF8'], 'a\nb')
  alike = [
    each
    for each in known
    if names.shown(each) == name
    or (name.isdecimal() and each.isdecimal() and int(each) == int(name))
  ]
  return [SMALL['colour'](each).astype(int) for each in (name, *alike)]


@pytest.mark.parametrize('case', SMALL['CASES'], ids=lambda case: case.name)
def test_a_small_data_set(case, tmp_path):
  SMALL['write'](tmp_path, case.files)
  case.finish(tmp_path)
  data = config(tmp_path, *case.splits, **case.data)
  if case.error:
    with pytest.raises(errors.UserError) as caught:
      build(data)
    assert re.match(case.error, str(caught.value)), str(caught.value)
    assert '\n' not in str(caught.value)
    return
  built = build(data)
  assert tuple(map(len, built)) == case.counts
  for source in built:
    assert source.class_names == case.classes
    num_classes = case.num_classes or len(case.classes)
    assert source.num_classes == num_classes
    check_labels(source)
  said = '\n'.join(sources.describe(case.splits, built))
  for text in case.says:
    assert text in said, said
  said.encode()  # It can be printed.


@pytest.mark.parametrize('start', range(0, 200, 20))
def test_random_folders_end_in_right_labels_or_in_one_line(start, tmp_path):
  for seed in range(start, start + 20):
    made = RANDOM['Generator'](seed).make()
    root = tmp_path / f'{seed}'
    SMALL['write'](root, made.files)
    try:
      check_random(made, root)
    except Exception as error:
      error.add_note(f'seed {seed}: {sorted(made.files)}')
      raise


def check_random(made, root):
  data = config(root, *made.splits)
  try:
    built = build(data)
  except errors.UserError as error:
    assert made.is_faulty, error
    assert '\n' not in str(error) and 10 < len(str(error)) < 1000
    return
  assert not made.is_faulty
  assert sum(map(len, built)) == made.images
  labels = np.concatenate([source.labels for source in built])
  assert (labels < 0).sum() == made.unlabelled
  assert built[0].class_names == built[1].class_names
  for source in built:
    check_labels(source)
  left_out = built[0].left_out | built[1].left_out
  assert sum(left_out.values()) == made.left_out
  '\n'.join(sources.describe(made.splits, built)).encode()


RECIPE = """
from vit_jax.config import schema

def get_config():
  config = schema.default()
  config.model.name = 'ViT-Ti/4'
  config.model.update({'width': 8, 'depth': 1, 'num_heads': 1, 'mlp_dim': 8})
  config.data.source, config.data.resolution = 'folder', (8,)
  config.data.eval_split = 'test'
  config.optimizer.warmup_steps = 0
  config.run.batch_size, config.run.num_steps = 8, 2
  return config
"""


@pytest.mark.parametrize(
  'name',
  [
    'names that are not UTF-8',
    'a list to train on, folders to test on',
    'numbers and names',
    'no class in common',
  ],
)
def test_the_command_says_what_it_found(name, tmp_path, capsys):
  (case,) = (case for case in SMALL['CASES'] if case.name == name)
  SMALL['write'](tmp_path / 'set', case.files)
  (tmp_path / 'recipe.py').write_text(RECIPE)
  status = main.main(
    [
      'train',
      f'--config={tmp_path / "recipe.py"}',
      f'--workdir={tmp_path / "run"}',
      f'--config.data.dataset={tmp_path / "set"}',
    ]
  )
  told = capsys.readouterr().err
  if case.error:
    assert status == 2 and re.search(case.error, told.splitlines()[-1])
    assert not (tmp_path / 'run/metrics.jsonl').exists()
  else:
    wanted = f'{case.counts[0]} images of {len(case.classes)} classes (train)'
    assert status == 0 and wanted in told
    assert (tmp_path / 'run/predictions.png').exists()
