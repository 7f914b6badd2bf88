"""The page of the paper in miniature: tables, verdicts, drawing.

A page is hand-written Markdown with placeholders `<!-- filled: NAME -->` up to
`<!-- end -->`: one for each question and one called `measured`. Plots go to a
folder with the name of the page.
"""

import os
import pathlib
import platform
import re
import statistics

import jax

from vit_jax import errors, files
from vit_jax.evaluation import drawing
from vit_jax.paper.miniature import questions as miniature_questions
from vit_jax.sharding import mesh as meshes

SPENT = 'measured'  # The placeholder for what `spent` returns.
_COLORS = '#0072B2', '#D55E00', '#009E73', '#CC79A7'  # Okabe & Ito (2008).


def check(page, questions):
  """Raises UserError unless the page exists and has all placeholders."""
  if files.is_remote(page):
    raise errors.UserError(f'--page={page} is a local path only.')
  path = pathlib.Path(page)
  if not path.is_file():
    raise errors.UserError(
      f'There is no page {page} to fill in; docs/miniature.md is one.'
    )
  text = path.read_text()
  for name in (SPENT, *(question.name for question in questions)):
    if len(_place(name).findall(text)) != 1:
      raise errors.UserError(
        f'{page} needs, once, the lines <!-- filled: {name} --> and, after it, '
        '<!-- end -->, between which to fill in.'
      )


def fill(page, questions, accuracies, spent):
  """Fills in the page and draws its drawing.

  Args:
    page: its path; it has passed `check`.
    questions: those to fill in.
    accuracies: {name of the question: {cell: accuracies, one per seed}}.
    spent: what the function `spent` returns.
  """
  path = pathlib.Path(page)
  folder = path.with_suffix('')
  folder.mkdir(exist_ok=True)
  filled = path.read_text(encoding='utf-8')
  contents = {SPENT: spent}
  for question in questions:
    cells = accuracies[question.name]
    plot(question, cells, folder / f'{question.name}.png')
    image = f'![{question.title}]({folder.name}/{question.name}.png)'
    contents[question.name] = f'{text(question, cells)}\n\n{image}'
  for name, content in contents.items():
    whole = f'<!-- filled: {name} -->\n\n{content}\n\n<!-- end -->'
    filled = _place(name).sub(lambda _, whole=whole: whole, filled)
  files.write_text(path, filled)


def spent(measured, num_seeds):
  """Returns a sentence with the number of runs, their time and the machine.

  Args:
    measured: {'seconds': float, 'cpu_seconds': float} of each run.
    num_seeds: of each cell.
  """
  measured = list(measured)
  minutes, cpu_minutes = (
    sum(each[name] for each in measured) / 60
    for name in ('seconds', 'cpu_seconds')
  )
  devices = meshes.devices()
  return (
    f'{len(measured)} runs, {num_seeds} seed(s) of each: {minutes:.1f} minutes '
    f'({cpu_minutes:.1f} minutes of CPU time) on '
    f'{len(devices)} {devices[0].platform} device(s) ({_machine(devices[0])}); '
    f'Python {platform.python_version()}, JAX {jax.__version__}.'
  )


def text(question, cells):
  """Returns the table of a question, and below it the paper's claims."""
  return f'{_table(question, cells)}\n\n{_verdicts(question, cells)}'


def verdict(claim, cells):
  """Returns (difference, verdict on the claim).

  The difference is that of two means. It counts if it exceeds twice its
  standard error, from the variance over seeds pooled over all cells.

  Args:
    claim: a `questions.Claim`.
    cells: {(row, column): accuracies, one per seed}.
  """
  one, other = _find(claim.one, cells), _find(claim.other, cells)
  difference = statistics.mean(cells[one]) - statistics.mean(cells[other])
  num_seeds = len(cells[one])
  if num_seeds < 2:
    return difference, 'one seed cannot tell'
  variance = statistics.mean(map(statistics.variance, cells.values()))
  error = (2 * variance / num_seeds) ** 0.5
  if claim.relation == '=':
    return difference, 'agrees' if abs(difference) <= 2 * error else 'differs'
  if abs(difference) <= 2 * error:
    return difference, 'too close to tell'
  return difference, 'agrees' if difference > 0 else 'differs'


def plot(question, cells, path):
  """Plots every run as a dot, and lines or bars through the means."""
  picture = drawing.blank(6.4, 3.6)
  picture.set_layout_engine('constrained')
  axes = picture.subplots()
  rows, columns = _axes(question)
  is_number = all(re.fullmatch(r'[\d.e-]+', column) for column in columns)
  for number, row in enumerate(rows):
    shift = 0 if is_number else (number - (len(rows) - 1) / 2) * 0.16
    style = {'color': _COLORS[number % len(_COLORS)]}
    places, means = [], []
    for index, column in enumerate(columns):
      if (row, column) in cells:
        values = cells[row, column]
        places.append(float(column) if is_number else index + shift)
        means.append(statistics.mean(values))
        dots = [places[-1]] * len(values)
        axes.plot(dots, values, 'o', ms=4, alpha=0.45, mew=0, **style)
    line = {'marker': '_', 'ms': 13, 'mew': 2.2}
    joined = '-' if is_number else ''
    axes.plot(places, means, linestyle=joined, label=row, **line, **style)
  _style(axes, question, columns, is_number)
  return drawing.save(picture, path)


def _style(axes, question, columns, is_number):
  axes.set_title(
    question.title, loc='left', color=drawing.INK, fontweight='bold'
  )
  axes.set_xlabel(question.columns, color=drawing.INK)
  if is_number:
    axes.set_xscale('log')
    axes.set_xticks([float(column) for column in columns], columns)
    axes.set_xticks([], minor=True)
  else:
    axes.set_xticks(range(len(columns)), columns)
  axes.yaxis.set_major_formatter(lambda fraction, _: f'{fraction:.0%}')
  axes.grid(axis='y', color=drawing.FAINT, linewidth=0.8)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(drawing.FAINT)
  axes.tick_params(length=0, labelcolor=drawing.INK)
  axes.legend(frameon=False, labelcolor=drawing.INK)


def _table(question, cells):
  rows, columns = _axes(question)
  lines = [
    f'| accuracy, % | {" | ".join(columns)} |',
    f'|---|{"--:|" * len(columns)}',
  ]
  for row in rows:
    shown = [_cell(cells.get((row, column))) for column in columns]
    lines.append(f'| {row} | {" | ".join(shown)} |')
  return '\n'.join(lines)


def _verdicts(question, cells):
  lines = ['| the paper | here, points | |', '|---|--:|---|']
  for claim in question.claims:
    difference, thought = verdict(claim, cells)
    lines.append(f'| {claim.text} | {difference * 100:+.1f} | {thought} |')
  return '\n'.join(lines)


def _cell(values):
  if values is None:
    return ''
  mean = f'{statistics.mean(values) * 100:.1f}'
  if len(values) < 2:
    return mean
  return f'{mean} ± {statistics.stdev(values) * 100:.1f}'


def _axes(question):
  """Returns the names of rows and of columns, in order."""
  return tuple(
    list(dict.fromkeys(cell[axis] for cell in question.cells))
    for axis in (0, 1)
  )


def _find(cell, cells):
  """Returns the cell, with the column of the highest mean for `BEST`."""
  row, column = cell
  if column != miniature_questions.BEST:
    return cell
  in_row = [each for each in cells if each[0] == row]
  return max(in_row, key=lambda each: statistics.mean(cells[each]))


def _place(name):
  return re.compile(f'<!-- filled: {name} -->.*?<!-- end -->', re.DOTALL)


def _machine(device):
  """Returns the hardware in words: 2 cores of some processor, or a GPU."""
  if device.platform != 'cpu':
    return device.device_kind
  path = pathlib.Path('/proc/cpuinfo')
  lines = path.read_text() if path.exists() else ''
  names = re.findall(r'model name\s*: (.+)', lines) or [platform.machine()]
  return f'{os.cpu_count()} cores of {names[0]}'
