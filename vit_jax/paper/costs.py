"""What reproducing a number needs: compute, data sets and files."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp

from vit_jax import errors, models
from vit_jax.config import grids, model_names, recipes, schema
from vit_jax.data import datasets, sources
from vit_jax.data.datasets import vtab
from vit_jax.data.sources import real_labels
from vit_jax.nn import flop_count
from vit_jax.paper import methods
from vit_jax.planning import compute_cost
from vit_jax.sharding import accelerators
from vit_jax.weights import catalog, loading
from vit_jax.weights.catalog import augreg
from vit_jax.weights.files import download, hub

# The chip for which hours are given, and the fraction of its peak reached.
CHIP, UTILIZATION = 'h100', 0.4

# Files that an evaluator reads.
_LABELS = {'classification': (), 'real': (real_labels.ADDRESS,)}


@dataclasses.dataclass(frozen=True)
class Run:
  """A command to run, perhaps several times.

  Attributes:
    command: what a person would type, for display.
    count: how often it is run: points of the grid and seeds.
    exaflops: in all.
    datasets: names of the data sets it reads.
    files: URLs of released files.
  """

  command: str
  count: int
  exaflops: float
  datasets: tuple[str, ...]
  files: tuple[str, ...] = ()


def hours(exaflops):
  """Returns the hours that one CHIP takes at its UTILIZATION."""
  return exaflops * 1e18 / (accelerators.CHIPS[CHIP].peak * UTILIZATION) / 3600


def runs(method, overrides=()):
  """Returns the tuple of `Run` that a method needs, perhaps none.

  Args:
    method: of a class of `methods`.
    overrides: a tuple, of fields of every fine-tuning, see `recipes.load`.

  Raises:
    UserError: the overrides don't fit a recipe.
  """
  if isinstance(method, methods.Averaged):
    return tuple(run for part in method.parts for run in runs(part, overrides))
  if isinstance(method, methods.Transferred):
    return _of_transfer(method, overrides)
  if isinstance(method, methods.Evaluated):
    return _of_evaluation(method)
  return _of_drawing(method) if isinstance(method, methods.Drawn) else ()


@functools.cache
def load(recipe, overrides=()):
  """Returns the configuration of a recipe of this project.

  Args:
    recipe: 'configs/...py:knobs', see `recipes.from_folder`.
    overrides: a tuple, see `recipes.load`.
  """
  return recipes.load(recipes.from_folder(recipe), overrides)


def changed(recipe, overrides):
  """Returns which settings are not those of the recipe.

  Each is a text such as 'run.num_steps=3 (its recipe: 10000)'; those that don't
  change what is computed are left out.

  Args: see `load`.
  """
  theirs, ours = (
    recipes.fields_that_count(load(recipe, given)) for given in ((), overrides)
  )
  return tuple(
    f'{field}={ours[field]} (its recipe: {theirs[field]})'
    for field in sorted(theirs.keys() & ours.keys())
    if theirs[field] != ours[field]
  )


@functools.cache
def tried(recipe, overrides=()):
  """Returns the configurations that a recipe chooses from; () if only one.

  Args: see `load`.

  Raises:
    UserError: an override sets what the grid does.
  """
  grid = recipes.grid(recipes.from_folder(recipe))
  grids.check_overrides(grid, overrides)
  settings = grids.combinations(grid)
  if len(settings) == 1:
    return ()
  config = load(recipe, overrides)
  return tuple(grids.apply(config, setting) for setting in settings)


def num_parameters(name, num_classes=1000):
  """Returns how many parameters a model has at 224 pixels."""
  module = _module(name, num_classes=num_classes)
  params = models.params_of(module, (224, 224))
  return sum(leaf.size for leaf in jax.tree.leaves(params))


@functools.cache
def jft_exaflops(name):
  """Returns 1e-18 of the operations of an epoch of JFT-300M."""
  return compute_cost.exaflops(name, compute_cost.JFT_IMAGES, 1)


@functools.cache
def i21k_exaflops(name):
  """Returns 1e-18 of the operations of an epoch of all of ImageNet-21k."""
  facts = datasets.get('imagenet21k')
  num_images = facts.train[1] + facts.test[1]
  return compute_cost.exaflops(name, num_images, 1, 21_843)


def training_exaflops(config):
  """Returns 1e-18 of the operations of a training run.

  Raises:
    UserError: its length is in epochs of a data set of unknown size.
  """
  num_examples = _num_examples(config.data)
  if config.run.num_steps is None and num_examples is None:
    raise errors.UserError(
      f'How many examples {config.data.dataset} has is not known before it is '
      'read; give --config.run.num_steps.'
    )
  num_images = config.run.batch_size * schema.num_steps(
    config.run, num_examples
  )
  return 3 * _forward(config) * num_images / 1e18


def _of_evaluation(method):
  entry = _entry(method.checkpoint)
  forward = _forward_of(entry.model, (entry.resolution,) * 2, entry.num_classes)
  facts = datasets.get(method.dataset)
  command = (
    f'vit_jax evaluate --checkpoint={method.checkpoint} '
    f'--dataset={method.dataset} --evaluators={method.evaluator}'
  )
  exaflops = forward * facts.test[1] / 1e18
  files = (entry.address, *_LABELS[method.evaluator])
  return (Run(command, 1, exaflops, (method.dataset,), files),)


def _of_transfer(method, overrides):
  config = load(method.recipe, overrides)
  dataset = config.data.dataset
  # The final runs count as the recipe itself: the choice is not known yet.
  trainings = (*tried(method.recipe, overrides), *method.seeds * (config,))
  found, init, files = (), method.start, ()
  if config.init != load(method.recipe).init:
    files = _files_of(config.init)
  elif method.pretraining:
    found, init = _of_pretraining(method.pretraining), 'THAT'
  else:
    files = _files_of(method.start)
  found += (
    Run(
      ' '.join(
        [
          f'vit_jax sweep --config={method.recipe},init={init}',
          *overrides,
          f'--seeds={method.seeds}',
        ]
      ),
      len(trainings),
      sum(map(training_exaflops, trainings)),
      (dataset,),
      files,
    ),
  )
  if method.evaluator == 'classification':
    return found
  num_images = method.seeds * datasets.get(dataset).test[1]
  return (
    *found,
    Run(
      f'vit_jax evaluate --workdir=EACH --evaluators={method.evaluator}',
      method.seeds,
      _forward(config) * num_images / 1e18,
      (dataset,),
      _LABELS[method.evaluator],
    ),
  )


def _files_of(init):
  """Returns the URL of a catalogue name; else what is given, if anything."""
  if init in catalog.ENTRIES:
    return (catalog.get(init).address,)
  return (hub.of_timm(init) or init,) if init else ()


def _of_pretraining(recipe):
  config = load(recipe)
  return (
    Run(
      f'vit_jax train --config={recipe}',
      1,
      training_exaflops(config),
      (config.data.dataset,),
    ),
  )


def _of_drawing(method):
  entry = catalog.get(method.checkpoint)
  command = f'vit_jax analyze {method.kind} --checkpoint={method.checkpoint}'
  number = f'{method.images} ' if method.images > 1 else ''
  names = (f'{number}images of yours',) if method.images else ()
  return (Run(command, 1, 0.0, names, (entry.address,)),)


def _num_examples(data):
  """Returns how many examples the published training split has."""
  facts = datasets.DATASETS.get(data.dataset)
  if facts is None or facts.train is None:
    return None
  name, count = facts.train
  held_out = data.train_split != name
  return count - held_out * count * facts.held_out // 100


def _forward(config):
  """Returns the operations of a forward pass of one image."""
  sizes = ('width', 'depth', 'num_heads', 'mlp_dim')
  return _forward_of(
    config.model.name,
    schema.image_size(config.data),
    _num_classes(config.data),
    tuple((size, config.model[size]) for size in sizes),
  )


def _forward_of(name, image_size, num_classes, sizes=()):
  """Returns the operations of a model of the given sizes, with a head."""
  flops, width = _headless(name, tuple(image_size), sizes)
  return flops + 2 * width * num_classes


@functools.cache
def _headless(name, image_size, sizes):
  """Returns the operations before the head, and the width of its input.

  Layers that `model.depth` counts all cost the same: counting two is enough.
  """
  family = models.family(name)
  if 'depth' not in family.fields:
    return _trace(_module(name, sizes), image_size)
  depth = dict(sizes).get('depth')
  if depth is None:
    depth = family.sizes[model_names.parse(name).size].depth
  one, two = (
    _trace(_module(name, (*sizes, ('depth', count))), image_size)
    for count in (1, 2)
  )
  layer = two[0] - one[0]
  return one[0] + (depth - 1) * layer, one[1]


def _trace(module, image_size):
  images = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)

  def pooled(rng, images):  # Traced once: initialization has no products.
    output, _ = module.init_with_output(rng, images, train=False)
    return output.pooled

  rng = jax.random.key(0)
  flops = flop_count.forward_flops(pooled, rng, images, on_padding=False)
  return flops, jax.eval_shape(pooled, rng, images).shape[-1]


def _module(name, sizes=(), num_classes=0):
  model = schema.default().model
  model.update(name=name, **dict(sizes))
  return models.build(model, num_classes)


def _num_classes(data):
  if data.num_classes is not None:
    return data.num_classes
  of_vtab = vtab.find(data.dataset)
  if of_vtab:
    return of_vtab.task.num_classes
  facts = datasets.DATASETS.get(data.dataset)
  return facts.num_classes if facts else sources.num_classes(data)


def _entry(checkpoint):
  """Returns the catalogue entry; for AugReg's best, what is known of it."""
  if not checkpoint.startswith(loading.BEST):
    return catalog.get(checkpoint)
  name = checkpoint.removeprefix(loading.BEST)
  file, _, rest = name.partition('-')
  resolution = int(rest.rpartition('-')[2]) if '-' in rest else 224
  return catalog.Entry(
    checkpoint,
    f'{augreg.ADDRESS}/{file}-*.npz, the best by index.csv',
    augreg.name_of_model(file),
    'google',
    resolution,
  )


def where(dataset, data_dir=None):
  """Returns whether a data set is on disk, and if not what to do, as text."""
  of_vtab = vtab.find(dataset)
  facts = datasets.DATASETS.get(dataset)
  if of_vtab:
    builder = of_vtab.task.builder
  elif facts is None:
    return 'yours'
  elif facts.source != 'tfds':
    return f'`vit_jax prepare {dataset}` prints how to get it'
  else:
    builder = facts.dataset
  from vit_jax.data.sources import tfds_builders  # TFDS takes seconds.

  found = tfds_builders.builder(builder, data_dir)
  if tfds_builders.is_prepared(found):
    return 'prepared'
  return f'missing; `vit_jax prepare {dataset}` gets it'


def size_of_file(url):
  """Returns the approximate bytes of a released file, or None."""
  for entry in catalog.ENTRIES.values():
    if entry.address == url:
      return entry.num_bytes
  return None


def stock(file):
  """Returns size and whereabouts of a file, as ', 394 MiB: cached'.

  Args:
    file: URL of a released file, or a path.
  """
  if hub.is_address(file):
    return ': of the Hugging Face Hub, which has a cache of its own'
  released = size_of_file(file)
  is_url = '://' in file
  path = pathlib.Path(file)
  if is_url:
    path = download.path_of(file.partition(':img')[0])
  if not path.is_file():
    size = f', {_mebibytes(released)}' if released else ''
    return f'{size}: {"will be downloaded" if is_url else "not a file here"}'
  found = path.stat().st_size
  told = f', {_mebibytes(found)}: {"cached" if is_url else "here"}'
  if released and download.is_far(found, released):
    told += (
      f', and not the released file, which has {_mebibytes(released)}; '
      f'remove {path} to download that'
    )
  return told


def _mebibytes(num_bytes):
  size = num_bytes / 2**20
  return f'{size:,.0f} MiB' if size >= 10 else f'{size:.2g} MiB'
