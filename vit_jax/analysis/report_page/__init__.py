"""The report of a training run: one HTML page of all that it has left.

It reads the files of the run (see docs/operating.md), evaluates its newest
checkpoint, and says of what is not there that it is not. What stands in the
page is made by the modules of this package; body, style and script draw it.
"""

import datetime
import pathlib
import sys

import vit_jax
from vit_jax import errors, files
from vit_jax.analysis import pages
from vit_jax.analysis.report_page import classes, data, facts, history, logs
from vit_jax.config import paths, recipes
from vit_jax.training import plots

FILE = 'report.html'
_TEMPLATE = pathlib.Path(__file__).parent


def run(workdir, output=None, evaluate=True, num_images=None, batch_size=None):
  """Writes the report of a run.

  Args:
    workdir: folder of the run, which may be in a store or still running.
    output: path of the page; None: report.html in `workdir`.
    evaluate: whether to evaluate the newest checkpoint, for what the page tells
      of classes.
    num_images: to evaluate at most, a random sample; None: the whole split.
    batch_size: of the evaluation, over all devices; None: see `classes`.

  Returns:
    The path of the page.

  Raises:
    UserError: `workdir` holds no run, or the page can't be written.
  """
  workdir = files.path(paths.absolute(workdir))
  if not files.exists(workdir / recipes.FILE):
    raise errors.UserError(
      f'{workdir} holds no run: it has no {recipes.FILE}. '
      'Give the --workdir of a training.'
    )
  output = workdir / FILE if output is None else files.path(output)
  content = collect(workdir, evaluate, num_images, batch_size)
  return pages.write(output, _TEMPLATE, f'{workdir.name} – vit_jax', content)


def collect(workdir, evaluate=True, num_images=None, batch_size=None):
  """Returns {name: JSON value}, all that the page tells; see `run`."""
  problems = []
  config = _tried(problems, recipes.load, str(workdir / recipes.FILE))
  said = _tried(problems, logs.read, workdir) or logs.Logs()
  past = history.read(workdir, said)
  measured = classes.Measured(None, 'The evaluation was left out.')
  if config is None:
    measured = classes.Measured(None, 'The configuration can not be read.')
  elif evaluate:
    measured = classes.measure(workdir, config, num_images, batch_size)
  content = {
    'name': workdir.name,
    'path': str(workdir),
    'made': f'{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}',
    'version': vit_jax.__version__,
    'state': history.state(workdir, past, said),
    'tiles': history.tiles(past),
    'curves': history.curves(past),
    'speed': history.speed_curves(past),
    'marks': history.marks(past),
    'training_note': config and plots.training_note(config.data),
    'time': history.time_spent(past),
    'config': facts.configuration(config),
    'classes': classes.table(measured),
    'confusion': classes.confusion(measured),
    'mistakes': classes.mistakes(measured),
    'data': data.statistics(config, measured),
    'bad_examples': _tried(problems, facts.bad_examples, workdir),
    'environment': logs.environment(said),
    'warnings': logs.warnings(said),
  }
  content['problems'] = _shown([*problems, *past.problems])
  return content


def _tried(problems, read, *arguments):
  """Returns what is read; None where it can't be, which is noted."""
  try:
    return read(*arguments)
  except (errors.UserError, OSError) as error:
    problems.append(str(error))
    print(errors.shown(f'left out: {error}'), file=sys.stderr)
    return None


_MAX_PROBLEMS = 20


def _shown(problems):
  shown = [errors.shown(text) for text in problems[:_MAX_PROBLEMS]]
  more = len(problems) - len(shown)
  return [*shown, f'and {more:,} more'] if more else shown
