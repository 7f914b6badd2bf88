"""Masked-patch prediction: to name the colours of patches that are not shown.

ViT paper, section B.1.2, after BERT (Devlin et al., 2019): half of the patch
embeddings are corrupted, and of each corrupted patch the mean colour is
predicted, in 3 bits per channel, from what the encoder makes of it.
"""

import dataclasses

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from vit_jax import errors
from vit_jax.data import batch as batches
from vit_jax.evaluation import metrics

LEVELS = 8  # Of red, green and blue: 3 bits each.
COLOURS = LEVELS**3

# In a random order of the patches, those up to a fraction of them are replaced
# by the mask token, then up to another by a patch from elsewhere in the image,
# then some stay as they are: 80, 10 and 10 % of the half that is predicted.
MASKED, REPLACED, PREDICTED = 0.40, 0.45, 0.50

_head = nn.Dense(COLOURS, kernel_init=nn.initializers.zeros, dtype=jnp.float32)
_init_token = nn.initializers.normal(stddev=0.02)  # As position embeddings.


@flax.struct.dataclass
class Corruption:
  """What is done to the patches; all [batch, patches], in raster order.

  masked: bool; whether the mask token takes the place of the patch.
  source: int32; of which patch of the same image the embedding is taken.
  predicted: bool; whether its colour is to be predicted.
  """

  masked: jax.Array
  source: jax.Array
  predicted: jax.Array

  def apply(self, patches, mask_token):
    """Maps embeddings [batch, patches, width] to corrupted ones."""
    patches = jnp.take_along_axis(patches, self.source[..., None], axis=1)
    return jnp.where(
      self.masked[..., None], mask_token.astype(patches.dtype), patches
    )


@flax.struct.dataclass
class Prediction:
  """How well colours were predicted; all [batch, patches], in raster order.

  loss: float32; -log of the probability of the right colour, in nats.
  correct: bool; whether that was the most probable one.
  counted: bool; whether the patch was corrupted, in a real image.
  """

  loss: jax.Array
  correct: jax.Array
  counted: jax.Array


@dataclasses.dataclass(frozen=True)
class MaskedPatches:
  """Trains a plain ViT; labels are not looked at.

  Its parameters are those of the model and, under `objective`, the
  `mask_token` and the `head`.

  Attributes:
    model: a module that embeds patches one by one, without a head.
    patch_size: side of a patch in pixels.
    width: of a patch embedding.
  """

  model: nn.Module
  patch_size: int
  width: int

  def init(self, rng, image_size):
    """Returns parameters for images of (rows, columns) pixels, a nested dict.

    Works under `jax.eval_shape` and `jax.jit` with a constant image size.
    """
    model_rng, token_rng, head_rng = jax.random.split(rng, 3)
    images = jnp.zeros([1, *image_size, 3])
    params = self.model.init(model_rng, images, train=False)['params']
    head = _head.init(head_rng, jnp.zeros([1, self.width]))['params']
    token = _init_token(token_rng, (1, 1, self.width))
    return {**params, 'objective': {'mask_token': token, 'head': head}}

  def loss(self, params, batch, rng):
    """Returns the mean loss over corrupted patches, and what to report of it.

    Args:
      params: parameters, see `init`.
      batch: as vit_jax/data/batch.py tells, on the device.
      rng: for the corruption, of each image by its index, and for dropout.

    Returns:
      The float32 scalar, and {name: metrics.Mean} with `loss` and `accuracy`
      over the corrupted patches of real images.
    """
    corruption_rng, dropout_rng = jax.random.split(rng)
    prediction = self._predict(
      params, batch, corruption_rng, train=True, rngs={'dropout': dropout_rng}
    )
    reported = {
      'loss': metrics.Mean.of(prediction.loss, prediction.counted),
      'accuracy': metrics.Mean.of(prediction.correct, prediction.counted),
    }
    mean = reported['loss']
    return mean.total / jnp.maximum(mean.count, 1), reported

  def predict(self, params, batch):
    """Returns the `Prediction` for a batch, each image corrupted as ever.

    Which patches are corrupted depends on the image's index alone, so that
    what is held out is measured alike at any time and in any batches.
    """
    return self._predict(params, batch, jax.random.key(0), train=False)

  def _predict(self, params, batch, rng, **options):
    model_params = dict(params)
    own = model_params.pop('objective')
    target = mean_colours(batch['image'], self.patch_size)
    corruption = corrupt(rng, batch['index'], target.shape[1])
    output = self.model.apply(
      {'params': model_params},
      batches.to_model_range(batch['image']),
      corrupt=lambda patches: corruption.apply(patches, own['mask_token']),
      **options,
    )
    tokens = output.tokens[:, -target.shape[1] :]  # [batch, patches, width]
    logits = _head.apply({'params': own['head']}, tokens)
    return Prediction(
      loss=optax.softmax_cross_entropy_with_integer_labels(logits, target),
      correct=jnp.argmax(logits, axis=-1) == target,
      counted=corruption.predicted & batch['mask'][:, None],
    )


def corrupt(rng, index, num_patches):
  """Returns the `Corruption` of images, each drawn by its own index.

  Args:
    rng: a key.
    index: int [batch]; position of each image in its data set.
    num_patches: in each image; at least two.
  """

  masked, replaced, predicted = (
    round(share * num_patches) for share in (MASKED, REPLACED, PREDICTED)
  )

  def draw(index):
    order_rng, source_rng = jax.random.split(jax.random.fold_in(rng, index))
    patch = jnp.arange(num_patches)
    place = jax.random.permutation(order_rng, patch)
    offset = jax.random.randint(source_rng, (num_patches,), 1, num_patches)
    moves = (place >= masked) & (place < replaced)
    return Corruption(
      masked=place < masked,
      source=jnp.where(moves, (patch + offset) % num_patches, patch),
      predicted=place < predicted,
    )

  return jax.vmap(draw)(index)


def mean_colours(image, patch_size):
  """Returns the colour of each patch, from 0 to 511, int32 [batch, patches].

  The mean of each channel, in eighths of its range; red counts 64, green 8.

  Args:
    image: [batch, height, width, 3], from 0 to 255.
    patch_size: side of a patch in pixels; divides height and width.
  """
  batch, height, width, _ = image.shape
  rows, columns = height // patch_size, width // patch_size
  pixels = image.astype(jnp.float32).reshape(
    batch, rows, patch_size, columns, patch_size, 3
  )
  mean = pixels.mean(axis=(2, 4)).reshape(batch, rows * columns, 3)
  level = (mean * (LEVELS / 256)).astype(jnp.int32)  # Rounded down.
  return level @ jnp.array([LEVELS**2, LEVELS, 1])


def build(objective, model, num_classes, family):
  """Returns the `MaskedPatches` of a model; its classes are of no use.

  Raises:
    UserError: the model is no plain ViT. The stem of a hybrid would see parts
      of masked patches through their neighbours.
  """
  del objective, num_classes
  if not family.embeds_patches:
    raise errors.UserError(
      'objective.name=masked_patches needs a plain ViT, as ViT-B/16, whose '
      f'patches are embedded one by one; not a {family.title}.'
    )
  if model.head_hidden:
    raise errors.UserError(
      'model.head=pre_logits does not fit objective.name=masked_patches, '
      'which has a head of its own; leave model.head at linear.'
    )
  headless = model.clone(num_classes=0)
  return MaskedPatches(headless, model.stem.patch_size, model.stem.width)
