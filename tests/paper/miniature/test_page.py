import pathlib

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.paper.miniature import page as miniature_page
from vit_jax.paper.miniature import questions

ROOT = pathlib.Path(__file__).parents[3]
BEST = questions.BEST
CELLS = {
  ('low', '1'): [0.50, 0.52, 0.54],
  ('low', '10'): [0.60, 0.60, 0.60],
  ('high', '1'): [0.50, 0.50, 0.53],
}


def question(*claims):
  cells = dict.fromkeys(CELLS, questions.VIT)
  return questions.Question('it', 'It?', 'rate', cells, claims)


def claim(one, relation, other):
  return questions.Claim('Said.', one, relation, other)


def page(path, *names):
  path.write_text(
    'Before.\n'
    + ''.join(f'<!-- filled: {name} -->\nold\n<!-- end -->\n' for name in names)
    + 'After.\n'
  )
  return path


def test_a_cell_is_the_mean_and_the_deviation_over_seeds():
  text = miniature_page.text(question(), CELLS)
  assert '| accuracy, % | 1 | 10 |' in text
  assert '| low | 52.0 ± 2.0 | 60.0 ± 0.0 |' in text
  assert '| high | 51.0 ± 1.7 |  |' in text
  one = {cell: values[:1] for cell, values in CELLS.items()}
  assert '| low | 50.0 | 60.0 |' in miniature_page.text(question(), one)


@pytest.mark.parametrize(
  'one, relation, other, points, wanted',
  [
    (('low', '10'), '>', ('low', '1'), 8, 'agrees'),
    (('low', '1'), '>', ('low', '10'), -8, 'differs'),
    (('low', '1'), '>', ('high', '1'), 1, 'too close to tell'),
    (('low', '1'), '=', ('high', '1'), 1, 'agrees'),
    (('low', '1'), '=', ('low', '10'), -8, 'differs'),
    (('low', BEST), '>', ('high', BEST), 9, 'agrees'),
  ],
)
def test_a_claim_is_judged_by_the_spread_of_all_seeds(
  one, relation, other, points, wanted
):
  said = claim(one, relation, other)
  difference, thought = miniature_page.verdict(said, CELLS)
  np.testing.assert_allclose(difference, points / 100, atol=1e-9)
  assert thought == wanted
  text = miniature_page.text(question(said), CELLS)
  assert f'| Said. | {points:+.1f} | {wanted} |' in text


def test_two_standard_errors_make_a_difference():
  # Variances 4, 0 and 3 points squared: 7/3 pooled, an error of 1.247.
  for points, wanted in ((2.4, 'too close to tell'), (2.6, 'agrees')):
    cells = {**CELLS, ('low', '10'): [0.52 + points / 100] * 3}
    said = claim(('low', '10'), '>', ('low', '1'))
    assert miniature_page.verdict(said, cells)[1] == wanted


def test_one_seed_cannot_tell():
  one = {cell: values[:1] for cell, values in CELLS.items()}
  said = claim(('low', '10'), '>', ('low', '1'))
  assert miniature_page.verdict(said, one)[1] == 'one seed cannot tell'


def test_only_the_places_of_a_page_are_filled(tmp_path):
  path = page(tmp_path / 'page.md', 'measured', 'it')
  for _ in range(2):  # Once more changes nothing.
    miniature_page.fill(path, [question()], {'it': CELLS}, r'3 \1 runs')
    table = miniature_page.text(question(), CELLS)
    assert path.read_text() == (
      'Before.\n'
      '<!-- filled: measured -->\n\n3 \\1 runs\n\n<!-- end -->\n'
      f'<!-- filled: it -->\n\n{table}\n\n![It?](page/it.png)\n\n<!-- end -->\n'
      'After.\n'
    )
  assert (tmp_path / 'page/it.png').stat().st_size > 5_000


def test_a_page_without_a_place_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match=r'no page .*docs/miniature.md'):
    miniature_page.check(tmp_path / 'none.md', [question()])
  for names in (['measured'], ['measured', 'it', 'it']):
    path = page(tmp_path / 'page.md', *names)
    with pytest.raises(errors.UserError, match=r'once, the lines .*: it -->'):
      miniature_page.check(path, [question()])


def test_a_page_in_a_store_is_refused():
  with pytest.raises(errors.UserError, match='is a local path only'):
    miniature_page.check('gs://bucket/page.md', ())


def test_the_page_of_the_project_is_filled_in():
  path = ROOT / 'docs/miniature.md'
  miniature_page.check(path, questions.QUESTIONS)
  text = path.read_text()
  for each in questions.QUESTIONS:
    assert (ROOT / f'docs/miniature/{each.name}.png').exists()
    for said in each.claims:
      assert f'| {said.text} |' in text
    for row, _ in each.cells:
      assert f'| {row} |' in text


def test_claims_are_about_cells_that_there_are():
  for each in questions.QUESTIONS:
    for said in each.claims:
      assert said.relation in '>='
      for row, column in (said.one, said.other):
        columns = {cell[1] for cell in each.cells if cell[0] == row}
        assert column in columns or (columns and column == BEST)
