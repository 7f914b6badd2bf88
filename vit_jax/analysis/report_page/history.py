"""The course of a run: its curves, its speed, and where its time went."""

import datetime
import itertools
import math
import statistics
from typing import NamedTuple

from vit_jax import errors
from vit_jax.analysis.report_page import logs as run_logs
from vit_jax.training import plots
from vit_jax.training.runtime import lock, metrics_file, timings

MAX_POINTS = 2000  # Of a curve; of a longer one, the extremes are kept.
_MAX_SECONDS = 1e10  # Of what is written as days, hours and minutes.
_COUNTS = ('num_examples', 'num_patches')  # Of evaluations, and no curves.
# What is known of a metric: title, unit, whether its axis may be logarithmic.
_TITLES = {
  'loss': ('Loss', 'nats', True),
  'accuracy': ('Accuracy', 'fraction', False),
  'top5': ('Top-5 accuracy', 'fraction', False),
  'learning_rate': ('Learning rate', '', True),
  'gradient_norm': ('Gradient norm', '', True),
  'parameter_norm': ('Parameter norm', '', True),
  'skipped': ('Skipped updates', 'steps', False),
}
_SPEED = {
  'images_per_second': ('Images per second', 'images/s', True),
  'mfu': ('Model FLOPs utilization (MFU)', 'fraction', False),
  'step_median': ('Seconds per step, median', 's', True),
  'data_wait': ('Waiting for data, of an interval', 's', False),
  'memory_peak': ('Peak memory of the fullest device', 'bytes', False),
  'goodput': ('Goodput', 'fraction', False),
}


class History(NamedTuple):
  """What is known of the course of a run.

  Attributes:
    records: of its metrics; see `metrics_file`.
    timings: its records; see `timings`.
    problems: lines of text on what could not be read.
    resumed: steps that it was resumed at.
    rolled_back: pairs of steps, from and to.
    best: step of the best evaluation, or None.
  """

  records: list
  timings: list
  problems: list
  resumed: list
  rolled_back: list
  best: int | None


def read(workdir, logs):
  """Returns the `History` of a run; what can't be read is told in `problems`.

  Args:
    workdir: folder of the run.
    logs: its `logs.Logs`.
  """
  problems = []
  try:
    records, found = metrics_file.readable(workdir)
    records = [_as_numbers(record) for record in records]
    problems += found
  except (errors.UserError, OSError) as error:
    records, problems = [], [*problems, str(error)]
  try:
    timed, num_bad = timings.read(workdir)
  except (errors.UserError, OSError) as error:
    timed, num_bad = [], 0
    problems.append(str(error))
  if num_bad:
    problems.append(f'{timings.FILE}: {num_bad:,} line(s) are not readable.')
  return History(
    records,
    timed,
    problems,
    run_logs.resumed(logs),
    run_logs.rolled_back(logs),
    plots.best_step(records),
  )


def _as_numbers(record):
  """Returns a record of metrics, whose numbers a stranger may have quoted."""
  numbers = {
    name: float(value)
    for name, value in record.items()
    if name not in ('step', 'split')
  }
  return {'step': int(record['step']), 'split': record['split'], **numbers}


# Curves -----------------------------------------------------------------------


def curves(past):
  """Returns the curves of the metrics; see `_curve`."""
  by_name = {}
  for record in past.records:
    for name, value in record.items():
      if name in ('step', 'split', *_COUNTS):
        continue
      points = by_name.setdefault(name, {}).setdefault(record['split'], {})
      points[int(record['step'])] = float(value)
  if not any(by_name.get('skipped', {}).get('train', {}).values()):
    by_name.pop('skipped', None)
  names = [name for name in _TITLES if name in by_name]
  names += [name for name in by_name if name not in _TITLES]
  return [
    _curve(name, *_TITLES.get(name, (name, '', True)), by_name[name], past.best)
    for name in names
  ]


def speed_curves(past):
  """Returns the curves of the timings; see `_curve`."""
  kept = [r for r in _that_count(past.timings) if r['event'] == timings.TRAIN]
  found = []
  for name, title in _SPEED.items():
    points = {r['step']: r[name] for r in kept if name in r}
    if points and (name != 'data_wait' or any(points.values())):
      found.append(_curve(name, *title, {'train': points}, None))
  return found


def _curve(name, title, unit, may_be_log, splits, best):
  """Returns {'name', 'title', 'unit', 'log', 'series', 'best'} of a metric.

  A series is {'split', 'steps', 'values', 'total'}: 'total' points, of which
  those drawn are given.

  Args:
    splits: {'train' or 'eval': {step: value}}.
    best: step of the best evaluation, or None.
  """
  series = []
  for split in ('train', 'eval'):
    points = sorted(splits.get(split, {}).items())
    shown = _extremes(points, MAX_POINTS)
    if shown:
      steps, values = zip(*shown)
      series.append(
        {
          'split': split,
          'steps': steps,
          'values': values,
          'total': len(points),
        }
      )
  marked = best if best in splits.get('eval', {}) else None
  return {
    'name': errors.shown(name),
    'title': errors.shown(title),
    'unit': unit,
    'log': may_be_log,
    'series': series,
    'best': marked if name in ('loss', 'accuracy') else None,
  }


def _extremes(points, limit):
  """Returns points, no more than `limit`: the extremes of each stretch.

  First and last stay, and what is not finite is left out of a stretch that has
  other points.
  """
  if len(points) <= limit:
    return points
  count = limit // 2 - 1
  inner, kept = points[1:-1], []
  for k in range(count):
    part = inner[len(inner) * k // count : len(inner) * (k + 1) // count]
    finite = [each for each in part if math.isfinite(each[1])] or part[:1]
    ends = {min(finite, key=_value), max(finite, key=_value)}
    kept += sorted(ends)
  return [points[0], *kept, points[-1]]


def _value(point):
  return point[1]


def marks(past):
  """Returns [{'step', 'text'}] of resumptions and rollbacks."""
  resumed = [
    {'step': s, 'text': f'resumed at step {s:,}'} for s in past.resumed
  ]
  return resumed + [
    {'step': step, 'text': f'rolled back from step {step:,} to {before:,}'}
    for step, before in past.rolled_back
  ]


# Time -------------------------------------------------------------------------


def _that_count(records):
  """Returns the records of intervals that were not lost, in order.

  After a crash, steps are taken anew from the last checkpoint: what had been
  recorded of them before does not count.
  """
  starts = [[]]
  for record in records:
    if record['event'] == timings.START:
      starts.append([])
    else:
      starts[-1].append(record)
  kept, first = [], math.inf  # The first step that a later start has taken.
  for start in reversed(starts):
    kept.append([record for record in start if record['step'] < first])
    taken = [r['step'] for r in start if r['event'] == timings.TRAIN]
    first = min([first, *taken])
  return list(itertools.chain.from_iterable(reversed(kept)))


def time_spent(past):
  """Returns where the time since the first start went.

  Returns:
    None: it was not recorded; else {'total': seconds until the last record,
    'parts': [{'name', 'seconds'}], which add up to it, 'rows': [(name, text)]}.
  """
  records = past.timings
  if len(records) < 2:
    return None
  total = max(r['time'] for r in records) - records[0]['time']
  kept = _that_count(records)
  useful = kept[-1]['useful_seconds'] if kept else 0.0
  sums = {
    name: sum(record.get(name, 0.0) for record in kept)
    for name in ('data_wait', 'evaluation', 'save', 'profile')
  }
  waited = min(sums['data_wait'], useful)
  parts = [
    ('Training steps', useful - waited),
    ('Steps waiting for data', waited),
    ('Evaluations', sums['evaluation']),
    ('Saving checkpoints', sums['save']),
    ('Profiling', sums['profile']),
  ]
  rest = total - sum(seconds for _, seconds in parts)
  parts.append(('Start-up, compilation, lost steps, pauses', max(rest, 0.0)))
  total = sum(seconds for _, seconds in parts)
  if total <= 0:
    return None
  return {
    'total': total,
    'parts': [
      {'name': name, 'seconds': seconds, 'text': _duration(seconds)}
      for name, seconds in parts
      if seconds > 0
    ],
    'rows': _speed_rows(kept, total),
  }


def _speed_rows(kept, total):
  rates = [r for r in kept if r['event'] == timings.TRAIN]
  rows, rate = [('Since the first start', _duration(total))], None
  for name, title, form in (
    ('images_per_second', 'Images per second, median', '{:,.4g}'),
    ('images_per_second_per_chip', 'Images per second and chip', '{:,.4g}'),
    ('mfu', 'MFU, median', '{:.1%}'),
    ('step_median', 'Seconds per step, median', '{:.4g}'),
    ('goodput', 'Goodput at the end', '{:.1%}'),
  ):
    values = [r[name] for r in rates if name in r]
    if values:
      last = name == 'goodput'
      value = values[-1] if last else statistics.median(values)
      if (name, value) != ('images_per_second_per_chip', rate):
        rows.append((title, form.format(value)))
      rate = value
  return rows


def _duration(seconds):
  if not 10 <= seconds < _MAX_SECONDS:
    return f'{seconds:.2g} s'
  return str(datetime.timedelta(seconds=round(seconds)))


# In short ---------------------------------------------------------------------


def tiles(past):
  """Returns [{'label', 'value', 'note'}], the run in a few numbers."""
  found = []
  evaluations = [r for r in past.records if r['split'] == 'eval']
  steps = [
    int(r['step']) for r in (*past.records, *past.timings) if 'step' in r
  ]
  if steps:
    found.append(_tile('Steps', f'{max(steps):,}', 'the last one on record'))
  if evaluations:
    last = evaluations[-1]
    best = next((r for r in evaluations if int(r['step']) == past.best), last)
    note = f'evaluation, step {int(last["step"]):,}'
    if 'accuracy' in last:
      found.append(_tile('Last accuracy', _percent(last['accuracy']), note))
      if best is not last:
        found.append(
          _tile(
            'Best accuracy',
            _percent(best['accuracy']),
            f'evaluation, step {int(best["step"]):,}',
          )
        )
    if 'loss' in last:
      found.append(_tile('Last loss', f'{last["loss"]:.4g}', note))
  kept = [r for r in _that_count(past.timings) if r['event'] == timings.TRAIN]
  rates = [r['images_per_second'] for r in kept if 'images_per_second' in r]
  if rates:
    found.append(
      _tile('Images per second', f'{statistics.median(rates):,.0f}', 'median')
    )
  spent = time_spent(past)
  if spent:
    found.append(
      _tile('Time', _duration(spent['total']), 'since the first start')
    )
  return found


def _tile(label, value, note):
  return {'label': label, 'value': value, 'note': note}


def _percent(value):
  return f'{100 * value:.2f} %' if math.isfinite(value) else 'not finite'


def state(workdir, past, logs):
  """Returns {'kind', 'text'}: whether the run is finished, running, stopped.

  With 'note', where the run has said why it has ended.
  """
  try:
    if lock.is_held(workdir):
      return {'kind': 'running', 'text': 'running'}
  except OSError as error:
    return {'kind': 'unknown', 'text': f'state not known: {error}'}
  if past.timings and past.timings[-1]['event'] == timings.END:
    return {'kind': 'finished', 'text': 'finished'}
  end = run_logs.last_end(logs)
  if end == 'done':
    return {'kind': 'finished', 'text': 'finished'}
  if end:
    return {'kind': 'stopped', 'text': 'stopped', 'note': errors.shown(end)}
  if past.timings or logs.lines:
    return {'kind': 'stopped', 'text': 'not running, and not finished'}
  return {'kind': 'unknown', 'text': 'state not known: no logs, no timings'}
