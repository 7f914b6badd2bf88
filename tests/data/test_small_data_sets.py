"""Small data sets: each ends in right labels or in one clear line."""

import pathlib
import re
import runpy

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import sources
from vit_jax.data.transforms import decoding

HERE = pathlib.Path(__file__).parent
SMALL = runpy.run_path(str(HERE / 'small_data_sets.py'))


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
  """Returns what a class of that name may look like: as it is called on disk.

  A class whose name is not valid text is shown with replacement characters.
  """
  names = [name, name.replace('\ufffd', '\udcfc'), name.replace('\ufffd', '\n')]
  return [SMALL['colour'](each).astype(int) for each in names]


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
