import json

import pytest

from vit_jax import errors, models
from vit_jax.config import validation
from vit_jax.data import sources
from vit_jax.paper.miniature import miniature, questions
from vit_jax.training import train

SMALL = (
  ('model.width', 16),
  ('model.depth', 1),
  ('model.num_heads', 2),
  ('model.mlp_dim', 16),
  ('optimizer.warmup_steps', 1),
  ('run.num_steps', 4),
  ('run.batch_size', 16),
  ('run.eval_batch_size', 32),
  ('data.eval_split', 'test[:32]'),
)
FIRST = questions.VIT.having(*SMALL)
SECOND = questions.Recipe(
  'configs/miniature/finetune.py:resolution=24', SMALL, FIRST
)
QUESTIONS = (
  questions.Question(
    'it',
    'It?',
    'phase',
    {('tuned', 'after'): SECOND, ('ViT', 'before'): FIRST},
    (questions.Claim('S.', ('ViT', 'before'), '=', ('tuned', 'after')),),
  ),
)


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """Returns the folder of runs, the page, and what was said."""
  workdir = tmp_path_factory.mktemp('miniature')
  page = workdir / 'page.md'
  page.write_text(
    '<!-- filled: measured --><!-- end --><!-- filled: it --><!-- end -->'
  )
  said = []
  miniature.run(workdir, page, QUESTIONS, num_seeds=1, say=said.append)
  return workdir, page, said


def test_a_question_ends_in_a_table_and_a_plot(done):
  workdir, page, said = done
  text = page.read_text()
  for part in '| accuracy, % | after | before |', '2 runs, 1 seed(s) of each':
    assert part in text and part in '\n'.join(said)
  assert (workdir / 'page/it.png').exists()


def test_weights_come_from_the_run_before(done):
  workdir, _, _ = done
  (first, _), (second, _) = miniature.plan(SECOND, 0, workdir)
  assert first in second.parents
  config = json.loads((second / 'config.json').read_text())
  assert config['init'] == str(first)
  assert config['data']['resolution'] == [24]


def test_what_is_done_is_not_done_again(done, monkeypatch):
  workdir, page, said = done
  monkeypatch.setattr(train, 'run', None)
  before, again = page.read_text(), []
  miniature.run(workdir, page, QUESTIONS, num_seeds=1, say=again.append)
  assert again == said
  assert page.read_text() == before


def test_a_page_that_does_not_fit_is_told_before_any_run(tmp_path):
  with pytest.raises(errors.UserError, match='There is no page'):
    miniature.run(tmp_path / 'runs', tmp_path / 'none.md')
  assert not (tmp_path / 'runs').exists()


def plans(tmp_path):
  for question in questions.QUESTIONS:
    for cell, recipe in question.cells.items():
      yield question.name, cell, miniature.plan(recipe, 0, tmp_path)


def test_every_cell_can_be_built(tmp_path):
  for _, _, needs in plans(tmp_path):
    for _, config in needs:
      validation.validate(config, num_devices=1)
      source = sources.build(config.data, config.data.train_split)
      models.build(config.model, source.num_classes)
      validation.check_warmup(config.optimizer, config.run.num_steps)


def test_cells_of_one_configuration_share_their_run(tmp_path):
  folders = {
    (name, cell): needs[-1][0] for name, cell, needs in plans(tmp_path)
  }
  shared = {
    folders['position_embeddings', ('1-D', 'at the stem')],
    folders['pooling', ('class token', '0.004')],
    folders['optimizers', ('ViT, Adam', '0.004')],
  }
  assert len(shared) == 1
  other = miniature.plan(questions.VIT, 1, tmp_path)[-1][0]
  assert other not in folders.values()


def test_a_run_is_the_same_in_another_folder(tmp_path):
  here, there = (
    [folder.name for folder, _ in miniature.plan(SECOND, 0, tmp_path / name)]
    for name in ('here', 'there')
  )
  assert here == there and len(set(here)) == 2
