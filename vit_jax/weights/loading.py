"""Pretrained weights by name, URL, repository of the Hub, file or run.

`find` reads names and shapes only; arrays are read once a model needs them.
"""

import dataclasses
import functools
import os
import pathlib
import re
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vit_jax import errors, files, models, pytrees
from vit_jax.checkpoints import parameters
from vit_jax.config import model_names, recipes, schema, validation
from vit_jax.data.datasets import class_names
from vit_jax.files import copies
from vit_jax.sharding import mesh as meshes
from vit_jax.weights import card as cards
from vit_jax.weights import (
  catalog,
  fitting,
  formats,
  normalization,
  preprocessing,
  publishing,
  resizing,
  torch_config,
)
from vit_jax.weights.catalog import augreg
from vit_jax.weights.files import download, hub, sharded
from vit_jax.weights.torch_config import told as tellings

_DIGEST = re.compile(r'#(sha256|md5)=\w*$')  # Behind an address.
_POOLING = ('pooling/.*',)
_OBJECTIVE = 'objective/'  # Of a run, what is not of its model.
# What becomes of the class token, by pooling in the weights and in the model.
_CLASS_TOKEN = {
  ('class_token', 'average'): 'drop',
  ('class_token', 'attention'): 'drop',
  ('average', 'class_token'): 'add',
  ('attention', 'class_token'): 'add',
}

BEST = 'augreg/best/'  # augreg/best/B_16: what index.csv has as the best B_16.


@dataclasses.dataclass(frozen=True)
class Weights:
  """Weights that were found, and what is known of their model.

  Attributes:
    path: file or folder.
    format: a key of `formats.FORMATS`, or 'orbax'.
    card: model, classes, and how images are prepared.
    entry: the row of the catalogue, or None.
    load: load(model_params, changes, place) as `formats.load`.
    position_resize: how to resize position embeddings, a key of
      `resizing.METHODS`.
  """

  path: str
  format: str
  card: cards.Card
  entry: catalog.Entry | None
  load: Callable
  position_resize: str = 'corner_aligned'

  @property
  def model(self):
    """The configuration's part `model`."""
    return self.card.model

  @property
  def num_classes(self):
    """Outputs of the head; 0: there is none."""
    return self.card.num_classes

  @property
  def image_size(self):
    """(rows, columns) in pixels that it was trained on; None: any."""
    return self.card.image_size


def find(checkpoint, model_name=None, format_name=None, position_resize=None):
  """Returns the `Weights` that the user means.

  Args:
    checkpoint: a name as 'augreg/B_16'; a URL, https:// or gs://; a file,
      with ':img' behind it where it holds several models; the folder of a run,
      with ':best' behind it for its best step in place of its newest,
      of an exported model, or of transformers or timm; a repository of the
      Hugging Face Hub as 'hf://google/vit-base-patch16-224', or a name of timm,
      'vit_base_patch16_224.augreg_in21k'.
    model_name: of the model, if known; else the shapes tell.
    format_name: a key of `formats.FORMATS`; None: the names of arrays tell.
    position_resize: how to resize position embeddings, a key of
      `resizing.METHODS`; None: as the authors of the weights did.

  Raises:
    UserError: there is nothing of that name, or it can't be understood.
  """
  if position_resize is None:
    return _find(checkpoint, model_name, format_name)
  errors.choose('position_resize', position_resize, resizing.METHODS)
  found = _find(checkpoint, model_name, format_name)
  return dataclasses.replace(found, position_resize=position_resize)


def _find(checkpoint, model_name, format_name):
  if not download.is_address(checkpoint) and not hub.is_address(checkpoint):
    folder, is_best = run_folder(checkpoint)
    if is_best:
      return _from_orbax(folder, model_name, of_best=True)
  entry, path = _locate(checkpoint)
  if hub.is_address(path):
    try:
      return _from_hub(path, model_name, format_name)
    except hub.HubError as error:
      if path == checkpoint:
        raise
      raise hub.HubError(
        f'{checkpoint} is no file, folder or name of the catalogue, and was '
        f'taken for a model of timm. {error}'
      ) from error
  return _from_path(path, model_name, format_name, entry)


def _from_hub(address, model_name, format_name):
  fetched = hub.fetch(address)
  found = _from_path(str(fetched.folder), model_name, format_name, None)
  origin = {'repository': fetched.repo, 'commit': fetched.commit}
  card = dataclasses.replace(found.card, source=found.card.source | origin)
  return dataclasses.replace(found, card=card)


def _from_path(path, model_name, format_name, entry):
  folder = files.path(path)
  if not files.is_folder(folder):
    return _from_file(path, model_name, format_name, entry)
  for name in publishing.WEIGHTS, sharded.INDEX:
    if files.exists(folder / name):
      return _from_file(str(folder / name), model_name, format_name, entry)
  return _from_orbax(folder, model_name)


def run_folder(run):
  """Returns the folder in 'run' or 'run:best', and whether it is the latter."""
  run = os.path.expanduser(run)
  name, _, part = run.rpartition(':')
  if part == parameters.BEST and name and files.is_folder(name):
    return files.path(name), True
  return files.path(run), False


def build(weights, num_classes=None, platform=None):
  """Returns the model of the weights, by default with their classes.

  Args:
    weights: a `Weights`.
    num_classes: outputs of the head; None: theirs.
    platform: see `models.build`.
  """
  if num_classes is None:
    num_classes = weights.num_classes
  return models.build(weights.model, num_classes, platform=platform)


def load(weights, image_size, num_classes=None, rng=None):
  """Returns (model, params): the weights, in their model, on the device.

  Args:
    weights: a `Weights`.
    image_size: (rows, columns) in pixels that the model will see.
    num_classes: outputs of a fresh head, as a training would start with; 0: no
      head; None: the head of the weights.
    rng: key of what is fresh.

  Raises:
    UserError: patches do not cover that size, or the weights can't be read.
  """
  validation.check_resolution(image_size, weights.model.name)
  model = build(weights, num_classes, meshes.devices()[0].platform)
  wanted = models.params_of(model, image_size)
  if num_classes:
    wanted = _with_fresh_head(wanted, model, image_size, rng)
  head = 'keep' if num_classes is None else 'replace'
  params, _ = weights.load(
    wanted,
    changes_to(weights, weights.model, image_size, head),
    lambda path, array: jnp.asarray(array),
  )
  return model, params


def _with_fresh_head(wanted, model, image_size, rng):
  """Returns shapes of parameters, with arrays as initialised for the head."""

  def init(rng):
    images = jnp.zeros((1, *image_size, 3))
    params = model.init(rng, images, train=False)['params']
    return {path: params[path] for path in params if path in fitting.HEAD}

  return {**wanted, **jax.jit(init)(rng)}


def changes_to(weights, model, image_size, head='keep'):
  """Returns the `fitting.Changes` between the weights and a model.

  Args:
    weights: a `Weights`.
    model: the configuration's part for the model.
    image_size: (rows, columns) in pixels that it will see.
    head: see `fitting.Changes`.
  """
  flexible = weights.entry is not None and weights.entry.flexible
  given_size = None if flexible else weights.image_size
  given, wanted = weights.model.pooling, model.pooling
  class_token, fresh, unused = 'keep', (), ()
  if given != wanted:
    class_token = _CLASS_TOKEN.get((given, wanted), 'keep')
    fresh = _POOLING if wanted == 'attention' else ()
    unused = _POOLING if given == 'attention' else ()
  return fitting.Changes(
    grid=_grid(model.name, image_size),
    given_grid=_grid(weights.model.name, given_size),
    positions=weights.position_resize,
    head=head,
    class_token=class_token,
    patches='resize' if flexible else 'keep',
    fresh=fresh,
    unused=unused,
  )


def _grid(name, image_size):
  pixels = model_names.patch_size(name)
  if image_size is None or not pixels:
    return None
  return image_size[0] // pixels, image_size[1] // pixels


def _locate(checkpoint):
  """Returns the row of the catalogue, or None, and the path.

  A repository of the Hugging Face Hub has its address in place of a path.
  """
  if hub.is_address(checkpoint):
    return None, checkpoint
  entry, address = None, checkpoint
  file, _ = formats.split(checkpoint)
  if not download.is_address(checkpoint):
    if files.is_remote(checkpoint):
      return None, _in_store(checkpoint)
    if pathlib.Path(file).expanduser().exists():
      return None, str(pathlib.Path(checkpoint).expanduser())
  if checkpoint.startswith(BEST):
    entry = _best(checkpoint.removeprefix(BEST))
  elif catalog.has_family_of(checkpoint):
    entry = catalog.get(checkpoint)
  if entry:
    address = entry.address
  elif not download.is_address(checkpoint):
    if of_timm := hub.of_timm(checkpoint):
      return None, of_timm
    raise errors.UserError(
      f'{checkpoint} is no file, folder or address, and the catalogue of '
      'released files has no such name. '
      + errors.nearest(
        checkpoint,
        {*catalog.ENTRIES, *_beside(checkpoint)},
        'vit_jax/weights/catalog/__init__.py',
      )
      + f' A repository of the Hugging Face Hub is {hub.SCHEME}OWNER/NAME.'
    )
  address, hash_mark, digest = address.partition('#')
  file, part = formats.split(address)
  path = download.fetch(
    file + hash_mark + digest, num_bytes=entry and entry.num_bytes
  )
  return entry, f'{path}:{part}' if part else str(path)


def _in_store(checkpoint):
  """Returns the path of a file or a folder of an object store.

  A file whose digest is demanded has it.

  Raises:
    UserError: there is none, or the store can't be asked.
  """
  address = _DIGEST.sub('', checkpoint)
  file, _ = formats.split(address)
  if not files.exists(files.path(file)):
    raise errors.UserError(
      f'{file} is no file or folder. {errors.nearest(file, _beside(file))}'
    )
  if address != checkpoint:
    with files.asking(file):
      download.check_digest(checkpoint, copies.local(file))
  return address


def _beside(checkpoint):
  """Returns the paths of what is where a file or folder is missing."""
  folder = files.path(os.path.expanduser(checkpoint)).parent
  try:
    return [str(path) for path in folder.iterdir()]
  except OSError:
    return []


def _best(text):
  """Returns the best of AugReg: B_16, B_16-i1k, B_16-i21k-imagenet2012-384."""
  model, *rest = text.split('-')
  data, task, resolution, *_ = [*rest, None, None, None]
  if resolution and not resolution.isdecimal():
    raise errors.UserError(f'{resolution!r} is no resolution in pixels.')
  return augreg.pick(
    download.fetch(augreg.INDEX),
    model,
    data or 'i21k',
    task,
    int(resolution) if resolution else None,
  )


def _from_file(path, model_name, format_name, entry):
  with formats.opened(path, format_name) as file:
    shapes = {name: leaf.shape for name, leaf in file.shapes().items()}
    format_name = file.format
  told = tellings.Told('tanh')
  if format_name in torch_config.PROJECTS:
    folder = files.path(formats.split(path)[0]).parent
    told = torch_config.read(folder, format_name)
    normalization.check(path, shapes, told.preprocessing)
    if told.assumed:
      print(errors.shown(f'{path}: {told.assumed}'), file=sys.stderr)
  name = model_name or (entry and entry.model)
  inferred = models.infer_config(shapes, name, told.num_heads)
  model = schema.default().model
  model.update(inferred.fields)
  for field in models.family(model.name).fields:
    if field in ('gelu', 'norm_epsilon'):
      model[field] = getattr(told, field)
  card = _card_of_file(path, format_name, entry, model, inferred, told)
  position_resize = formats.FORMATS[format_name].position_resize
  if entry and entry.position_resize:
    position_resize = entry.position_resize
  return Weights(
    path,
    format_name,
    card,
    entry,
    functools.partial(
      formats.load, path, format_name, prepared=card.preprocessing
    ),
    position_resize,
  )


def _card_of_file(path, format_name, entry, model, inferred, told):
  """Returns what the catalogue, or the files beside the weights, tell."""
  released = entry or _released(path, format_name, inferred.num_classes)
  source = told.source
  if released:
    names = class_names.imagenet(inferred.num_classes)
    source = {
      'name': released.name,
      'accuracy': released.accuracy,
      'licence': catalog.LICENCE,
    }
  else:
    names = _names(path, told, inferred.num_classes)
  validation.check_model(model)
  image_size = told.image_size or inferred.image_size
  prepared = told.preprocessing
  if entry:
    image_size = (entry.resolution, entry.resolution)
    prepared = preprocessing.Preprocessing(scale=entry.scale)
  return cards.Card(
    model, inferred.num_classes, names, image_size, prepared, source
  )


def _names(path, told, num_classes):
  """Returns the names of classes that are told, if they are of the head."""
  names = told.class_names if num_classes else None
  if names and len(names) != num_classes:
    print(
      f'{path}: the file beside it names {len(names)} classes, and the head '
      f'has {num_classes}; the names are not used.',
      file=sys.stderr,
    )
    return None
  return names


def _released(path, format_name, num_classes):
  """Returns the row of the catalogue whose file this seems to be, or None.

  It has the name and the size of the file, and its number of classes.
  """
  if format_name in torch_config.PROJECTS or not num_classes:
    return None
  given = files.path(formats.split(path)[0])
  for entry in catalog.ENTRIES.values():
    file, _ = formats.split(entry.address)
    if (
      file.endswith(f'/{given.name}')
      and entry.num_classes == num_classes
      and entry.num_bytes
      and not download.is_far(given.stat().st_size, entry.num_bytes)
    ):
      print(
        f'{path}: classes are called as those of {entry.name}, a released '
        'file of this name and size.',
        file=sys.stderr,
      )
      return entry
  return None


def _from_orbax(folder, model_name, of_best=False):
  given = parameters.find(folder, of_best)
  if given is None or not files.exists(folder / recipes.FILE):
    raise errors.UserError(
      f'{folder} holds no weights: neither {publishing.WEIGHTS}, nor '
      f'{recipes.FILE} and checkpoints of a run or {parameters.FOLDER}/.'
    )
  config = recipes.load(str(folder / recipes.FILE))
  if model_name not in (None, config.model.name):
    raise errors.UserError(
      f'--model={model_name} was given and {folder} holds a '
      f'{config.model.name}; leave --model out.'
    )
  # However the run computes, these are its weights, layer by layer.
  config.model.update(scan=False, remat='none', attention='auto')
  shapes = {
    path: shape
    for path, shape in given.shapes().items()
    if not path.startswith(_OBJECTIVE)
  }
  _check_depth(folder, config.model, shapes)
  head = shapes.get('head/kernel')
  num_classes = head.shape[-1] if head else 0
  card = cards.read(folder, config.model)
  if card is None:
    card = cards.of_run(config, num_classes, None, {})
  if card.num_classes != num_classes:
    raise errors.UserError(
      f'{folder / cards.FILE} is of {card.num_classes} classes, and the '
      f'weights beside it of {num_classes}; remove it, or restore the right '
      'one.'
    )
  return Weights(
    str(folder),
    'orbax',
    card,
    None,
    functools.partial(_load_orbax, given, shapes),
  )


def _check_depth(folder, model, shapes):
  """Refuses more layers than there are: to trace them all takes minutes."""
  validation.check_model(model)
  if (model.depth or 0) > len(shapes):
    raise errors.UserError(
      f'{folder / recipes.FILE} says model.depth={model.depth}, and there are '
      f'{len(shapes)} parameters; it is of other weights.'
    )


def _load_orbax(
  given,
  shapes,
  model_params,
  changes=fitting.NONE,
  place=lambda path, array: array,
):
  """Returns what `formats.load` returns; layers may be stacked in the model."""
  wanted = pytrees.flatten(model_params)
  if pytrees.are_stacked(model_params):
    shapes = pytrees.flatten(pytrees.stack(pytrees.unflatten(shapes)))
  report = fitting.plan(shapes, wanted, changes)
  fit_leaf = fitting.make_fit_leaf(shapes, wanted, changes, report)
  flat, step = given.load(
    report.loaded | report.resized,
    lambda path, array: place(path, fit_leaf(path, array)),
  )
  report = dataclasses.replace(report, step=step)
  return fitting.join(flat, wanted, report), report
