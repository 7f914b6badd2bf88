"""The parts of a run, put together from its configuration."""

import dataclasses
from typing import Any

import jax
import optax

from vit_jax import experiment, models, objectives, train_step
from vit_jax.optim import optimizers
from vit_jax.sharding import placement


@dataclasses.dataclass(frozen=True)
class Assembly:
  """What a run needs; nothing of it holds an array."""

  mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh
  objective: Any
  optimizer: optax.GradientTransformation
  image_size: tuple[int, int]  # (rows, columns) in pixels.
  state: train_step.TrainState  # Shapes, dtypes and shardings.

  def init(self, seed):
    """Returns the first state; each parameter is born on its sharding."""
    init = train_step.make_init(self.objective, self.optimizer, self.image_size)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, self.state)
    return jax.jit(init, out_shardings=shardings)(jax.random.key(seed))

  def train_step(self):
    """Returns the compiled step; it takes over the state that it is given."""
    step = train_step.make_train_step(self.objective, self.optimizer)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, self.state)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))

  def predict(self):
    """Returns the compiled predict(params, batch), which gives logits."""
    return jax.jit(self.objective.predict)


def build(config, num_classes, mesh, num_steps=None):
  """Returns the `Assembly` of a configuration.

  Args:
    config: a valid configuration.
    num_classes: number of outputs of the head.
    mesh: devices, or a `jax.sharding.AbstractMesh` to learn shapes from.
    num_steps: length of the training, for the learning rate's schedule; None
      where nothing is trained.
  """
  image_size = experiment.image_size(config.data)
  model = models.build(config.model, num_classes)
  objective = objectives.build(config.objective, model, num_classes)
  rng = jax.eval_shape(lambda: jax.random.key(0))
  params = jax.eval_shape(lambda rng: objective.init(rng, image_size), rng)
  if num_steps is None:
    num_steps = config.optimizer.warmup_steps
  optimizer = optimizers.build(config.optimizer, params, num_steps)
  state = jax.eval_shape(
    train_step.make_init(objective, optimizer, image_size), rng
  )
  state = jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    state,
    placement.state_shardings(state, mesh),
  )
  return Assembly(mesh, objective, optimizer, image_size, state)
