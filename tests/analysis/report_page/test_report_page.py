"""The page of a run shows what the run has left, and says what it has not."""

import re

import numpy as np
import pytest

from vit_jax.cli import main
from vit_jax.evaluation import predictions
from vit_jax.training.runtime import metrics_file

SECTIONS = [
  *('curves', 'classes', 'confusion', 'mistakes', 'time', 'data', 'bad'),
  *('configuration', 'environment', 'warnings'),
]
STAMP = '2026-05-17T09:30:00.000+00:00 host process 0: '


@pytest.fixture(scope='module')
def made(run, tmp_path_factory):
  """The page, and the predictions that it is made of."""
  output = tmp_path_factory.mktemp('page') / 'page.html'
  kept, collect = [], predictions.collect

  def collect_and_keep(*arguments):
    kept.append(collect(*arguments))
    return kept[-1]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(predictions, 'collect', collect_and_keep)
    assert main.main(['report', str(run), f'--output={output}']) == 0
  return output, kept[0]


@pytest.fixture
def path(made):
  return made[0]


@pytest.fixture
def measured(made):
  return made[1]


def points(page, curve, split):
  """Returns the steps and values that a line of a chart is drawn at."""
  drawing = page.locator(f'[data-curve="{curve}"] svg')
  of = {
    name: float(drawing.get_attribute(f'data-{name}'))
    for name in (
      *('first', 'last', 'low', 'high', 'left', 'top', 'width', 'height'),
    )
  }
  path = drawing.locator(f'path[data-series="{split}"]').get_attribute('d')
  places = np.array(
    [each.split() for each in re.split('[ML]', path)[1:]], float
  )
  steps = of['first'] + (places[:, 0] - of['left']) / of['width'] * (
    of['last'] - of['first']
  )
  low, high = of['low'], of['high']
  if drawing.get_attribute('data-log') == 'true':
    low, high = np.log([low, high])
  values = high - (places[:, 1] - of['top']) / of['height'] * (high - low)
  is_log = drawing.get_attribute('data-log') == 'true'
  return steps, np.exp(values) if is_log else values


def series(run, split, name):
  lines = [
    (record['step'], record[name])
    for record in metrics_file.read(run)
    if record['split'] == split and name in record
  ]
  return np.array(lines, float).T


def test_it_has_all_sections_and_strangers_names_as_text(
  path, browser_page, classes
):
  page = browser_page(path)
  text = path.read_text()
  assert not re.search(r'(?:src|href)\s*=\s*["\']?(?:https?:)?//', text)
  assert not re.search(r'@import|url\(', text) and len(text) < 8 << 20
  found = page.locator('main > section').evaluate_all('all => all.map(s=>s.id)')
  assert found == SECTIONS
  assert page.locator('h1').text_content() == 'run'
  assert page.locator('.state').text_content() == 'finished'
  links = page.locator('nav a').evaluate_all(
    'all => all.map(a => a.getAttribute("href"))'
  )
  assert links == [f'#{name}' for name in SECTIONS]
  assert page.evaluate(
    'performance.getEntriesByType("navigation")[0].duration'
  ) < (
    20_000  # 2 s on a machine that has nothing else to do.
  )
  assert page.evaluate('window.taken') is None
  names = page.locator('#per-class tbody td:first-child').all_text_contents()
  assert sorted(names) == sorted(classes)
  assert '<i>a.png' in page.locator('#bad').text_content()
  assert '<img src=x' in page.locator('#warnings').text_content()
  assert page.locator('main i:not(.measure i), main b:not(.tip b)').count() == 0


def test_curves_are_those_of_the_metrics_by_line_table_and_key(
  run, path, browser_page
):
  page = browser_page(path)
  for name in 'loss', 'accuracy', 'learning_rate', 'gradient_norm':
    wanted = series(run, 'train', name)
    span = np.ptp(wanted[1]) + 1e-6
    np.testing.assert_allclose(
      points(page, name, 'train'), wanted, atol=0.02 * span + 0.01
    )
  for is_log in False, True:
    if is_log:
      page.locator('[data-curve="loss"] button').click()
    for split in 'train', 'eval':
      steps, values = series(run, split, 'loss')
      drawn = points(page, 'loss', split)
      np.testing.assert_allclose(drawn[0], steps, atol=0.02)
      np.testing.assert_allclose(drawn[1], values, rtol=0.005)
  assert page.locator('[data-curve="loss"] button').get_attribute(
    'aria-pressed'
  ) == ('true')
  chart = page.locator('[data-curve="loss"]')
  chart.locator('summary').click()
  found = chart.locator('td[data-value]').evaluate_all(
    'all => all.map(cell => Number(cell.dataset.value))'
  )
  wanted = [*series(run, 'train', 'loss')[1], *series(run, 'eval', 'loss')[1]]
  np.testing.assert_array_equal(found, wanted)
  plot = chart.locator('.plot')
  plot.focus()
  page.keyboard.press('Home')
  assert 'step 1:' in chart.locator('[role=status]').text_content()
  page.keyboard.press('ArrowRight')
  said = chart.locator('[role=status]').text_content()
  assert 'step 2: train' in said and 'evaluation' in said
  box = plot.bounding_box()
  page.mouse.move(box['x'] + box['width'] - 2, box['y'] + 50)
  assert 'step 4' in chart.locator('.tip').text_content()
  mark = page.locator('[data-curve="loss"] .a-mark')
  assert mark.get_attribute('data-step') == '2'
  assert 'resumed at step 2' in page.locator('#curves').text_content()


def test_classes_matrix_and_mistakes_are_those_of_the_evaluator(
  measured, path, browser_page, classes
):
  page = browser_page(path)
  names = sorted(classes)  # As a folder of images numbers them.
  matrix = np.zeros((len(names), len(names)), int)
  for label, predicted in zip(measured.label, measured.predicted):
    matrix[label, predicted] += 1
  assert matrix.sum() == 15
  assert_table(page, matrix, names)
  assert_matrix(page, matrix, names)
  assert_mistakes(page, measured, names)


def assert_table(page, matrix, names):
  rows = page.locator('#per-class tbody tr')

  def column(number):
    return rows.locator(f'td:nth-child({number})').all_text_contents()

  for name, count, predicted, accuracy in zip(*map(column, (1, 2, 3, 4))):
    label = names.index(name)
    assert int(count) == matrix[label].sum()
    assert int(predicted) == matrix[:, label].sum()
    fraction = matrix[label, label] / matrix[label].sum()
    assert accuracy == f'{100 * fraction:.1f} %'
  heads = page.locator('#per-class thead th')
  assert heads.nth(3).get_attribute('aria-sort') == 'ascending'
  heads.nth(1).locator('button').click()
  assert column(2) == ['6', '5', '4']
  heads.nth(1).locator('button').press('Enter')
  assert column(2) == ['4', '5', '6']
  assert heads.nth(1).get_attribute('aria-sort') == 'ascending'
  heads.nth(0).locator('button').click()
  assert column(1)[-1] == 'plain'


def assert_matrix(page, matrix, names):
  cells = page.locator('#confusion-matrix td[data-count]')
  found = cells.evaluate_all(
    'all => all.map(cell => Number(cell.dataset.count))'
  )
  assert found == matrix.ravel().tolist()
  cells.nth(0).hover()
  said = page.locator('#cell').text_content()
  assert f'{matrix[0, 0]} of {matrix[0].sum()}' in said
  cells.nth(0).focus()
  page.keyboard.press('ArrowRight')
  page.wait_for_function(
    'text => document.getElementById("cell").textContent.startsWith(text)',
    arg=f'{names[0]} taken for {names[1]}',
  )


def assert_mistakes(page, measured, names):
  wrong = measured.label != measured.predicted
  confidences = sorted(measured.confidence[wrong].tolist(), reverse=True)
  shown = page.locator('#mistakes figure')
  assert shown.count() == wrong.sum() > 0
  for figure, confidence in zip(shown.all(), confidences):
    (place,) = np.flatnonzero(wrong & (measured.confidence == confidence))
    predicted = names[measured.predicted[place]]
    assert figure.locator('.wrong').text_content() == f'✗ {predicted}'
    assert f'{round(100 * confidence)} %' in figure.text_content()
    where = figure.locator('.where').get_attribute('title')
    assert where.split('/')[-2] == names[measured.label[place]]
    assert where.endswith('<b>.png')
    image = figure.locator('img')
    assert image.evaluate('each => each.naturalWidth') == 8


def test_data_and_configuration(path, browser_page):
  page = browser_page(path)
  counts = page.locator('#balance td[data-count]').all_text_contents()
  assert counts == ['4', '4', '5', '5', '6', '6']
  text = page.locator('#data').text_content()
  assert '10 to 10 rows' in text and '12 to 14 columns' in text
  rows = page.locator('#config tbody tr:visible')
  fields = rows.locator('td:first-child').all_text_contents()
  assert 'run.batch_size' in fields and 'run.patience' not in fields
  before = len(fields)
  page.locator('#configuration button').click()
  assert rows.count() > before + 40


@pytest.mark.parametrize('width, dark', [(390, True), (390, False)])
def test_it_fits_a_phone_and_is_seen_in_the_dark(
  path, browser_page, tmp_path, dark, width
):
  page = browser_page(path, width=width, dark=dark)
  assert page.evaluate('document.documentElement.scrollWidth') <= width
  picture = page.screenshot(path=tmp_path / 'page.png')
  assert len(picture) > 10_000
  paper = page.evaluate('getComputedStyle(document.body).backgroundColor')
  brightness = sum(map(int, re.findall(r'\d+', paper)))
  assert (brightness < 200) == dark
