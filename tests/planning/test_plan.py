"""A plan tells of a run what compiling it for absent devices tells."""

import pathlib
import re
import subprocess
import sys

import pytest

from vit_jax import errors
from vit_jax.cli import commands, main
from vit_jax.config import schema
from vit_jax.planning import chips, plan, report, topology

ROOT = pathlib.Path(plan.__file__).parents[2]


def some_config(**mesh):
  config = schema.default()
  config.model.name = 'ViT-Ti/8'
  config.model.update({'width': 32, 'depth': 1, 'num_heads': 4})
  config.model.mlp_dim = 64
  config.data.resolution = (16, 32)
  config.data.dataset = 'cifar10'
  config.data.num_classes = 10
  config.mesh.update(mesh)
  config.run.batch_size = 16
  config.run.num_epochs = 320.0
  config.optimizer.warmup_steps = 0
  return config


@pytest.fixture(scope='module')
def made():
  return plan.make(some_config(fsdp=2), chips.parse('h100:8'))


def test_the_state_is_counted_by_hand(made):
  # Stem, class token, positions; layer; last norm; head.
  kernels = 8 * 8 * 3 * 32 + 4 * 32 * 32 + 2 * 32 * 64 + 32 * 10
  others = 32 + 32 + 9 * 32 + (4 * 32 + 64 + 32 + 2 * 64) + 64 + 10
  assert made.num_params == kernels + others
  assert made.params_bytes == 4 * (kernels / 2 + others)
  # Two moments of each; counts, the key and what the step remembers.
  rest = made.optimizer_bytes - 2 * made.params_bytes
  assert 0 < rest < 100


def test_memory_is_that_of_the_compiler(made):
  state = made.params_bytes + made.optimizer_bytes
  images = 16 // 8 * 16 * 32 * 3
  labels = 16 // 8 * (4 + 1 + 4)
  assert made.memory.arguments == pytest.approx(state + images + labels, abs=64)
  # What is donated is not there twice.
  assert made.memory.results < 2000
  assert made.needed == made.memory.total
  assert made.capacity == 80 * 2**30 and made.fits


def test_flops_are_those_of_the_model(made):
  tokens, width, mlp_dim = 9, 32, 64
  block = tokens * (4 * width**2 + 2 * width * mlp_dim)
  block += 2 * tokens**2 * width
  macs = 8 * (8 * 8 * 3 * width) + block + width * 10
  assert made.flops == 16 * 6 * macs


def test_parameters_are_gathered_and_gradients_summed(made):
  assert {('all-gather', 2), ('reduce-scatter', 2)} <= made.traffic.keys()


def row(text, start):
  (line,) = (line for line in text.splitlines() if line.startswith(start))
  return line.removeprefix(start).split()


def test_time_and_money_follow_from_flops(made):
  text = report.text(made, mfu=0.5, price=2.0)
  seconds = made.flops / (8 * 989e12 * 0.5)
  assert float(row(text, 'seconds per step at 50% of the peak')[0]) == (
    pytest.approx(seconds, rel=0.01)
  )
  # CIFAR-10 has 50,000 images to train on.
  assert row(text, 'hours for 1,000,000 steps') == ['0.0']
  hours = 8 * 1e6 * seconds / 3600
  assert row(text, 'chip-hours') == [f'{hours:,.0f}']
  assert row(text, 'US dollars') == [f'{2 * hours:,.0f}']
  assert 'set --price' in report.text(made, mfu=0.5, price=None)


def test_it_says_that_cpu_devices_are_not_the_chips(made):
  assert 'those of CPU devices' in report.text(made, 0.4, None)


@pytest.mark.parametrize(
  ('topology', 'message'),
  [
    ('v9:4', "The chip of --topology='v9' is unknown"),
    ('h100:3', 'run.batch_size=16 does not divide over the 3 devices'),
  ],
)
def test_a_mistake_is_told_before_anything_is_compiled(topology, message):
  with pytest.raises(errors.UserError, match=message):
    plan.run(some_config(), topology)


@pytest.mark.parametrize(
  ('flag', 'message'),
  [
    ('--mfu=40', "'40' is not a number above 0 and up to 1, as 0.4"),
    ('--price=cheap', "'cheap' is not a number above 0 and up to 1000"),
    ('--mesh=fsdp', "'fsdp' is not auto; sizes are set as --config.mesh.fsdp"),
    ('--topology=v5p', 'neither CHIP:SHAPE, as v5p:8x8x8'),
    ('--mesh=auto', 'names none; give it as v5p:4x4x4 or h100:64'),
  ],
)
def test_a_mistake_on_the_command_line_is_told(flag, message, capsys):
  argv = ['plan', '--config=configs/quickstart.py', '--topology=8', flag]
  assert main.main(argv) == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize(
  ('message', 'needed'),
  [
    (
      'XLA:TPU compile permanent error. Ran out of memory in memory space hbm. '
      'Used 19.50G of 15.75G hbm. Exceeded hbm capacity by 3.75G.',
      19.5,
    ),
    (
      'Ran out of memory on HBM, the total memory required for HLO temporaries '
      '(18.50G) exceeds available HBM (15.75G).',
      18.5 + 1,
    ),
  ],
)
def test_what_the_compiler_has_no_room_for_does_not_fit(message, needed):
  error = RuntimeError(f'RESOURCE_EXHAUSTED: {message}')
  found = plan._out_of_memory(error, state_bytes=2**30)
  assert found == (needed * 2**30, 15.75 * 2**30)


def test_another_failure_of_the_compiler_is_not_hidden():
  with pytest.raises(RuntimeError, match='19G of 20G are green'):
    plan._out_of_memory(RuntimeError('19G of 20G are green'), 0)


def test_what_does_not_fit_comes_with_advice(made):
  assert plan.dataclasses.replace(made, capacity=made.needed).fits
  tight = plan.dataclasses.replace(made, capacity=made.needed - 1)
  text = report.text(tight, 0.4, None)
  assert 'DOES NOT FIT' in text
  for field in (
    'mesh.fsdp=8',
    'model.dtype=bfloat16',
    'model.remat=full',
    'optimizer.accumulation_steps=2',
    'model.scan=true',
  ):
    assert f'--config.{field}' in text


def in_a_fresh_process(*arguments, code=None):
  """Returns what `vit_jax plan` shows where JAX has not started yet."""
  runner = ('-c', code) if code else ('-m', 'vit_jax.cli')
  shown = subprocess.run(
    [sys.executable, *runner, 'plan', *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert shown.returncode == 0, shown.stderr
  return shown


@pytest.mark.parametrize(
  ('mesh', 'told'), [([], 'DOES NOT FIT'), (['--mesh=auto'], 'No candidate')]
)
def test_what_does_not_fit_is_told_by_the_status(
  mesh, told, made, monkeypatch, capsys
):
  tight = plan.dataclasses.replace(made, capacity=1)
  monkeypatch.setattr(plan, 'make', lambda *_: tight)
  monkeypatch.setattr(plan, '_devices', lambda _: None)
  argv = ['plan', '--config=configs/quickstart.py', '--topology=h100:8', *mesh]
  assert main.main([*argv, '--config.run.batch_size=16']) == 1
  assert told in capsys.readouterr().out
  monkeypatch.setattr(plan, 'make', lambda *_: made)
  assert main.main([*argv, '--config.run.batch_size=16']) == 0


def test_the_command_plans_on_more_devices_than_there_are():
  # With 16 devices; others have started with 8. In bfloat16, the choice of
  # attention depends on the platform.
  shown = in_a_fresh_process(
    *('--topology=h100:16', '--mesh=auto', '--mfu=0.3'),
    *('--config=configs/quickstart.py', '--config.model.dtype=bfloat16'),
    *('--config.model.depth=1', '--config.model.width=16'),
  )
  assert re.search(r'mesh.data=-1 mesh.fsdp=1 +\S+ +fits', shown.stdout)
  assert 'mesh data=16 x fsdp=1 x tensor=1' in shown.stdout
  assert re.search(r'all-reduce +16 ', shown.stdout)
  assert 'at 30% of the peak' in shown.stdout
  assert 'rematerialization' not in shown.stderr


# Stops where the compiler would begin, and shows for which devices.
DRY = """
import sys
from vit_jax.cli import main
from vit_jax.training import assembly

def stop(components, run):
  devices = components.mesh.devices
  print(devices.size, devices.flat[0].platform)
  sys.exit(0)

assembly.Components.lower_train_step = stop
sys.exit(main.main())
"""


@pytest.mark.parametrize('example', commands.COMMANDS['plan'].examples)
def test_the_examples_of_the_help_reach_the_compiler(example):
  arguments = example.split()
  (name,) = (text.partition('=')[2] for text in arguments if 'topology' in text)
  shown = in_a_fresh_process(*arguments, code=DRY).stdout
  is_tpu = chips.parse(name).is_tpu and topology.has_tpu_compiler()
  platform = 'tpu' if is_tpu else 'cpu'
  assert shown == f'{chips.parse(name).num_devices} {platform}\n'


@pytest.mark.parametrize('mesh', ['--config.mesh.fsdp=4', '--mesh=auto'])
@pytest.mark.parametrize(
  ('name', 'platform'),
  [
    ('h100:12', 'cpu'),
    pytest.param(
      'v5e:2x4',
      'tpu',
      marks=pytest.mark.skipif(
        not topology.has_tpu_compiler(), reason='needs the extra vit_jax[tpu]'
      ),
    ),
  ],
)
def test_bfloat16_is_planned_in_a_fresh_process(name, platform, mesh):
  shown = in_a_fresh_process(
    *(f'--topology={name}', mesh, '--config=pretrain/vit_i21k.py'),
    *('--config.run.batch_size=48', '--config.model.depth=1'),
    code=DRY,
  )
  assert shown.stdout == f'{chips.parse(name).num_devices} {platform}\n'
