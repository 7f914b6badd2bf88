"""The files of per_class: tables that any name survives, and figures."""

import csv

import numpy as np
import PIL.Image
import pytest

from vit_jax.data.sources import arrays
from vit_jax.evaluation import (
  drawing,
  per_class,
  per_class_files,
  predictions,
)

ODD = (
  *('cat', 'a, b', 'say "cat"', 'two\nlines', 'back\r\nand forth', ' edges '),
  *('狗', "it's", '', '1.0', 'nan'),
)


def read(path):
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.reader(file))


def test_names_survive_a_round_trip(tmp_path):
  path = tmp_path / 'new' / 'a.csv'
  per_class_files.write_csv(path, ODD, [(name, 1) for name in ODD])
  header, *rows = read(path)
  assert header == list(ODD)
  assert rows == [[name, '1'] for name in ODD]


@pytest.mark.parametrize('start', ['=', '+', '-', '@', '\t', '\r'])
def test_what_a_spreadsheet_would_compute_is_text(tmp_path, start):
  name = f'{start}HYPERLINK("x", "y")'
  per_class_files.write_csv(tmp_path / 'a.csv', ['name'], [(name, -1, -0.5)])
  assert read(tmp_path / 'a.csv')[1] == [f"'{name}", '-1', '-0.5']


def test_bytes_that_are_not_utf_8_are_replaced(tmp_path):
  name = b'caf\xe9'.decode('utf-8', 'surrogateescape')
  per_class_files.write_csv(tmp_path / 'a.csv', ['name'], [(name, np.nan)])
  assert read(tmp_path / 'a.csv')[1] == ['caf\ufffd', '']


def evaluation(num_classes, count, names=None, accuracy=0.5, seed=0):
  """Returns a source and the confusion and predictions of its examples."""
  rng = np.random.default_rng(seed)
  label = rng.integers(0, num_classes, count).astype(np.int32)
  other = rng.integers(0, num_classes, count).astype(np.int32)
  predicted = np.where(rng.random(count) < accuracy, label, other)
  images = np.zeros((count, 4, 4, 3), np.uint8)
  images += (np.arange(count) % 256).astype(np.uint8)[:, None, None, None]
  source = arrays.ArraySource(images, label, names, num_classes)
  confidence = rng.random(count).astype(np.float32)
  given = predictions.Predictions(
    np.arange(count), label, predicted, confidence, confidence / 2
  )
  return source, per_class.Confusion.of(given, num_classes), given


def write(folder, source, confusion, given):
  per_class_files.write(
    folder, confusion, given, source, (), 'x (test)', source.class_names
  )


def test_tables_hold_what_was_measured(tmp_path):
  source, confusion, given = evaluation(len(ODD), 300, ODD)
  write(tmp_path, source, confusion, given)
  header, *rows = read(tmp_path / 'confusion.csv')
  assert header == ['true', *ODD] and [row[0] for row in rows] == list(ODD)
  np.testing.assert_array_equal(
    np.array([row[1:] for row in rows], int), list(confusion.rows())
  )
  header, *rows = read(tmp_path / 'per_class.csv')
  assert [row[:2] for row in rows] == [
    [str(index), name] for index, name in enumerate(ODD)
  ]
  table = per_class.PerClass.of(confusion)
  found = np.array([row[2:] for row in rows], float)
  np.testing.assert_allclose(found, np.stack(table, 1), rtol=1e-5)
  header, *rows = read(tmp_path / 'mistakes.csv')
  worst = given.worst(100)
  assert len(rows) == 100
  for row, index, label, guess, confidence, of_true in zip(rows, *worst):
    assert row[:3] == [source.where(index), ODD[label], ODD[guess]]
    assert np.allclose([float(cell) for cell in row[3:]], [confidence, of_true])


def test_the_figure_of_mistakes_has_the_worst_forty(tmp_path, monkeypatch):
  grids, grid = [], drawing.grid

  def keep(*given):
    grids.append(given)
    return grid(*given)

  monkeypatch.setattr(drawing, 'grid', keep)
  source, confusion, given = evaluation(3, 200, ('cat', 'dog', 'emu'))
  write(tmp_path, source, confusion, given)
  ((_, images, captions, title, subtitle),) = grids
  worst = given.worst(40)
  assert [image[0, 0, 0] for image in images] == worst.index.tolist()
  assert captions[0].startswith('✗ ') and '\ntrue: ' in captions[0]
  wrong = np.sum(given.label != given.predicted)
  assert title == f'x (test): {wrong} mistakes in 200 images'
  assert 'most confident first' in subtitle
  assert PIL.Image.open(tmp_path / 'mistakes.png').size[0] > 1000


@pytest.mark.parametrize('num_classes', [2, 1000])
def test_without_a_mistake_all_files_say_so(tmp_path, num_classes):
  write(tmp_path, *evaluation(num_classes, 30, accuracy=1.1))
  assert len(read(tmp_path / 'mistakes.csv')) == 1
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    *('confusion.csv', 'confusion.png', 'mistakes.csv', 'mistakes.png'),
    'per_class.csv',
  ]


def test_of_many_classes_the_pairs_are_listed(tmp_path):
  source, confusion, given = evaluation(21_843, 500)
  write(tmp_path, source, confusion, given)
  assert not (tmp_path / 'confusion.csv').exists()
  header, *rows = read(tmp_path / 'confusion_pairs.csv')
  assert header == ['true', 'predicted', 'count']
  found = np.array(rows, int)
  np.testing.assert_array_equal(found.T, confusion[:3])
  assert len(read(tmp_path / 'per_class.csv')) == 21_844
