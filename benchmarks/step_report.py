"""What benchmarks/step.py has measured, as tables in a page per device."""

import datetime
import math
import os
import pathlib
import platform
import re
import statistics
from typing import Any, NamedTuple

from vit_jax.sharding import accelerators

OURS = 'vit_jax'  # What the others are compared with.
CEILINGS = ('matmul', 'copy')  # Of operations and of bytes per second.
# What JAX calls a device, where that is not the name that is on sale.
KINDS = {'v5 lite': 'v5e', 'v6 lite': 'v6e'}


class Turn(NamedTuple):
  """A turn of an engine: seconds per step, and bytes held at most."""

  seconds: float
  memory: float


class Results(NamedTuple):
  """What was measured side by side.

  Attributes:
    title: what every engine has computed.
    batch_size: images per step.
    flops: operations of the matrix products of a step.
    prepared: {engine: what its worker said at its start}.
    turns: {engine: a `Turn` of each round}.
  """

  title: str
  batch_size: int
  flops: float
  prepared: dict[str, Any]
  turns: dict[str, list[Turn]]


def interval(values):
  """Returns (low, high), which hold the median with 95 % confidence.

  Order statistics, whatever the distribution; the extremes if fewer than six
  values leave no choice.
  """
  values, n = sorted(values), len(values)
  outside, k = 2 * 0.5**n, 0  # Chance that k or fewer lie on one side.
  while outside + 2 * math.comb(n, k + 1) * 0.5**n <= 0.05:
    k += 1
    outside += 2 * math.comb(n, k) * 0.5**n
  return values[k], values[n - 1 - k]


def render(results, command):
  """Returns a section of Markdown: how it was measured, and a table."""
  made_of = {}
  for prepared in results.prepared.values():
    made_of.update(prepared['versions'])
  product, copy = (_rate(results, name) for name in CEILINGS)
  lines = [
    f'## {results.title}',
    '',
    f'`{command}`, {datetime.date.today()}: medians of '
    f'{len(results.turns[OURS])} rounds on {_machine(results)}. '
    f'Python {platform.python_version()}, '
    f'{", ".join(map(" ".join, made_of.items()))}. '
    f'A step multiplies matrices for {results.flops / 1e9:.1f} GFLOP; in the '
    f'same run, one large product went at {product / 1e12:.3g} TFLOP/s and a '
    f'copy at {copy / 1e9:.0f} GB/s.',
    '',
    '| engine | images/s | vit_jax / this (95 %) | of the product | MFU '
    '| memory, MB | compiled in, s |',
    '|---|---|---|---|---|---|---|',
  ]
  names = [name for name in results.turns if name not in CEILINGS]
  return '\n'.join([*lines, *(_row(results, name) for name in names)]) + '\n'


def save(folder, results, text):
  """Puts a section into the page of its device, in place of its like."""
  folder.mkdir(parents=True, exist_ok=True)
  name = re.sub(r'\W+', '_', _device(results).lower())
  page = folder / f'{name}.md'
  old = page.read_text() if page.exists() else ''
  sections = {
    section.partition('\n')[0]: section.strip()
    for section in re.split(r'^## ', old, flags=re.M)
    if section.strip()
  }
  new = text.removeprefix('## ').strip()
  sections[new.partition('\n')[0]] = new
  page.write_text(
    '\n\n'.join(f'## {part}' for part in sections.values()) + '\n'
  )


def _row(results, name):
  turns = results.turns[name]
  step = statistics.median(turn.seconds for turn in turns)
  ratios = [
    turn.seconds / ours.seconds
    for turn, ours in zip(turns, results.turns[OURS])
  ]
  low, high = interval(ratios)
  flops = results.flops / step
  peak = _peak(_device(results))
  return (
    f'| {name} | {results.batch_size / step:.4g} '
    f'| {statistics.median(ratios):.3f} ({low:.3f}-{high:.3f}) '
    f'| {flops / _rate(results, "matmul"):.1%} '
    f'| {f"{flops / peak:.1%}" if peak else ""} '
    f'| {statistics.median(turn.memory for turn in turns) / 1e6:.0f} '
    f'| {results.prepared[name]["compile"]:.1f} |'
  )


def _rate(results, ceiling):
  """Returns the operations or bytes per second of a ceiling."""
  turns = results.turns[ceiling]
  step = statistics.median(turn.seconds for turn in turns)
  return results.prepared[ceiling]['work'] / step


def _device(results):
  return results.prepared[OURS]['device']


def _peak(device):
  """Returns the operations per second that a device may make; or None."""
  for part, name in KINDS.items():
    device = device.replace(part, name)
  for name, chip in accelerators.CHIPS.items():
    if name in device.lower():
      return chip.peak / chip.devices
  return None


def _machine(results):
  device = _device(results)
  if device != 'cpu':
    return device
  cpuinfo = pathlib.Path('/proc/cpuinfo')
  text = cpuinfo.read_text() if cpuinfo.exists() else ''
  model = re.search(r'model name\s*: (.*)', text)
  processor = model[1] if model else platform.machine()
  return f'{os.cpu_count()} cores of {processor}'
