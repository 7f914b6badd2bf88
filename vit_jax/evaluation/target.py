"""What is evaluated: the model of a run or released weights, and its data."""

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import tqdm
from jax.sharding import NamedSharding
from ml_collections import config_dict

from vit_jax import errors, files, models, pytrees
from vit_jax.checkpoints import parameters
from vit_jax.config import recipes, schema, validation
from vit_jax.data import batch, datasets, pipeline, sources, transforms
from vit_jax.data import names as spelling
from vit_jax.data.datasets import class_names, vtab
from vit_jax.data.sources import relabelled
from vit_jax.evaluation import fewshot
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement, rules
from vit_jax.weights import card as cards
from vit_jax.weights import loading, preprocessing

_SHOWN = 3  # Classes, in a message.
BATCH_SIZE = 32  # Of released weights, images on each device.
_CHOICES = {
  **models.CHOICES,
  **sources.CHOICES,
  **transforms.CHOICES,
}


class EvalOptions(NamedTuple):
  """What the user asks for; None: as the run or the catalogue has it.

  dataset: a name of `datasets.DATASETS` or of TFDS, a task of VTAB, a folder,
    or an .npz file.
  data_dir: where TFDS keeps data sets.
  split: to measure on.
  train_split: that few-shot and nearest neighbours learn from.
  resolution: (side,) or (rows, columns) in pixels.
  position_resize: see `loading.find`.
  batch_size: over all devices.
  shots: examples of each class.
  output_dir: folder for the tables and figures of evaluators that make some.
  """

  dataset: str | None = None
  data_dir: str | None = None
  split: str | None = None
  train_split: str | None = None
  resolution: tuple | None = None
  position_resize: str | None = None
  batch_size: int | None = None
  shots: tuple = fewshot.SHOTS
  output_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class Target:
  """A model and its data, before anything large is read.

  Attributes:
    name: how the user calls it.
    config: whose parts model, data and mesh count.
    card: of the weights.
    options: what the user said of the data.
    split: to measure on.
    mesh: of devices.
    chain: transforms of an image, from file to model.
    load: returns the parameters, on the mesh, and metadata of where they come
      from, which JSON can hold.
    told: lines that the user has seen.
  """

  name: str
  config: config_dict.ConfigDict
  card: cards.Card
  options: EvalOptions
  split: str
  mesh: jax.sharding.Mesh
  chain: tuple
  load: Callable
  told: set = dataclasses.field(default_factory=set)

  @property
  def num_classes(self):
    """Outputs of the head; 0: there is none."""
    return self.card.num_classes

  def source(self, split):
    """Returns the source of a split of the data set.

    Of files, it tells once what there is: a part may be held out.
    """
    source = sources.build(self.config.data, split)
    if hasattr(source, 'notes') and jax.process_index() == 0:
      said = sources.counts([split], [source]), *source.notes
      lines = [line for line in said if line not in self.told]
      print(*lines, sep='\n', end='\n' * bool(lines), file=sys.stderr)
      self.told.update(lines)
    return source

  def classified(self, split):
    """Returns the source of a split, whose labels are classes of the head.

    Classes are matched by name where model and data have names.

    Raises:
      UserError: the data have classes that the head has not.
    """
    source = self.source(split)
    places = self.match(source.num_classes, source.class_names)
    if places == tuple(range(len(places))):
      self._tell_assumed(source.class_names)
      return source
    names = self.card.class_names
    first = ', '.join(
      f'{source.class_names[i]!r}: {place}'
      for i, place in enumerate(places[:_SHOWN])
    )
    line = (
      f'{self.name} has the classes of the data in another order: labels are '
      f'matched by name ({first}{", ..." if len(places) > _SHOWN else ""}).'
    )
    print(errors.shown(line), file=sys.stderr)
    return relabelled.Relabelled(source, places, self.num_classes, names)

  def _tell_assumed(self, names):
    """Tells that classes of other data are matched by nothing but order."""
    ours = self.card.class_names
    if not names or (ours and _are_names(names, ours)):
      return
    if self.options.dataset is None:  # A run, and its own data.
      return
    shown = spelling.quoted(names, _SHOWN)
    reason = f'the data number theirs ({shown})'
    if not ours:
      reason = f'{self.name} does not say what its own are called'
      reason += f'; those of the data are {shown}'
    print(f'Classes are matched by their order: {reason}.', file=sys.stderr)

  def match(self, num_classes, names):
    """Returns the index of each class of some data among those of the head.

    Args:
      num_classes: of the data.
      names: of these classes, or None.

    Raises:
      UserError: the data have classes that the head has not.
    """
    ours = self.card.class_names
    if ours and names and _are_names(names, ours):
      if ours[: len(names)] == tuple(names):
        return tuple(range(len(names)))
      try:
        return class_names.match(ours, names)
      except errors.UserError as error:
        raise self._mismatch(
          'classes of its own', f'others: {error}'
        ) from error
    if self.num_classes != num_classes:
      head = f'a head of {self.num_classes} classes'
      raise self._mismatch(
        head if self.num_classes else 'no head', f'{num_classes} classes.'
      )
    return tuple(range(num_classes))

  def _mismatch(self, ours, theirs):
    data = self.config.data
    return errors.UserError(
      f'{self.name} has {ours}, and {data.dataset} ({self.split}) has '
      f'{theirs} Give another --dataset, or --evaluators=fewshot,knn, which '
      'need no head.'
    )

  def functions(self, params):
    """Returns predict(batch) and embed(batch), float32, compiled.

    Without a head, predict has nothing to return.
    """
    model = models.build(
      self.config.model,
      self.num_classes,
      platform=meshes.platform(self.mesh),
    )

    def forward(what, params, examples):
      images = batch.to_model_range(examples['image'])
      output = model.apply({'params': params}, images, train=False)
      return getattr(output, what).astype(jnp.float32)

    return tuple(
      functools.partial(jax.jit(functools.partial(forward, what)), params)
      for what in ('logits', 'pooled')
    )

  def batches(self, source, chain=None):
    """Yields the batches of a source on the devices, in order.

    Args:
      source: see `sources`.
      chain: transforms in place of the model's own, or None.
    """
    size = self.config.run.eval_batch_size or self.config.run.batch_size
    local = pipeline.eval_batches(
      source,
      self.config.data,
      batch_size=size,
      rows=placement.local_rows(self.mesh, size),
      chain=chain or self.chain,
    )
    count = pipeline.num_eval_batches(len(source), size)
    shown = tqdm.tqdm(local, total=count, disable=None, unit='batch')
    for examples in shown:
      yield placement.to_devices(examples, self.mesh)


def _are_names(names, ours):
  """Returns whether names of classes count, not their order.

  Numbers are indices, unless the model calls its classes so: sorted as text,
  '10' comes before '2'.
  """
  return not class_names.are_indices(names) or set(names) <= set(ours)


def of_run(workdir, options):
  """Returns the `Target` of a run, at its resolution.

  Args:
    workdir: its folder, for its newest checkpoint; with ':best' behind it, for
      its best.
    options: what the user asks for.

  Raises:
    UserError: `workdir` holds no run or no checkpoint, or does not go with what
      was asked for.
  """
  workdir, is_best = loading.run_folder(files.path(workdir).absolute())
  if not files.exists(workdir / recipes.FILE):
    raise errors.UserError(
      f'{workdir} holds no run: it has no {recipes.FILE}. '
      'Give the --workdir of a training.'
    )
  if options.resolution:
    raise errors.UserError(
      'A run is evaluated at its own resolution; to resize it, give '
      f'--checkpoint={workdir} in place of --workdir.'
    )
  if parameters.find(workdir, is_best) is None:
    raise errors.UserError(f'{workdir} has no checkpoint yet.')
  name = str(workdir)
  found = f'{name}:{parameters.BEST}' if is_best else name
  return _of(_find(found, None, options), options, found, {'workdir': name})


def of_weights(checkpoint, model_name, options):
  """Returns the `Target` of weights, as they were meant to be evaluated.

  Args:
    checkpoint, model_name: see `loading.find`.
    options: must name a data set, unless the weights are those of a run.

  Raises:
    UserError: there are no such weights, or they don't fit what was asked for.
  """
  found = _find(checkpoint, model_name, options)
  if found.entry and found.entry.note:
    print(f'{found.entry.name}: {found.entry.note}', file=sys.stderr)
  return _of(found, options, checkpoint, {'checkpoint': checkpoint})


def _find(checkpoint, model_name, options):
  return loading.find(
    checkpoint, model_name, position_resize=options.position_resize
  )


def _of(found, options, name, metadata):
  if options.position_resize:
    metadata['position_resize'] = options.position_resize
  if _is_run(found):
    config = recipes.load(str(files.path(found.path) / recipes.FILE))
    metadata['recipe'] = recipes.digest(config)
  else:
    config = _config_of(found)
    if options.dataset is None:
      raise errors.UserError(
        f'What is {name} to be evaluated on? Give --dataset=NAME, for '
        'example --dataset=imagenet2012.'
      )
  split = _set_data(config.data, options)
  if options.resolution:
    config.data.resolution = options.resolution
  if options.batch_size:
    config.run.eval_batch_size = options.batch_size
  mesh = _mesh(config)
  chain = found.card.preprocessing.chain(schema.image_size(config.data))
  load = functools.partial(_load, found, config, mesh, metadata)
  return Target(name, config, found.card, options, split, mesh, chain, load)


def _is_run(found):
  """Returns whether weights are those of a training, and no export."""
  return found.format == 'orbax' and isinstance(
    parameters.find(found.path), parameters.OfRun
  )


def _config_of(found):
  """Returns the configuration of weights that came without a training."""
  config = schema.default()
  config.model = found.model
  config.data.resolution = preprocessing.image_size(found.card, None)
  config.run.batch_size = BATCH_SIZE * len(meshes.devices())
  config.run.num_steps, config.optimizer.warmup_steps = 1, 0
  return config


def _load(found, config, mesh, metadata):
  """Returns the parameters, each read, fitted and placed before the next.

  They are those of the model of `config`; the layers of a run may be stacked.
  """
  image_size = schema.image_size(config.data)
  model = models.build(config.model, found.num_classes)
  shapes = models.params_of(model, image_size)
  specs = pytrees.flatten(rules.specs(shapes, mesh))

  def place(path, array):
    return placement.put(array, NamedSharding(mesh, specs[path]))

  changes = loading.changes_to(found, config.model, image_size)
  params, report = found.load(shapes, changes, place)
  if report.step is not None:
    metadata = {**metadata, 'step': report.step}
  return params, metadata


def _mesh(config):
  """Returns the mesh, once configuration and devices are known to fit."""
  devices = meshes.devices()
  validation.check_choices(config, _CHOICES)
  validation.validate(config, len(devices))
  return meshes.build(config.mesh, devices)


def _set_data(data, options):
  """Puts what the user said of the data into the configuration.

  Of a run, the split that it has held out stays held out: `train` is what it
  was trained on.

  Returns:
    The split to measure on.
  """
  data.data_dir = options.data_dir or data.data_dir
  if options.dataset:
    data.num_classes = None
    source, data.dataset, *splits = _facts(options.dataset)
    # Files of a run that have moved: its splits are theirs.
    if source != data.source or splits[1]:
      data.train_split, data.eval_split = splits
    data.source = source
  data.train_split = options.train_split or data.train_split
  split = options.split or data.eval_split
  if options.dataset:
    data.eval_split = split
  if not split:
    raise errors.UserError(
      f'Which split of {options.dataset} is to be measured on? '
      'Give --split=NAME.'
    )
  return split


def _facts(dataset):
  """Returns (source, data set, training split, split to report on).

  Of a data set that is in no table of ours, the last is ''.
  """
  if dataset in datasets.DATASETS:
    row = datasets.get(dataset)
    train = row.train[0] if row.train else 'train'
    return row.source, row.dataset, train, row.test[0]
  if vtab.find(dataset):
    return 'tfds', dataset, 'train', 'test'
  path = files.path(dataset).expanduser()
  if files.is_folder(path):
    return 'folder', dataset, 'train', ''
  if path.suffix == '.npz':
    return 'arrays', dataset, 'train', ''
  return 'tfds', dataset, 'train', ''
