"""A model with its parameters, and all that one has to know to use them."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vit_jax import errors, models, pytrees
from vit_jax.analysis import attention_maps
from vit_jax.api import freezing
from vit_jax.api import images as given_images
from vit_jax.config import model_names
from vit_jax.data import names
from vit_jax.inference import export as exports
from vit_jax.inference import inputs, predict
from vit_jax.weights import card as cards
from vit_jax.weights import convert


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Pretrained:
  """A model with parameters; `vit_jax.load` and `create_model` return one.

  Nothing of it changes: `replace` returns another one. It is a pytree whose
  leaves are those of `params`, so that it passes through jax.jit, jax.grad and
  the like as an argument.

  Attributes:
    module: the linen module; `module.apply({'params': params}, pixels,
      train=False)` is the forward pass.
    params: nested dict of arrays; paths such as
      'encoder/block_3/attention/query/kernel'.
    card: a `vit_jax.weights.card.Card`: model, classes, preprocessing, source.
    image_size: (rows, columns) in pixels, of the images that it takes.
    source: where it comes from, in a line.
  """

  module: nn.Module
  params: Any
  card: cards.Card
  image_size: tuple[int, int]
  source: str = ''

  # What it is -----------------------------------------------------------------

  @property
  def config(self):
    """The configuration that is known of it, an `ml_collections.ConfigDict`.

    Its part `model` is the model; `data` has the resolution, the number of
    classes and how images are prepared; all else has its defaults.
    """
    return convert.config_of(self.card)

  @property
  def num_classes(self):
    """Outputs of the head; 0: it has none."""
    return self.card.num_classes

  @property
  def class_names(self):
    """A name for each class, a tuple, as `predict` has them; None: unknown."""
    return self.card.names() if self.card.class_names else None

  def __repr__(self):
    count = sum(leaf.size for leaf in jax.tree.leaves(self.params))
    named = ', named' if self.card.class_names else ''
    classes = f'{self.num_classes:,} classes{named}'
    rows, columns = self.image_size
    parts = (
      self.card.model.name,
      f'{count:,} parameters',
      classes if self.num_classes else 'no head',
      f'{rows} x {columns} pixels',
      *([self.source] if self.source else []),
    )
    return errors.shown(f'<{type(self).__name__}: {", ".join(parts)}>')

  # Images to results ----------------------------------------------------------

  def predict(self, images, top=5):
    """Classifies images, as `vit_jax predict` does.

    Args:
      images: see `preprocess`.
      top: how many classes of each image, the likeliest first.

    Returns:
      For each image a list of `top` pairs (name, probability).

    Raises:
      UserError: there is no head, or an image can't be read.
    """
    if not self.num_classes:
      raise errors.UserError(
        'This model has no head, and so no classes; features(images) is what '
        'a head would read. load(..., num_classes=...) gives it one to train.'
      )
    if not isinstance(top, int) or top < 1:
      raise errors.UserError(f'top={top!r} is not a number above 0.')
    names = self.card.names()
    return [
      predict.likeliest(row, names, top)
      for row in self._map(self._logits_and_features, images)[0]
    ]

  def logits(self, images):
    """Returns logits, float32 [images, classes]; see `predict`."""
    return self._map(self._logits_and_features, images)[0]

  def features(self, images):
    """Returns what the head reads, float32 [images, width]; see `preprocess`.

    Raises:
      UserError: an image can't be read.
    """
    return self._map(self._logits_and_features, images)[1]

  def tokens(self, images):
    """Returns the tokens after the last norm, float32 [images, tokens, width].

    The class token, if there is one, is the first; patches follow row by row.
    Those of a ResNet are its last feature map.

    Args:
      images: see `preprocess`.

    Raises:
      UserError: an image can't be read.
    """
    return self._map(self._compute(_tokens), images)[0]

  def attention(self, images):
    """Returns where each layer looks.

    Args:
      images: see `preprocess`.

    Returns:
      float32 [depth, images, heads, tokens, tokens]: how much a token (second
      to last axis) takes of each token (last axis); sums to 1 over the last
      axis.

    Raises:
      UserError: the model has no attention, or an image can't be read.
    """
    attention_maps.check(models.family(self.card.model.name))
    (maps,) = self._map(self._compute(_attention), images)
    return np.moveaxis(maps, 0, 1)

  def preprocess(self, images):
    """Returns images as the model takes them, as an evaluation prepares them.

    Args:
      images: a path (gs:// and s3:// too), a Pillow image of any mode, the
        bytes of a file, a uint8 array [rows, columns, 3], [rows, columns] or
        [images, rows, columns, 3]; or a list of these, of any sizes. Floats
        are refused, as nothing tells their range.

    Returns:
      float32 [images, rows, columns, 3] in [-1, 1], of `image_size`.

    Raises:
      UserError: it is none of these, or an image can't be read.
    """
    return self._map(lambda pixels: (pixels,), images)[0]

  def __call__(self, pixels, *, layers=()):
    """Runs the model; works under jax.jit, jax.grad and jax.vmap.

    To differentiate by the parameters:

        def loss(params):
          return model.replace(params=params)(pixels).logits.mean()

        jax.grad(loss)(model.params)

    Args:
      pixels: floats [images, rows, columns, 3], in [-1, 1], of `image_size`;
        of images, `preprocess` returns them.
      layers: those whose tokens are asked for as well: 1 is the first, the
        depth or -1 the last. Of a ResNet they are its four blocks.

    Returns:
      A `vit_jax.models.outputs.Output`: `tokens` [images, tokens, width] after
      the last norm, `pooled` [images, width], `logits` float32 [images,
      classes] (None without a head) and `layers`, a tuple of the output of each
      of `layers`, [images, tokens, width], before the last norm.

    Raises:
      UserError: pixels of another shape or kind, or there is no such layer.
    """
    self._check_pixels(pixels)
    return self.module.apply(
      {'params': self.params}, pixels, train=False, layers=tuple(layers)
    )

  def explore(self, images, path=None, *, layers=None, max_megabytes=None):
    """Returns a page that shows where the model looks; see `vit_jax explore`.

    Args:
      images: see `preprocess`; a dozen at most.
      path: of the HTML file to write, or None. A notebook shows the page where
        it is the last value of a cell.
      layers: numbers of those to show, from 1; None: as many as fit.
      max_megabytes: that the page may have; None: 8.

    Returns:
      A `vit_jax.analysis.explore.Page`.

    Raises:
      UserError: the model has no attention, an image can't be read, there are
        too many, there is no such layer, or `path` can't be written.
    """
    attention_maps.check(models.family(self.card.model.name))
    from vit_jax.analysis import explore  # It draws: that takes a while.

    shown = [
      explore.Image(names.shown(label), (image,))
      for labels, pixels in self._batches(images)
      for label, image in zip(labels, pixels)
    ]
    if len(shown) > explore.MAX_IMAGES:
      raise errors.UserError(
        f'{len(shown)} images are too many for a page; it has '
        f'{explore.MAX_IMAGES} at most.'
      )
    name = self.card.model.name
    patch_size = model_names.patch_size(name)
    classes = self.card.names() if self.num_classes else ()
    page = explore.build(
      [explore.Model(name, self.module, self.params, patch_size, classes)],
      shown,
      layers=layers,
      max_megabytes=max_megabytes or explore.MAX_MEGABYTES,
    )
    if path is not None:
      page.save(path)
    return page

  # Other ones -----------------------------------------------------------------

  def replace(self, *, params=None, class_names=None):
    """Returns the same model with other parameters, or names of classes.

    Args:
      params: a tree of the same structure and shapes.
      class_names: one for each class.

    Raises:
      UserError: the trees differ (it shows how), or the number of names.
    """
    changes = {}
    if params is not None:
      _check_same(params, self.params)
      changes['params'] = params
    if class_names is not None:
      names = tuple(class_names)
      changes['card'] = dataclasses.replace(self.card, class_names=names)
    return dataclasses.replace(self, **changes)

  def freeze(self, *patterns):
    """Returns a mask of `params`: False where a pattern matches, else True.

    For optax, as `vit_jax.trainable`, whose opposite it is:
    model.freeze('(?!head/).*') trains the head alone.

    Args:
      *patterns: regular expressions of whole paths.

    Raises:
      UserError: as `vit_jax.trainable`.
    """
    return freezing.frozen(self.params, *patterns)

  def save(self, path, format='orbax'):
    """Writes the model, whole or not at all.

    What is written with the default format, `vit_jax.load` reads, and so do
    --checkpoint= and --config.init= of the command line.

    Args:
      path: a new or empty folder, also of a store; for 'google' and
        'big_vision', a new .npz file.
      format: 'orbax', 'timm', 'huggingface', 'google' or 'big_vision'. What a
        format can not say of the model is told on the terminal.

    Raises:
      UserError: there is something already, it can't be written, or the format
        has no place for such a model.
    """
    convert.check_target(path, format)
    params = jax.device_get(pytrees.unstack(self.params))
    card = dataclasses.replace(self.card, image_size=self.image_size)
    convert.write(path, format, params, card)

  def export(
    self, path, to='stablehlo', *, output='probabilities', pixels='uint8'
  ):
    """Writes the model for production; it then runs without this library.

    What was written has been compared with the model; `path`.json is its card.

    Args:
      path: a new file, also of a store; for 'savedmodel', a folder.
      to: 'stablehlo', 'onnx' or 'savedmodel'.
      output: 'probabilities', 'logits' or 'features'.
      pixels: 'uint8', from 0 to 255, or 'float32', as `preprocess` has them.

    Returns:
      The content of the card, a dict.

    Raises:
      UserError: as `vit_jax.inference.export.write`.
    """
    return exports.write(
      path,
      self.module,
      self.params,
      self.card,
      self.image_size,
      to=to,
      output=output,
      pixels=pixels,
    )

  # A pytree of its parameters -------------------------------------------------

  def tree_flatten_with_keys(self):
    key = jax.tree_util.GetAttrKey('params')
    rest = _Rest(self.module, self.card, self.image_size, self.source)
    return ((key, self.params),), rest

  @classmethod
  def tree_unflatten(cls, rest, children):
    return cls(
      rest.module, children[0], rest.card, rest.image_size, rest.source
    )

  # ----------------------------------------------------------------------------

  @property
  def _logits_and_features(self):
    return functools.partial(predict.forward, self.module, self.params)

  def _compute(self, function):
    def compute(pixels):
      # What is seen in a model should not depend on what computes it.
      with jax.default_matmul_precision('highest'):
        return (np.asarray(function(self.module, self.params, pixels)),)

    return compute

  def _map(self, function, images):
    """Returns the results of images, batch by batch, each of them joined.

    Args:
      function: maps pixels of a batch to arrays [batch, ...].
      images: see `preprocess`.
    """
    results = [
      [array[: len(labels)] for array in function(pixels)]
      for labels, pixels in self._batches(images)
    ]
    return [np.concatenate(arrays) for arrays in zip(*results)]

  def _batches(self, images):
    """Yields (what to call each image, pixels), as `vit_jax predict` has them.

    Raises:
      UserError: an image can't be read.
    """
    given = given_images.listed(images)
    chain = self.card.preprocessing.chain(self.image_size)
    batches = inputs.Images(given, chain, self.image_size, predict.BATCH_SIZE)
    for labels, pixels, problems in batches.batches():
      for label, problem in zip(labels, problems):
        if problem:
          raise errors.UserError(f'{names.shown(label)}: {problem}')
      yield labels, pixels

  def _check_pixels(self, pixels):
    rows, columns = self.image_size
    shape = np.shape(pixels)
    dtype = jnp.result_type(pixels)
    wanted = f'floats [images, {rows}, {columns}, 3] in [-1, 1]'
    if not jnp.issubdtype(dtype, jnp.floating) or len(shape) != 4:
      raise errors.UserError(
        f'The model takes {wanted}, and these are {dtype} {list(shape)}; '
        'model.preprocess(images) makes them of images.'
      )
    if shape[1:] != (rows, columns, 3):
      raise errors.UserError(
        f'The model takes {wanted}, and these are {list(shape)}; '
        'load(..., image_size=...) makes it one of that size.'
      )


@dataclasses.dataclass(frozen=True, eq=False)
class _Rest:
  """What is static of a `Pretrained`; the same card is the same object."""

  module: nn.Module
  card: cards.Card
  image_size: tuple[int, int]
  source: str

  def _key(self):
    return self.module, id(self.card), self.image_size, self.source

  def __eq__(self, other):
    return isinstance(other, _Rest) and self._key() == other._key()

  def __hash__(self):
    return hash(self._key())


@functools.partial(jax.jit, static_argnums=0)
def _tokens(module, params, pixels):
  output = module.apply({'params': params}, pixels, train=False)
  return output.tokens.astype(jnp.float32)


@functools.partial(jax.jit, static_argnums=0)
def _attention(module, params, pixels):
  """Returns [images, depth, heads, tokens, tokens]."""
  return jnp.stack(attention_maps.compute(module, params, pixels).layers, 1)


def _check_same(params, wanted):
  given, wanted = pytrees.flatten(params), pytrees.flatten(wanted)
  lines = pytrees.diff(_shapes(given), _shapes(wanted))
  if lines:
    text = '\n'.join(lines)
    raise errors.UserError(f'These are not parameters of the model:\n{text}')


def _shapes(flat):
  return {path: tuple(np.shape(leaf)) for path, leaf in flat.items()}
