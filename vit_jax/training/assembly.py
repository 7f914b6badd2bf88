"""The components of a run, assembled from its configuration."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from vit_jax import models
from vit_jax.config import schema, validation
from vit_jax.data import batch as batches
from vit_jax.data import sources, transforms
from vit_jax.data.transforms import mixing
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import objectives, train_step
from vit_jax.training.optim import optimizers, schedules

# {field: table of choices, by name}, of all components of a run.
CHOICES = {
  **models.CHOICES,
  **sources.CHOICES,
  **transforms.CHOICES,
  **objectives.CHOICES,
  **optimizers.CHOICES,
}


@dataclasses.dataclass(frozen=True)
class Components:
  """What a run is made of; no array is allocated."""

  mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh
  objective: Any
  optimizer: optax.GradientTransformation
  image_size: tuple[int, int]  # (rows, columns) in pixels.
  state: train_step.TrainState  # Shapes, dtypes and shardings.
  learning_rate: Callable  # See `schedules.build`.
  mix: Callable | None  # For this and the next three fields,
  num_microbatches: int  # see `train_step.make_train_step`.
  ema_decay: float | None
  trained: Any

  def init(self, seed):
    """Returns the initial state; each parameter is created sharded."""
    init = train_step.make_init(
      self.objective,
      self.optimizer,
      self.image_size,
      averages=self.ema_decay is not None,
    )
    shardings = jax.tree.map(lambda leaf: leaf.sharding, self.state)
    return jax.jit(init, out_shardings=shardings)(jax.random.key(seed))

  def train_step(self, **options):
    """Returns the jitted step; it donates the state that it is given.

    Args:
      **options: further arguments of `train_step.make_train_step`.
    """
    step = train_step.make_train_step(
      self.objective,
      self.optimizer,
      mix=self.mix,
      num_microbatches=self.num_microbatches,
      ema_decay=self.ema_decay,
      trained=self.trained,
      learning_rate=self.learning_rate,
      **options,
    )
    shardings = jax.tree.map(lambda leaf: leaf.sharding, self.state)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))

  def lower_train_step(self, run):
    """Returns the step that `vit_jax train` compiles, a `jax.stages.Lowered`.

    Args:
      run: the part `run` of the configuration.
    """
    every_device = PartitionSpec(self.mesh.axis_names)
    halt = jax.ShapeDtypeStruct(
      (self.mesh.size,), bool, sharding=NamedSharding(self.mesh, every_device)
    )
    step = self.train_step(
      max_in_row=run.max_consecutive_skips,
      loss_spike_factor=run.loss_spike_factor,
      report_parameter_norm=run.log_parameter_norm,
    )
    return step.lower(self.state, self.batch(run.batch_size), halt)

  def batch(self, size):
    """Returns the shapes, dtypes and shardings of a batch of `size` images."""
    return self._batch(size, placement.batch_sharding(self.mesh))

  def one_image(self):
    """Returns the shapes and dtypes of a batch of one image, of no mesh."""
    return self._batch(1, None)

  def _batch(self, size, sharding):
    def spec(value):
      # On devices, indices have 32 bits.
      dtype = np.int32 if value.dtype == np.int64 else value.dtype
      return jax.ShapeDtypeStruct(
        (size, *value.shape), dtype, sharding=sharding
      )

    return jax.tree.map(spec, batches.padding(*self.image_size))

  def dummy_batch(self, size):
    """Returns a batch of zeros, created by each process for itself."""
    return jax.tree.map(
      lambda spec: jax.make_array_from_callback(
        spec.shape,
        spec.sharding,
        lambda index: np.zeros(
          spec.sharding.shard_shape(spec.shape), spec.dtype
        ),
      ),
      self.batch(size),
    )

  def predict(self):
    """Returns the jitted predict(params, batch), which returns logits."""
    return jax.jit(self.objective.predict)


def validate(config, num_devices):
  """Finds impossible or conflicting values, before a run is built.

  Raises:
    UserError: names the field, what was given and what fits.
  """
  validation.check_choices(config, CHOICES)
  validation.validate(config, num_devices)


def build(config, num_classes, mesh, num_steps=None):
  """Returns the `Components` of a configuration.

  Args:
    config: a valid configuration.
    num_classes: number of outputs of the head.
    mesh: of devices, or a `jax.sharding.AbstractMesh` for shapes alone.
    num_steps: length of the training, for the learning rate's schedule; None
      where nothing is trained.
  """
  image_size = schema.image_size(config.data)
  model = models.build(
    config.model,
    num_classes,
    placement.activation_constraint(mesh),
    meshes.platform(mesh),
  )
  objective = objectives.build(
    config.objective, model, num_classes, models.family(config.model.name)
  )
  rng = jax.eval_shape(lambda: jax.random.key(0))
  params = jax.eval_shape(lambda rng: objective.init(rng, image_size), rng)
  if num_steps is None:
    num_steps = config.optimizer.warmup_steps
  optimizer = optimizers.build(config.optimizer, params, num_steps)
  ema_decay = config.optimizer.ema_decay
  init = train_step.make_init(
    objective, optimizer, image_size, averages=ema_decay is not None
  )
  state = jax.eval_shape(init, rng)
  state = jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    state,
    placement.state_shardings(state, mesh),
  )
  return Components(
    mesh,
    objective,
    optimizer,
    image_size,
    state,
    learning_rate=schedules.build(config.optimizer, num_steps),
    mix=mixing.build(config.data, num_classes),
    num_microbatches=config.optimizer.accumulation_steps,
    ema_decay=ema_decay,
    trained=optimizers.trained(config.optimizer, params),
  )
