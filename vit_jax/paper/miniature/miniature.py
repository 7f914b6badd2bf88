"""The paper in miniature: its comparisons repeated, on a CPU, in minutes.

Each cell of `questions.QUESTIONS` is a few runs with different seeds of the
same training code that everything else uses. Finished runs are reused, and
cells with the same runs share them.
"""

import time

from vit_jax import files
from vit_jax.config import recipes
from vit_jax.evaluation import records
from vit_jax.paper import costs
from vit_jax.paper.miniature import page as miniature_page
from vit_jax.paper.miniature import questions as miniature_questions
from vit_jax.training import trials

NUM_SEEDS = 3
_CLOCK = {'evaluator': 'clock'}


def run(
  workdir,
  page=None,
  questions=miniature_questions.QUESTIONS,
  num_seeds=NUM_SEEDS,
  say=print,
):
  """Runs what is left, and reports the results.

  Args:
    workdir: folder of the runs.
    page: path of the Markdown page to fill in, or None; see `miniature_page`.
    questions: the comparisons; see `miniature_questions`.
    num_seeds: of each cell: 0, 1 and so on.
    say: takes a line, or a table.

  Raises:
    UserError: the page, a recipe or a run is invalid.
    Preempted: a signal has stopped a run; the same call resumes it.
  """
  workdir = files.path(workdir).absolute()
  if page is not None:
    miniature_page.check(page, questions)
  planned = {
    (question.name, cell, seed): plan(recipe, seed, workdir)
    for question in questions
    for cell, recipe in question.cells.items()
    for seed in range(num_seeds)
  }
  configs = dict(needed for needs in planned.values() for needed in needs)
  measured = {}
  for number, (folder, config) in enumerate(configs.items(), 1):
    measured[folder] = _measure(folder, config)
    accuracy = measured[folder]['accuracy']
    say(f'{number} of {len(configs)}: {folder.name} {accuracy:.1%}')
  answers = {question.name: {} for question in questions}
  for (name, cell, _), needs in planned.items():
    accuracy = measured[needs[-1][0]]['accuracy']
    answers[name].setdefault(cell, []).append(accuracy)
  for question in questions:
    say(f'\n{miniature_page.text(question, answers[question.name])}')
  spent = miniature_page.spent(measured.values(), num_seeds)
  say(f'\n{spent}')
  if page is not None:
    miniature_page.fill(page, questions, answers, spent)


def plan(recipe, seed, workdir):
  """Returns [(folder, config)] of a run, preceded by the run it starts from.

  A folder is named by the model and a digest of the configuration; a run that
  starts from another has its folder inside the other's.

  Args:
    recipe: a `questions.Recipe`.
    seed: an int.
    workdir: path of the folder of all runs.
  """
  overrides = [f'--config.{name}={text}' for name, text in recipe.fields]
  overrides.append(f'--config.seed={seed}')
  config = costs.load(recipe.spec, tuple(overrides))
  model = config.model.name.replace('/', '_')
  name = f'{model}-{recipes.digest(config)[:10]}'
  if recipe.start is None:
    return [(workdir / name, config)]
  needs = plan(recipe.start, seed, workdir)
  start, _ = needs[-1]
  overrides.append(f'--config.init={start}')
  return [*needs, (start / name, costs.load(recipe.spec, tuple(overrides)))]


def _measure(folder, config):
  """Returns the accuracy of a run, and the seconds that it took."""
  began, cpu_began = time.monotonic(), time.process_time()
  accuracy = trials.trained(folder, config)
  path = folder / records.FILE
  seconds = records.find(path, _CLOCK)
  if seconds is None:
    seconds = {
      'seconds': time.monotonic() - began,
      'cpu_seconds': time.process_time() - cpu_began,
    }
    records.append(path, _CLOCK, seconds)
  return {'accuracy': accuracy, **seconds}
