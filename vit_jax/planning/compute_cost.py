"""The FLOPs of a pre-training, as table 6 of the ViT paper counts them."""

import jax
import jax.numpy as jnp

from vit_jax import models
from vit_jax.config import schema
from vit_jax.nn import flop_count

JFT_CLASSES = 18_291  # Of JFT-300M (Sun et al., 2017, section 3).
JFT_IMAGES = 303e6  # ViT paper, section 4.1.


def exaflops(name, num_images, num_epochs, num_classes=JFT_CLASSES):
  """Returns 1e-18 of the operations of a pre-training (ViT paper, table 6).

  At 224 pixels. The head counts, as it is computed for every image; taps on
  padding don't: with them, ResNets would cost 3.5 % more than is printed.

  Args:
    name: of a model, such as 'ViT-B/16'.
    num_images: in the data set.
    num_epochs: how many times each is seen.
    num_classes: of the data set.
  """
  model = schema.default().model
  model.name = name
  module = models.build(model, num_classes)
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)

  def logits(rng, images):  # Traced once: initialization has no products.
    output, _ = module.init_with_output(rng, images, train=False)
    return output.logits

  forward = flop_count.forward_flops(
    logits, jax.random.key(0), images, on_padding=False
  )
  return 3 * forward * num_images * num_epochs / 1e18
