"""The first state of a training: at random, or from weights that exist."""

import jax

from vit_jax import errors, pytrees
from vit_jax.config import schema
from vit_jax.sharding import placement
from vit_jax.weights import loading

# Fields that change what the same weights compute.
_MUST_AGREE = ('gelu', 'norm_epsilon', 'position_embedding')


def check(config, workdir):
  """Finds the weights of `config.init`, and fetches them if need be.

  Where the run has checkpoints, it has no more use for them.

  Args:
    config: a valid configuration.
    workdir: path of the run's folder.

  Raises:
    UserError: the weights can't be had, or compute otherwise than the model.
  """
  if config.init is not None and not (workdir / 'checkpoints').exists():
    _check_numerics(config, loading.find(config.init))


def first_state(config, components, say):
  """Returns the state of step 0.

  With `config.init`, parameters are those of the weights it names: position
  embeddings are resized to the configured resolution, the head is a fresh one,
  and a class token is added or dropped as model.pooling says. Each array is
  read, fitted and placed on its devices before the next.

  Args:
    config: a valid configuration.
    components: the `assembly.Components` of it.
    say: takes the report of what was loaded.

  Raises:
    UserError: the weights can't be had, or do not fit the model.
  """
  state = components.init(config.seed)
  if config.init is None:
    return state
  found = loading.find(config.init)
  image_size = schema.image_size(config.data)
  # Weights come layer by layer, even if the model has them stacked.
  single = pytrees.flatten(pytrees.unstack(components.state.params))

  def place(path, array):
    return placement.put(array, single[path].sharding)

  initial = pytrees.flatten(state.params)
  params, report = found.load(
    pytrees.unflatten(
      {path: initial.get(path, single[path]) for path in single}
    ),
    loading.changes_to(found, config.model, image_size, head='replace'),
    place,
  )
  commit = found.card.source.get('commit')
  pinned = f' (commit {commit})' if commit else ''
  say(f'{config.init}{pinned}: {report}')
  return _start_from(params, state, components)


def _start_from(params, state, components):
  """Returns the state with other parameters, the optimizer told of them."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, components.state)

  def start(params, state):
    if pytrees.are_stacked(state.params):
      params = pytrees.stack(params)
    return state.with_params(params, components.optimizer)

  return jax.jit(start, out_shardings=shardings)(params, state)


def _check_numerics(config, found):
  given = {name: found.model[name] for name in _MUST_AGREE}
  wanted = {name: config.model[name] for name in _MUST_AGREE}
  if given == wanted:
    return
  flags = ' '.join(
    f'--config.model.{name}={value}'
    for name, value in given.items()
    if value != wanted[name]
  )
  raise errors.UserError(
    f'The weights of {config.init} compute with {given}, the model with '
    f'{wanted}. Give {flags}.'
  )
