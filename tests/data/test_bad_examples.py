import json
import os

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.data import bad_examples, pipeline, sources
from vit_jax.data.sources import synthetic

SOURCE = synthetic.SyntheticSource(1000, 2, 4, 4, 'train')


def test_an_example_counts_once_however_often_it_comes(tmp_path):
  path = bad_examples.path(tmp_path, 0)
  bad = bad_examples.BadExamples(SOURCE, 0.002, path)
  for index in 7, 9, 7, 9, 9:
    bad.add(index, f'number {index} is broken.')
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  assert lines == [
    {
      'index': index,
      'where': f'synthetic example {index} of train',
      'problem': f'number {index} is broken.',
    }
    for index in (7, 9)
  ]


def test_more_than_the_share_is_an_error_that_names_the_last(tmp_path):
  bad = bad_examples.BadExamples(SOURCE, 0.002, tmp_path / 'bad.jsonl')
  bad.add(1, 'one.')
  bad.add(2, 'two.')
  with pytest.raises(
    errors.UserError,
    match=r'three\. That makes 3 bad of 1,000 .*max_bad_fraction=0\.002.*'
    r'bad\.jsonl lists',
  ):
    bad.add(3, 'three.')


def test_no_share_bears_no_example():
  with pytest.raises(errors.UserError, match=r'1 bad of 1,000 .*Mend'):
    bad_examples.BadExamples(SOURCE, 0.0).add(1, 'one.')


def test_a_resumed_run_lists_nothing_twice(tmp_path):
  path = tmp_path / 'bad.jsonl'
  bad_examples.BadExamples(SOURCE, 0.01, path).add(5, 'five.')
  bad = bad_examples.BadExamples(SOURCE, 0.01, path)
  bad.add(5, 'five.')
  bad.add(6, 'six.')
  assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize('kind', ['folder', 'arrays', 'mixture'])
def test_a_data_set_that_has_moved_lists_nothing_twice(data, tmp_path, kind):
  for place in 'here', 'there':
    root = tmp_path / place
    (root / 'train/a').mkdir(parents=True)
    (root / 'train/a/1.png').touch()
    labels = np.zeros(1, int)
    images = np.zeros((1, 4, 4), np.uint8)
    np.savez(root / 'a.npz', train_image=images, train_label=labels)
    data.source = 'folder' if kind == 'folder' else 'arrays'
    data.dataset = str(root if kind == 'folder' else root / 'a.npz')
    if kind == 'mixture':
      data.dataset = f'{data.dataset}@1+{data.dataset}@2'
    source = sources.build(data, 'train')
    bad = bad_examples.BadExamples(source, 1.0, tmp_path / 'bad.jsonl')
    bad.add(0, 'broken.')
    bad.add(len(source) - 1, 'broken.')
  lines = (tmp_path / 'bad.jsonl').read_text().splitlines()
  assert len(lines) == len(source)
  assert str(tmp_path / 'here') in json.loads(lines[0])['where']


def test_names_that_are_shown_alike_are_listed_each(data, tmp_path):
  (tmp_path / 'train/a').mkdir(parents=True)
  for name in b'\xfe.png', b'\xff.png':
    (tmp_path / 'train/a' / os.fsdecode(name)).touch()
  data.source, data.dataset = 'folder', str(tmp_path)
  data.eval_split = 'train'
  source = sources.build(data, 'train')
  assert source.where(0) == source.where(1)
  bad = bad_examples.BadExamples(source, 1.0, tmp_path / 'bad.jsonl')
  for index in 0, 1:
    bad.add(index, 'broken.')
  lines = map(json.loads, (tmp_path / 'bad.jsonl').read_text().splitlines())
  assert [line['key'] for line in lines] == [
    'train/a/\\xfe.png',
    'train/a/\\xff.png',
  ]


def test_lines_that_are_no_examples_hinder_nothing(tmp_path):
  (tmp_path / 'bad.jsonl').write_text('null\n[]\n{}\n"a"\n7\n')
  bad = bad_examples.BadExamples(SOURCE, 0.01, tmp_path / 'bad.jsonl')
  bad.add(5, 'five.')
  assert len((tmp_path / 'bad.jsonl').read_text().splitlines()) == 6


def test_a_line_cut_short_by_a_crash_hinders_no_resumed_run(tmp_path):
  path = tmp_path / 'bad.jsonl'
  for index in 5, 6:
    bad_examples.BadExamples(SOURCE, 0.01, path).add(index, 'broken.')
  path.write_text(path.read_text()[:-10])
  for _ in range(2):
    bad = bad_examples.BadExamples(SOURCE, 0.01, path)
    bad.add(5, 'broken.')
    bad.add(6, 'broken.')
  first, cut, second = path.read_text().splitlines()
  assert [json.loads(line)['index'] for line in (first, second)] == [5, 6]
  assert second.startswith(cut)


class Spoilt(synthetic.SyntheticSource):
  """Examples 3, 4 and 20 are bad, each in its way."""

  def __getitem__(self, index):
    if index == 3:
      raise FileNotFoundError('gone')
    example = super().__getitem__(index)
    if index == 4:
      return {**example, 'image': b'broken'}
    return {**example, 'label': 99} if index == 20 else example


@pytest.fixture
def spoilt(data):
  data.max_bad_fraction = 0.12  # Three of 26.
  return Spoilt(26, 5, 12, 10, 'train')


@pytest.mark.parametrize('num_workers', [0, 1])
def test_bad_examples_are_replaced_by_the_next_and_listed(
  spoilt, data, draw, tmp_path, num_workers
):
  data.num_workers = num_workers
  path = tmp_path / 'bad.jsonl'
  for drawn in draw(spoilt, 2, batch_size=26, seed=0, bad_path=path):
    counts = np.bincount(drawn['index'], minlength=26)
    wanted = np.ones(26, int)
    wanted[[3, 4, 20]] = 0
    wanted[[5, 21]] = 3, 2
    np.testing.assert_array_equal(counts, wanted)
    assert drawn['mask'].all() and (drawn['label'] == drawn['index'] % 5).all()
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  problems = {line['index']: line['problem'] for line in lines}
  assert len(lines) == len(problems) == 3
  where = 'synthetic example {} of train: '
  assert problems[3] == where.format(3) + 'gone'
  assert problems[4].startswith(where.format(4) + 'Not an image')
  assert problems[20].startswith(where.format(20) + 'label 99 does not fit 5')


def test_bad_examples_leave_the_others_as_they_were(spoilt, source, draw):
  (one,) = draw(spoilt, 1, batch_size=26, seed=0)
  (two,) = draw(source, 1, batch_size=26, seed=0)
  same = one['index'] == two['index']
  assert same.sum() == 23
  np.testing.assert_array_equal(one['image'][same], two['image'][same])


@pytest.mark.parametrize('process_count', [1, 2])
def test_replacements_do_not_depend_on_hosts_or_restarts(
  spoilt, draw, process_count
):
  wanted = draw(spoilt, 6, batch_size=8, seed=2)
  shares = np.split(np.arange(8), process_count)
  for start in 0, 3:
    drawn = draw(spoilt, 6 - start, shares, batch_size=8, seed=2, start=start)
    np.testing.assert_equal(drawn, wanted[start:])


def test_bad_examples_of_an_evaluation_count_for_nothing(
  spoilt, evaluate, tmp_path
):
  path = tmp_path / 'bad.jsonl'
  batches = evaluate(spoilt, batch_size=8, bad_path=path)
  index, label, mask = (
    np.concatenate([drawn[key] for drawn in batches])
    for key in ('index', 'label', 'mask')
  )
  np.testing.assert_array_equal(
    index[mask], np.delete(np.arange(26), [3, 4, 20])
  )
  assert (label[~mask] == -1).all()
  assert len(path.read_text().splitlines()) == 3


def test_every_process_lists_what_it_has_met(spoilt, evaluate, tmp_path):
  indices = []
  for process, rows in enumerate(np.split(np.arange(26), 2)):
    path = bad_examples.path(tmp_path, process)
    evaluate(spoilt, [rows], batch_size=26, bad_path=path)
    lines = path.read_text().splitlines()
    indices.append([json.loads(line)['index'] for line in lines])
  assert indices == [[3, 4], [20]]


def test_more_bad_examples_than_allowed_end_the_run(spoilt, data):
  data.max_bad_fraction = 0.08  # Two of 26.
  batches = pipeline.train_batches(spoilt, data, batch_size=26, seed=0)
  with pytest.raises(
    errors.UserError, match=r'3 bad of 26 examples, more than'
  ):
    next(batches)
  with pytest.raises(StopIteration):
    next(batches)


def test_a_broken_shard_ends_the_run_whatever_share_is_allowed(data):
  class Shard(synthetic.SyntheticSource):
    def __getitem__(self, index):
      if index == 4:
        raise bad_examples.BrokenShardError('shard 7 is cut off')
      return super().__getitem__(index)

  data.max_bad_fraction = 1.0
  batches = pipeline.train_batches(
    Shard(9, 2, 4, 4, 'x'), data, batch_size=9, seed=0
  )
  with pytest.raises(errors.UserError, match=r'shard 7 is cut off'):
    next(batches)
