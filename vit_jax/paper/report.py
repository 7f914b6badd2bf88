"""Results, plans and the overview of tables and figures, in Markdown."""

import math

from vit_jax.data.datasets import vtab
from vit_jax.paper import costs, methods
from vit_jax.sharding import accelerators

_STATES = {
  methods.Computed: 'reproduced',
  methods.Evaluated: 'ready',
  methods.Transferred: 'ready',
  methods.Averaged: 'ready',
  methods.Drawn: 'ready',
  methods.Benchmarked: 'ready',
}
_HOURS = f'{costs.CHIP.upper()} hours'
_UNIT = (
  f'exaFLOPs are the sum over all runs, grids and seeds included; {_HOURS} are '
  f'those of one chip at {100 * costs.UTILIZATION:.0f} % of its '
  f'{accelerators.CHIPS[costs.CHIP].peak / 1e12:.0f} TFLOP/s.'
)


def overview(targets, overrides=()):
  """Returns a table with a row for each table and figure.

  It depends on the code alone, not on what is on disk.

  Args:
    targets: {name: `targets.Target`}.
    overrides: of fields of every fine-tuning.
  """
  lines = [
    f'| | shows | state | needs | exaFLOPs | {_HOURS} |',
    '|---|---|---|---|---|---|',
  ]
  for name, target in targets.items():
    runs = runs_of(target, overrides)
    exaflops = sum(run.exaflops for run in runs)
    lines.append(
      f'| `{name}` | {target.title} | {_states(target)} | {_needs(runs)} | '
      f'{_short(exaflops)} | {_short(costs.hours(exaflops))} |'
    )
  return '\n'.join([*lines, '', _UNIT])


def result(name, target, results):
  """Returns the results of a target: paper | ours | difference.

  Args:
    name: of the target.
    target: a `targets.Target`.
    results: {(row, column): `measure.Result`}, for some of its cells.
  """
  lines = [f'## {name}: {target.title}', '']
  if target.note:
    lines += [target.note, '']
  rows, left_out, notes = [], {}, {}
  for (row, column), found in results.items():
    if isinstance(
      target.methods[row, column], methods.Refused | methods.Quoted
    ):
      left_out[found.text] = left_out.get(found.text, 0) + 1
      continue
    printed = target.table.cells[row, column] if target.table else None
    ours, difference = _compared(printed, found)
    paper = printed.text if printed else ''
    if found.changed:
      number = notes.setdefault(found.changed, len(notes) + 1)
      difference += f', not the settings of the paper [{number}]'
    if note := target.notes.get((row, column)):
      difference += f'; {note}'
    rows.append(f'| {row} | {column} | {paper} | {ours} | {difference} |')
  if rows:
    head = '| | | paper | ours | difference |'
    lines += [head, '|---|---|---|---|---|', *rows, '']
  for changed, number in notes.items():
    lines += [f'[{number}] Does not compare: {"; ".join(changed)}.', '']
  for text, count in left_out.items():
    lines.append(f'{count} numbers: {text}' if count > 1 else text)
  return '\n'.join(lines)


def plan(name, target, overrides=(), data_dir=None):
  """Returns what a target needs: runs, their compute, data sets and files.

  Args:
    name: of the target.
    target: a `targets.Target`.
    overrides: of fields of every fine-tuning.
    data_dir: folder of data sets; None: TFDS's own.
  """
  runs = runs_of(target, overrides)
  lines = [f'## {name}: {target.title}', '', _states(target)]
  changed = dict.fromkeys(
    text
    for method in target.methods.values()
    for text in _changed(method, overrides)
  )
  if changed:
    lines += ['', f'Not the settings of the paper: {"; ".join(changed)}.']
  if not runs:
    return '\n'.join(lines)
  lines += [
    '',
    f'| run | times | exaFLOPs | {_HOURS} | reads |',
    '|---|---|---|---|---|',
  ]
  for run in runs:
    reads = ', '.join((*run.datasets, *run.files))
    lines.append(
      f'| `{run.command}` | {run.count} | {_short(run.exaflops)} | '
      f'{_short(costs.hours(run.exaflops))} | {reads} |'
    )
  return '\n'.join([*lines, '', _UNIT, '', *_stock(runs, data_dir)])


def runs_of(target, overrides=()):
  """Returns the `costs.Run`s of a target, each once."""
  return tuple(
    dict.fromkeys(
      run
      for method in target.methods.values()
      for run in costs.runs(method, overrides)
    )
  )


def _changed(method, overrides):
  """Yields which settings of a method are not those of its recipe."""
  if isinstance(method, methods.Averaged):
    for part in method.parts:
      yield from _changed(part, overrides)
  elif isinstance(method, methods.Transferred):
    yield from costs.changed(method.recipe, overrides)


def _stock(runs, data_dir):
  """Returns lines that list which data sets and files are present."""
  lines = ['Data sets:', '']
  for name in _unique(name for run in runs for name in run.datasets):
    lines.append(f'- {name}: {costs.where(name, data_dir)}')
  lines += ['', 'Files:', '']
  for url in _unique(file for run in runs for file in run.files):
    lines.append(f'- {url}{costs.stock(url)}')
  return lines


def _states(target):
  """Returns how many numbers are in which state; no count where all are."""
  states = [_state(method) for method in target.methods.values()]
  different = sorted(_unique(states), key=_rank)
  if target.table is None or len(different) == 1:
    return '; '.join(different)
  return '; '.join(f'{states.count(state)} {state}' for state in different)


def _rank(state):
  """Returns the sort key of a state: reproduced first, then ready."""
  return ('reproduced', 'ready', state).index(state)


def _state(method):
  if isinstance(method, methods.Quoted):
    return method.source
  if not isinstance(method, methods.Refused):
    return _STATES[type(method)]
  instead = f'; instead: {method.analogue}' if method.analogue else ''
  return f'refused ({method.reason}{instead})'


def _needs(runs):
  """Returns data sets and files; VTAB's tasks and a folder's files as one."""
  names = _unique(
    f'{name.partition("/")[0]}/*' if vtab.find(name) else name
    for run in runs
    for name in run.datasets
  )
  folders = {}
  for file in _unique(file for run in runs for file in run.files):
    folder, _, name = file.removeprefix('gs://vit_models/').rpartition('/')
    folders.setdefault(folder, []).append(name)
  for folder, files in folders.items():
    is_one = len(files) == 1
    names.append(files[0] if is_one else f'{folder} ({len(files)} files)')
  return ', '.join(names)


def _compared(printed, found):
  """Returns our number and its difference from the printed one, as text."""
  if found.value is None:
    return '', found.text
  decimals = max(printed.decimals, 1) if printed else 2
  value, unit = found.value, 1.0
  if printed and printed.text[-1] in 'kM':
    unit = {'k': 1e3, 'M': 1e6}[printed.text[-1]]
  suffix = printed.text[-1] if unit > 1 else ''
  ours = f'{value / unit:.{decimals}f}{suffix}'
  if float(value).is_integer() and unit == 1:
    ours = f'{value:.0f}'
  elif abs(value) < 0.1:
    ours = f'{value:.4g}'
  if found.deviation is not None:
    ours += f'±{found.deviation:.{decimals}f}'
  if not printed:
    return ours, ''
  return ours, _difference(printed.value, value, unit, decimals)


def _difference(printed, value, unit, decimals):
  if math.isclose(printed, value, rel_tol=1e-6):
    return '0'
  relative = f'{100 * (value / printed - 1):+.2f} %'
  return f'{(value - printed) / unit:+.{decimals}f} ({relative})'


def _short(number):
  """Returns a rounded number; '' for 0."""
  if not number:
    return ''
  return f'{number:.2g}' if number < 10 else f'{number:,.0f}'


def _unique(names):
  return list(dict.fromkeys(names))
