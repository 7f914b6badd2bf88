"""How fast training and inference steps are, beside other people's.

  python benchmarks/step.py --models=ViT-S/16 --batch_size=8 \\
    --peer_python=/path/to/python --change=model.scan=True \\
    --config.model.dtype=bfloat16

The batch is on the device from the start. A training step takes gradients,
clips them, makes an update of Adam on float32 parameters and returns loss and
accuracy. Each engine lives in a process of its own; they step in turns, one at
a time, and a turn ends when its last step has. A ratio is taken within a round
of turns; the tables have the medians over rounds, after one that doesn't count.

Fields of the configuration are set by --config.FIELD=VALUE, for all engines as
far as they have such a thing. Each --change=FIELD=VALUE,... adds an engine of
ours with these fields changed. `plain` is a ViT of Flax's own layers with
optax's Adam in float32, as the released code has it. Engines on PyTorch (timm,
compiled; transformers) need a Python that has it.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
WORKERS_PLATFORMS = os.environ.get('JAX_PLATFORMS')
os.environ['JAX_PLATFORMS'] = 'cpu'  # Here nothing is computed.

import jax  # noqa: E402
import step_report  # noqa: E402

from vit_jax import errors, models  # noqa: E402
from vit_jax.config import overrides, schema  # noqa: E402
from vit_jax.nn import flop_count, patches  # noqa: E402
from vit_jax.training import assembly  # noqa: E402

NUM_CLASSES = 1000
MODES = ('train', 'infer')
ON_TORCH = ('timm', 'timm_autotuned', 'transformers')
PEERS = ('plain', *ON_TORCH)


class Worker:
  """The process of an engine; `prepared` tells what it said at its start."""

  def __init__(self, script, engine, case, python):
    self._engine = engine
    self._process = subprocess.Popen(
      [python, HERE / script, engine, json.dumps(case)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      bufsize=1,
      env=_environment(),
    )
    self.prepared = self._answer()

  def turn(self, seconds):
    """Returns what a turn of about so many seconds gave, per step."""
    count = max(1, round(seconds / self.prepared['step']))
    print(count, file=self._process.stdin)
    answer = self._answer()
    return step_report.Turn(answer['seconds'] / count, answer['memory'])

  def close(self):
    self._process.stdin.close()
    self._process.wait()

  def _answer(self):
    line = self._process.stdout.readline()
    if not line:
      raise SystemExit(f'{self._engine} failed, as told above.')
    return json.loads(line)


def _environment():
  environment = dict(os.environ)
  # Several processes share the memory of a device.
  environment['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  # Compilation is timed, so nothing is to be found that was compiled before.
  environment['TORCHINDUCTOR_FORCE_DISABLE_CACHES'] = '1'
  environment.pop('JAX_COMPILATION_CACHE_DIR', None)
  environment.pop('JAX_PLATFORMS')
  if WORKERS_PLATFORMS is not None:
    environment['JAX_PLATFORMS'] = WORKERS_PLATFORMS
  return environment


def describe(config, train):
  """Returns what every engine is told of what it is to compute.

  Raises:
    UserError: the configuration does not fit itself, or is of no plain ViT.
  """
  assembly.validate(config, num_devices=1)
  model = models.build(config.model, NUM_CLASSES)
  if not isinstance(getattr(model, 'stem', None), patches.PatchEmbedding):
    raise errors.UserError(
      f'model.name={config.model.name}: only a plain ViT, such as ViT-B/16, '
      'has the same layers everywhere.'
    )
  return {
    'config': overrides.flatten(config),
    'train': train,
    'image_size': schema.image_size(config.data),
    'batch_size': config.run.batch_size,
    'num_classes': NUM_CLASSES,
    'dtype': config.model.dtype,
    'patch_size': model.stem.patch_size,
    'width': model.stem.width,
    'depth': model.encoder.depth,
    'num_heads': model.encoder.block.num_heads,
    'mlp_dim': model.encoder.block.mlp_dim,
  }


def flops_per_step(config, train):
  """Returns the operations of the matrix products of one step."""
  model = models.build(config.model, NUM_CLASSES)
  images = jax.ShapeDtypeStruct(
    (1, *schema.image_size(config.data), 3), 'float32'
  )

  def init(images):
    return model.init(jax.random.key(0), images, train=False)

  def apply(params, images):
    return model.apply(params, images, train=False).logits

  count = flop_count.training_flops if train else flop_count.forward_flops
  params = jax.eval_shape(init, images)
  return config.run.batch_size * count(apply, params, images)


def start(args, config, train):
  """Returns {label: Worker}, all ready to step; they get ready one by one."""
  case = describe(config, train)
  workers = {}
  for engine in (*step_report.CEILINGS, step_report.OURS, *args.peers):
    on_torch = engine in ON_TORCH
    python = args.peer_python if on_torch else sys.executable
    if python:
      script = 'step_torch.py' if on_torch else 'step_jax.py'
      workers[engine] = Worker(script, engine, case, python)
  for change in args.change:
    case = describe(configure(args, config.model.name, change), train)
    workers[f'{step_report.OURS}, {change}'] = Worker(
      'step_jax.py', step_report.OURS, case, sys.executable
    )
  return workers


def take_turns(workers, num_rounds, seconds):
  """Returns {label: a `Turn` of each round}; the order alternates."""
  order = list(workers)
  turns = {label: [] for label in order}
  for _ in range(1 + num_rounds):
    for label in order:
      turns[label].append(workers[label].turn(seconds))
    order.reverse()
  return {label: taken[1:] for label, taken in turns.items()}


def configure(args, model, change=''):
  """Returns the configuration of a model, with fields changed."""
  config = schema.default()
  config.model.name = model
  config.run.batch_size = args.batch_size
  config.run.num_steps = 10_000
  config.mesh.data = 1  # Peers take one device.
  config.optimizer.clip_norm = 1.0
  assignments = [f'--config.{a}' for a in change.split(',') if a]
  for argument in (*args.overrides, *assignments):
    overrides.override(config, argument)
  return config


def measure(args, model, train):
  """Returns the `Results` of training or inference steps of one model."""
  config = configure(args, model)
  workers = start(args, config, train)
  try:
    turns = take_turns(workers, args.rounds, args.seconds)
    prepared = {label: worker.prepared for label, worker in workers.items()}
  finally:
    for worker in workers.values():
      worker.close()
  return step_report.Results(
    title=title(args, model, train),
    batch_size=config.run.batch_size,
    flops=flops_per_step(config, train),
    prepared=prepared,
    turns=turns,
  )


def title(args, model, train):
  parts = [model, 'training' if train else 'inference']
  parts += [f'batch of {args.batch_size}']
  parts += [override.removeprefix('--config.') for override in args.overrides]
  return ', '.join([*parts, *(f'or {change}' for change in args.change)])


def parse():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--models', default='ViT-Ti/16,ViT-S/16,ViT-B/32')
  parser.add_argument('--modes', default='train,infer')
  parser.add_argument('--batch_size', type=int, default=8)
  parser.add_argument('--peers', default='plain,timm,transformers')
  parser.add_argument('--change', action='append', default=[])
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--seconds', type=float, default=2.0, help='of a turn')
  parser.add_argument('--results', type=pathlib.Path, default=HERE / 'results')
  has_torch = importlib.util.find_spec('torch') is not None
  parser.add_argument(
    '--peer_python', default=sys.executable if has_torch else None
  )
  args, args.overrides = parser.parse_known_args()
  for name in 'models', 'modes', 'peers':
    setattr(args, name, list(filter(None, getattr(args, name).split(','))))
  for peer in args.peers:
    errors.choose('An entry of --peers', peer, dict.fromkeys(PEERS))
  for mode in args.modes:
    errors.choose('An entry of --modes', mode, dict.fromkeys(MODES))
  return args


def main():
  try:
    run(parse())
  except errors.UserError as error:
    raise SystemExit(f'error: {error}') from error


def run(args):
  command = shlex.join(['python', 'benchmarks/step.py', *sys.argv[1:]])
  for model in args.models:
    for mode in args.modes:
      results = measure(args, model, mode == 'train')
      text = step_report.render(results, command)
      print(text, flush=True)
      step_report.save(args.results, results, text)


if __name__ == '__main__':
  main()
