"""Which parameters are trained: masks for optax."""

from vit_jax import errors
from vit_jax.config import validation
from vit_jax.training.optim import parameter_groups


def trainable(params, *patterns):
  """Returns a tree as `params`: True what is trained, False what is frozen.

      mask = vit_jax.trainable(model.params, 'head/.*')
      optimizer = optax.multi_transform(
        {True: optax.adam(1e-3), False: optax.set_to_zero()}, mask
      )

  (`optax.masked` alone would pass on the gradients of what is frozen.)

  Args:
    params: tree of parameters, or of their shapes.
    *patterns: regular expressions; a parameter is trained if one of them
      matches its whole path, such as 'encoder/block_11/mlp/hidden/kernel'.

  Raises:
    UserError: a pattern matches no parameter (it names the nearest paths) or
      is none; there is none; or layers in a loop are neither all trained nor
      all frozen.
  """
  if not patterns:
    raise errors.UserError(
      "trainable() needs patterns of what is trained, as 'head/.*'; '.*' is "
      'everything.'
    )
  rules = [(pattern, True) for pattern in patterns]
  return _mask('trainable', rules, False, params)


def frozen(params, *patterns):
  """Returns the mask of `trainable` that is False where a pattern matches."""
  if not patterns:
    raise errors.UserError(
      "freeze() needs patterns of what is frozen, as 'encoder/.*'."
    )
  rules = [(pattern, False) for pattern in patterns]
  return _mask('freeze', rules, True, params)


def _mask(name, rules, rest, params):
  for pattern, _ in rules:
    if not isinstance(pattern, str):
      raise errors.UserError(
        f'{name}: {pattern!r} is no pattern of paths, as a text is.'
      )
  validation.check_patterns(name, rules)
  if not any(pattern == '.*' for pattern, _ in rules):
    rules = [*rules, ('.*', rest)]
  return parameter_groups.trainable(name, rules, params)
