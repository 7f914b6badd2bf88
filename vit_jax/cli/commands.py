"""The commands of `vit_jax`, as a table; their flags are in `flags`.

What a command does is in the module it calls, which is imported only when the
command runs, so that help is instant.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from vit_jax.cli import output
from vit_jax.training.runtime import preemption


class Either(NamedTuple):
  """A positional argument whose value tells which flag it stands for."""

  flags: tuple  # Those that it may stand for.
  choose: Callable  # Returns one of them, for a value.


class Command(NamedTuple):
  """A row of the table of commands."""

  run: Callable  # Takes the parsed arguments.
  purpose: str  # One line.
  flags: tuple  # Names of rows of `flags.FLAGS`.
  required: tuple  # Those of them that must be given.
  examples: tuple  # Arguments, as they follow the name of the command.
  bare: tuple = ()  # The flags that positional arguments stand for, in order,
  # or `Either`; one that repeats stands for all that follow.
  overrides: bool = False  # Takes --config.FIELD=VALUE without a recipe.

  @property
  def takes_overrides(self):
    return self.overrides or 'config' in self.flags


@contextlib.contextmanager
def _running(coordinator=None, num_processes=None, process_id=None):
  """A context for long-running commands; on a stop signal, exits with a status.

  Args: see `distributed.join`.
  """
  with preemption.Stop():  # The imports take a while, too.
    from vit_jax.training.runtime import agreement, distributed, startup

    startup.use_compilation_cache()
    with distributed.joined(coordinator, num_processes, process_id) as part:
      startup.keep_freed_memory()
      try:
        yield
      except preemption.Preempted as stopped:
        print(stopped, file=sys.stderr)
        part()
        agreement.leave(preemption.STATUS)


def _train(args):
  from vit_jax.config import recipes

  # A typing mistake is reported before the slow imports.
  config = recipes.load(args.config, args.overrides)
  with _running(args.coordinator, args.num_processes, args.process_id):
    from vit_jax.training import train

    train.run(config, args.workdir)


def _evaluate(args):
  renamed = {
    'model_name': args.model,
    'results_path': args.results,
    'output_dir': args.output,
  }
  names = ('evaluators', 'checkpoint', *_DATA_FLAGS)
  options = {**renamed, **{name: getattr(args, name) for name in names}}
  given = {name: value for name, value in options.items() if value is not None}
  with _running(args.coordinator, args.num_processes, args.process_id):
    import jax

    from vit_jax.evaluation import evaluate

    report = evaluate.run(args.workdir, **given)
    if jax.process_index() == 0:
      _print_report(report, args.format)


def _print_report(report, format):
  if format in (None, 'text'):
    for name, value in report.items():
      print(f'{name:24}{value:.6g}')
  else:
    output.write([report], format)


def _sweep(args):
  which = (
    *(args.config, args.overrides, args.workdir, args.sweep or ()),
    *(args.seeds or 1, args.suite, args.held_out),
  )
  with _running(num_processes=1):
    from vit_jax.training import sweep, tasks

    if args.list:
      output.write(sweep.listing(*which), args.format)
      return 0
    if args.task is not None:
      state, line = sweep.run_task(args.task, *which)
      print(line)
      return 1 if state == tasks.WAITING else 0
    table = sweep.run(*which)
    if args.format in (None, 'text'):
      print(sweep.text(table))
    else:
      output.write(table, args.format)
    return 0


def _verify(args):
  from vit_jax.checkpoints import verify

  lines, are_good = verify.run(args.workdir)
  print('\n'.join(lines))
  return 0 if are_good else 1


def _inspect(args):
  from vit_jax.config import recipes
  from vit_jax.planning import inspection
  from vit_jax.sharding import mesh

  config = recipes.load(args.config, args.overrides)
  devices = mesh.devices()
  num_devices = args.devices or len(devices)
  print(inspection.text(config, num_devices, devices[0].platform))


def _plan(args):
  import jax

  from vit_jax.config import recipes
  from vit_jax.planning import plan

  jax.config.update('jax_platforms', 'cpu')  # The run itself is elsewhere.
  config = recipes.load(args.config, args.overrides)
  text, fits = plan.run(config, args.topology, args.mesh, args.mfu, args.price)
  print(text)
  return 0 if fits else 1


def _predict(args):
  from vit_jax.inference import predict
  from vit_jax.training.runtime import startup

  startup.use_compilation_cache()
  startup.keep_freed_memory()
  is_data = args.format not in (None, 'text')
  return predict.run(
    args.checkpoint,
    args.input,
    args.model,
    args.resolution,
    args.top,
    args.logits,
    args.features,
    args.position_resize,
    **({'tell': output.prediction(args.format)} if is_data else {}),
  )


def _convert(args):
  from vit_jax.weights import convert

  source_format = getattr(args, 'from')
  line = convert.run(
    args.source,
    args.target,
    args.to,
    args.model,
    source_format,
    args.exclude,
    args.push,
    args.private,
  )
  print(line)


def _export(args):
  from vit_jax.inference import export

  choices = {
    'model_name': args.model,
    'resolution': args.resolution,
    'position_resize': args.position_resize,
    'output': args.returns,
    'pixels': args.pixels,
    'dtype': args.dtype,
  }
  given = {name: value for name, value in choices.items() if value is not None}
  print(export.run(args.checkpoint, args.target, args.to, **given))


def _prepare(args):
  from vit_jax.data.sources import prepare

  print(prepare.run(args.dataset, args.data_dir))


def _preview(args):
  from vit_jax.config import recipes

  config = recipes.load(args.config, args.overrides)

  from vit_jax.training import preview

  print(preview.run(config, args.output))


def _analyze(args):
  from vit_jax.analysis import analyze

  return analyze.run(
    args.analysis,
    args.checkpoint,
    args.output,
    args.input,
    args.model,
    args.resolution,
  )


def _explore(args):
  from vit_jax.training.runtime import startup

  startup.use_compilation_cache()

  from vit_jax.analysis import explore

  return explore.run(
    [each for each in (args.checkpoint, args.against) if each],
    args.input,
    args.output,
    model_name=args.model,
    resolution=args.resolution,
    layers=args.layers,
    max_megabytes=args.max_megabytes,
  )


def _report(args):
  from vit_jax.training.runtime import startup

  startup.use_compilation_cache()

  from vit_jax.analysis import report_page

  path = report_page.run(
    args.workdir,
    args.output,
    evaluate=args.evaluate is not False,
    num_images=args.num_images,
    batch_size=args.batch_size,
  )
  print(path)


def _miniature(args):
  with _running(num_processes=1):
    from vit_jax.paper.miniature import miniature

    miniature.run(args.workdir, args.page)


def _reproduce(args):
  with _running(num_processes=1):
    from vit_jax.paper import reproduce

    is_whole = reproduce.run(
      args.result,
      args.dry_run,
      args.workdir,
      args.cells or '*',
      args.overrides,
      args.input,
    )
    return 0 if is_whole else 1


def _models(args):
  from vit_jax import models

  output.write(models.table(args.pattern or '*'), args.format)
  for line in models.variations():
    print(line, file=sys.stderr)


def _checkpoints(args):
  from vit_jax.weights import catalog

  rows = catalog.table(args.pattern or '*')
  output.write(rows, args.format, hidden=('parameters', 'url', 'licence'))


def _config(args):
  from vit_jax.config import fields, recipes
  from vit_jax.training import assembly

  found = fields.matching(args.pattern or '*', assembly.CHOICES)
  config = recipes.load(args.config, args.overrides) if args.config else None
  if args.format in (None, 'text'):
    print(fields.text(found, config))
  else:
    output.write(fields.table(found, config), args.format)


def _completion(args):
  from vit_jax.cli import completion

  print(completion.script(args.shell, COMMANDS), end='')


def _run_or_weights(text):
  """Returns the flag of `evaluate` that a path or a name is meant for."""
  from vit_jax import files
  from vit_jax.files import remote

  scheme, colon, _ = text.partition('://')
  if colon and scheme not in remote.SCHEMES:
    return 'checkpoint'  # Runs are on disks or in these stores.
  path = files.path(os.path.expanduser(text.removesuffix(':best')))
  return 'workdir' if files.is_folder(path / 'checkpoints') else 'checkpoint'


# The evaluation data; fields of `target.EvalOptions`.
_DATA_FLAGS = (
  *('dataset', 'data_dir', 'split', 'train_split'),
  *('resolution', 'position_resize', 'batch_size', 'shots'),
)

# For several processes; not needed where a scheduler sets them.
_DISTRIBUTED_FLAGS = ('coordinator', 'num_processes', 'process_id')

COMMANDS = {
  'train': Command(
    run=_train,
    purpose='Train a model, or resume an interrupted run.',
    flags=('config', 'workdir', *_DISTRIBUTED_FLAGS),
    required=('config', 'workdir'),
    examples=(
      'quickstart.py /tmp/quickstart',
      '--config=pretrain/vit_i1k.py:variant=B/16 --workdir=/tmp/b16 '
      '--config.run.batch_size=1024',
    ),
    bare=('config', 'workdir'),
  ),
  'evaluate': Command(
    run=_evaluate,
    purpose='Evaluate a run or released weights on a data set.',
    flags=(
      *('workdir', 'checkpoint', 'model', 'evaluators', *_DATA_FLAGS),
      *('results', 'output', 'format', 'json', *_DISTRIBUTED_FLAGS),
    ),
    required=(),
    examples=(
      '/tmp/quickstart --evaluators=classification,per_class,knn',
      'augreg/B_16-i21k-imagenet2012-384 --dataset=imagenet2012 '
      '--evaluators=classification,real',
      '--checkpoint=imagenet21k/ViT-B_16 --dataset=cifar100 '
      '--evaluators=fewshot --shots=1,5,10 --json',
    ),
    bare=(Either(('workdir', 'checkpoint'), _run_or_weights),),
  ),
  'report': Command(
    run=_report,
    purpose='Write one HTML page of a run: curves, classes, mistakes, speed.',
    flags=('workdir', 'output', 'evaluate', 'num_images', 'batch_size'),
    required=('workdir',),
    examples=(
      '/tmp/quickstart',
      '/tmp/quickstart --output=/tmp/report.html --num_images=1000',
      'gs://my-bucket/b16 --output=b16.html --evaluate=false',
    ),
    bare=('workdir',),
  ),
  'sweep': Command(
    run=_sweep,
    purpose='Tune hyperparameters on held-out data, then train with the best.',
    flags=(
      *('config', 'workdir', 'sweep', 'seeds', 'suite', 'held_out'),
      *('list', 'task', 'format', 'json'),
    ),
    required=('config', 'workdir'),
    examples=(
      'finetune/transfer.py:dataset=cifar10 /tmp/cifar10 --seeds=3',
      'finetune/transfer.py /tmp/vtab --suite=vtab',
      '--config=quickstart.py --workdir=/tmp/rates '
      '--sweep=optimizer.learning_rate=0.001,0.002 --sweep=data.mixup=0,0.5',
      'quickstart.py /tmp/rates --sweep=data.mixup=0,0.5 --list',
      'quickstart.py /tmp/rates --sweep=data.mixup=0,0.5 --task=choosing:1',
    ),
    bare=('config', 'workdir'),
  ),
  'verify': Command(
    run=_verify,
    purpose='Verify every checkpoint of a run against its manifest.',
    flags=('workdir',),
    required=('workdir',),
    examples=('--workdir=/tmp/quickstart', '/tmp/quickstart'),
    bare=('workdir',),
  ),
  'inspect': Command(
    run=_inspect,
    purpose='Print the model, its parameters and how they are sharded.',
    flags=('config', 'devices'),
    required=('config',),
    examples=(
      'quickstart.py',
      '--config=pretrain/vit_i1k.py --devices=8 --config.mesh.fsdp=8',
    ),
    bare=('config',),
  ),
  'plan': Command(
    run=_plan,
    purpose='Compile a run ahead of time: does it fit, and what does it cost?',
    flags=('config', 'topology', 'mesh', 'mfu', 'price'),
    required=('config', 'topology'),
    examples=(
      '--config=pretrain/vit_i21k.py:variant=H/14 '
      '--topology=v5p:8x8x8 --config.model.scan=true',
      'pretrain/vit_i1k.py --topology=h100:8 --mesh=auto',
    ),
    bare=('config',),
  ),
  'predict': Command(
    run=_predict,
    purpose='Classify images with released weights or those of a run.',
    flags=(
      *('checkpoint', 'input', 'model', 'resolution', 'position_resize'),
      *('top', 'logits', 'features', 'format', 'json'),
    ),
    required=('checkpoint', 'input'),
    examples=(
      'augreg/B_16-i21k-imagenet2012-384 cat.jpg dog.jpg',
      '/tmp/quickstart photos --top=1 --json',
      '--checkpoint=ViT-B_16.npz --model=ViT-B/16 --input=batch.npy '
      '--logits=logits.npy',
    ),
    bare=('checkpoint', 'input'),
  ),
  'convert': Command(
    run=_convert,
    purpose='Convert weights to the format of another project.',
    flags=(
      *('source', 'target', 'to', 'from', 'model', 'exclude'),
      *('push', 'private'),
    ),
    required=('source', 'target', 'to'),
    examples=(
      '/tmp/quickstart /tmp/for_timm --to=timm',
      "imagenet21k/ViT-B_16 /tmp/b16 --to=huggingface --exclude='head.*'",
      '/tmp/quickstart /tmp/b16 --to=timm --push=OWNER/NAME --private',
    ),
    bare=('source', 'target'),
  ),
  'export': Command(
    run=_export,
    purpose='Export a model for production: StableHLO, ONNX or SavedModel.',
    flags=(
      *('checkpoint', 'target', 'to', 'returns', 'pixels', 'dtype'),
      *('model', 'resolution', 'position_resize'),
    ),
    required=('checkpoint', 'target', 'to'),
    examples=(
      'augreg/S_16-i21k-imagenet2012-224 s16.stablehlo --to=stablehlo',
      '/tmp/quickstart:best model.onnx --to=onnx --returns=logits',
      'imagenet21k/ViT-B_16 /tmp/features --to=savedmodel --returns=features '
      '--resolution=384',
    ),
    bare=('checkpoint', 'target'),
  ),
  'prepare': Command(
    run=_prepare,
    purpose='Download and prepare a data set, or print how to get it.',
    flags=('dataset', 'data_dir'),
    required=('dataset',),
    examples=('--dataset=cifar10', 'imagenet2012 --data_dir=/data/tfds'),
    bare=('dataset',),
  ),
  'preview': Command(
    run=_preview,
    purpose='Plot the first batch as the model will see it.',
    flags=('config', 'output'),
    required=('config', 'output'),
    examples=(
      'quickstart.py /tmp/batch.png',
      '--config=quickstart.py --output=/tmp/batch.png --config.data.mixup=0.5',
    ),
    bare=('config', 'output'),
  ),
  'analyze': Command(
    run=_analyze,
    purpose='Plot what is inside a model: the figures of the ViT paper.',
    flags=(
      *('analysis', 'checkpoint', 'input', 'output'),
      *('model', 'resolution'),
    ),
    required=('analysis', 'checkpoint', 'output'),
    examples=(
      'rollout augreg/L_16 photos --output=/tmp/figures',
      'attention-distance --checkpoint=augreg/R50_L_32 --input=photos '
      '--output=/tmp/figures --resolution=224x448',
      'position-similarity --checkpoint=augreg/B_32 --output=/tmp/figures',
      'filters imagenet21k/ViT-L_32 --output=/tmp/figures',
    ),
    bare=('analysis', 'checkpoint', 'input'),
  ),
  'explore': Command(
    run=_explore,
    purpose='Write a page that shows where a Vision Transformer looks.',
    flags=(
      *('checkpoint', 'input', 'output', 'against'),
      *('model', 'resolution', 'layers', 'max-megabytes'),
    ),
    required=('checkpoint', 'input', 'output'),
    examples=(
      'augreg/B_16-i21k-imagenet2012-384 cat.jpg --output=/tmp/cat.html',
      'imagenet21k/ViT-L_16 photos --output=/tmp/photos.html --layers=6,12,24',
      'augreg/B_16 cat.jpg --against=imagenet21k/ViT-B_16 '
      '--output=/tmp/two.html --resolution=224',
    ),
    bare=('checkpoint', 'input'),
  ),
  'reproduce': Command(
    run=_reproduce,
    purpose='Reproduce a table or figure of the papers.',
    flags=('result', 'dry-run', 'workdir', 'cells', 'input'),
    required=('result',),
    examples=(
      'all --dry-run',
      'table6',
      'table5 --workdir=/data/paper --cells=I21k*CIFAR-10,*B/16 '
      '--config.mesh.fsdp=8',
      'figure7 --workdir=/data/paper --input=photos',
    ),
    bare=('result',),
    overrides=True,
  ),
  'miniature': Command(
    run=_miniature,
    purpose="Repeat the paper's comparisons at a size that fits a CPU.",
    flags=('workdir', 'page'),
    required=('workdir',),
    examples=('/tmp/miniature --page=docs/miniature.md',),
    bare=('workdir',),
  ),
  'models': Command(
    run=_models,
    purpose='List the models by name, with their sizes.',
    flags=('pattern', 'format', 'json'),
    required=(),
    examples=('', "'ViT-*/16'", "'R50*' --json"),
    bare=('pattern',),
  ),
  'checkpoints': Command(
    run=_checkpoints,
    purpose='List the released weights of the catalogue.',
    flags=('pattern', 'format', 'json'),
    required=(),
    examples=("'augreg/*384*'", "'siglip2/*' --json"),
    bare=('pattern',),
  ),
  'config': Command(
    run=_config,
    purpose='Explain the fields of the configuration, or show a recipe.',
    flags=('pattern', 'config', 'format', 'json'),
    required=(),
    examples=(
      'optimizer',
      "'*crop*' --format=csv",
      '--config=quickstart.py --config.data.flip=true',
    ),
    bare=('pattern',),
  ),
  'completion': Command(
    run=_completion,
    purpose='Print a script that completes arguments in your shell.',
    flags=('shell',),
    required=('shell',),
    examples=('bash', 'zsh', 'fish'),
    bare=('shell',),
  ),
}

RENAMED = {'show': 'preview'}  # Former names of commands: present ones.
