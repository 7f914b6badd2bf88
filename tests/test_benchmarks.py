"""The benchmark of steps runs, and compares like with like."""

import itertools
import pathlib
import re
import subprocess
import sys
import time

import jax
import pytest

from vit_jax import errors, models
from vit_jax.config import schema
from vit_jax.nn import flop_count

BENCHMARKS = pathlib.Path(__file__).parents[1] / 'benchmarks'
sys.path.append(str(BENCHMARKS))  # Its scripts import their neighbours.

import step  # noqa: E402
import step_jax  # noqa: E402
import step_report  # noqa: E402

TINY = (
  '--config.model.width=16',
  '--config.model.depth=1',
  '--config.model.num_heads=2',
  '--config.model.mlp_dim=32',
  '--config.data.resolution=(32,)',
)


def some_results(title='ViT-B/16, training', seconds=(1.0, 1.0, 1.0)):
  prepared = {'device': 'cpu', 'work': 8e9, 'versions': {}, 'compile': 2.5}
  ours = [step_report.Turn(each, 3e6) for each in seconds]
  other = [step_report.Turn(2 * each, 4e6) for each in seconds]
  turns = {'matmul': ours, 'copy': ours, 'vit_jax': ours, 'plain': other}
  return step_report.Results(
    title, 8, 4e9, dict.fromkeys(turns, prepared), turns
  )


def cells(text, engine):
  line = next(ln for ln in text.splitlines() if ln.startswith(f'| {engine} '))
  return [cell.strip() for cell in line.strip('|').split('|')]


def test_every_engine_is_timed_on_the_same_step(tmp_path):
  command = [sys.executable, BENCHMARKS / 'step.py', *TINY]
  command += ['--models=ViT-Ti/16', '--modes=train', '--peers=plain']
  command += ['--rounds=1', '--seconds=0.01', f'--results={tmp_path}']
  began = time.monotonic()
  run = subprocess.run(command, check=True, capture_output=True, text=True)
  seconds = time.monotonic() - began
  assert (tmp_path / 'cpu.md').read_text().strip() == run.stdout.strip()
  for engine in 'vit_jax', 'plain':
    _, speed, _, share, _, memory, compiled = cells(run.stdout, engine)
    assert float(speed) > 0
    # How large it is depends on what else the machine does at this moment.
    assert re.fullmatch(r'\d+\.\d%', share)
    assert 0 < float(memory) < 10_000
    assert 0 < float(compiled) < seconds


def test_the_plain_peer_has_the_parameters_and_products_of_ours():
  config = schema.default()
  config.model.name = 'ViT-S/16'
  config.run.num_steps = 1
  config.optimizer.warmup_steps = 0
  case = step.describe(config, train=True)
  names = step_jax.PlainViT.__dataclass_fields__.keys() & case.keys()
  plain = step_jax.PlainViT(**{name: case[name] for name in names})
  ours = models.build(config.model, step.NUM_CLASSES)
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), 'float32')

  def measures(apply, init):
    params = jax.eval_shape(init, images)
    sizes = sorted(leaf.size for leaf in jax.tree.leaves(params))
    return sizes, flop_count.forward_flops(apply, params, images)

  key = jax.random.key(0)
  assert measures(
    plain.apply, lambda images: plain.init(key, images)
  ) == measures(
    lambda params, images: ours.apply(params, images, train=False).logits,
    lambda images: ours.init(key, images, train=False),
  )


def test_a_ratio_is_taken_within_its_round():
  text = step_report.render(some_results(seconds=(1.0, 5.0, 2.0)), 'command')
  assert cells(text, 'vit_jax')[2] == '1.000 (1.000-1.000)'
  assert cells(text, 'plain')[1:4] == ['2', '2.000 (2.000-2.000)', '25.0%']
  assert cells(text, 'plain')[5:] == ['4', '2.5']


def test_a_section_takes_the_place_of_its_like_alone(tmp_path):
  for title, seconds in ('one', 1.0), ('two', 1.0), ('one', 4.0):
    results = some_results(title, (seconds,))
    step_report.save(tmp_path, results, step_report.render(results, 'command'))
  page = (tmp_path / 'cpu.md').read_text()
  first, second = page.removeprefix('## ').split('## ')
  assert first.startswith('one\n')
  assert cells(first, 'vit_jax')[1] == '2'
  assert second.startswith('two\n')
  assert cells(second, 'vit_jax')[1] == '8'


@pytest.mark.parametrize('count', range(6, 14))
def test_the_interval_holds_the_median_as_often_as_it_says(count):
  low, high = step_report.interval(range(count))

  def coverage(low, high):
    """Counts, over all ways that values fall below and above the median."""
    below = [sum(sides) for sides in itertools.product((0, 1), repeat=count)]
    return sum(low < number <= high for number in below) / len(below)

  assert coverage(low, high) >= 0.95
  assert coverage(low + 1, high - 1) < 0.95


def test_what_peers_do_not_have_is_refused():
  config = schema.default()
  config.model.name = 'R50+ViT-B/16'
  config.run.num_steps = 1
  config.optimizer.warmup_steps = 0
  with pytest.raises(errors.UserError, match='only a plain ViT'):
    step.describe(config, train=False)
