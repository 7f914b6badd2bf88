"""The collectives of a compiled step and their traffic, read from its HLO.

The text of a compiled program names every collective, its shape and the groups
of devices that take part. Those in a loop count as often as the loop runs.
"""

import re
from typing import NamedTuple

from vit_jax.planning import hlo


class Traffic(NamedTuple):
  """Collectives of one kind, over groups of one size, of one step.

  Attributes:
    count: how many.
    num_bytes: that each device sends, where a group of n forms a ring
      (Patarasuk & Yuan, 2009): all-gather and reduce-scatter send (n - 1) / n
      of the whole array, all-reduce twice that.
  """

  count: int
  num_bytes: float

  def __add__(self, other):
    return Traffic(*map(sum, zip(self, other)))


# Kind: bytes that each of n devices sends where the result has `size` bytes.
_SENT = {
  'all-reduce': lambda size, n: 2 * size * (n - 1) / n,
  'all-gather': lambda size, n: size * (n - 1) / n,
  'reduce-scatter': lambda size, n: size * (n - 1),
  'all-to-all': lambda size, n: size * (n - 1) / n,
  'ragged-all-to-all': lambda size, n: size * (n - 1) / n,
  'collective-permute': lambda size, n: size,
  'collective-broadcast': lambda size, n: size,
}

# These only forward an array, at most in another form.
_PASSING = ('bitcast', 'convert', 'copy', 'reshape', 'transpose')


def traffic(text):
  """Returns {(kind, group size): Traffic} of a compiled program.

  An all-reduce of which each device uses only its own shard counts as a
  reduce-scatter: on TPU a fusion does both, and on CPU, where XLA has no
  reduce-scatter, other platforms would use one.

  Args:
    text: what `jax.stages.Compiled.as_text` returns.

  Raises:
    ValueError: there are collectives in a loop whose trip count is unknown.
  """
  program = hlo.parse(text)
  total = {}
  # The stages of an asynchronous collective share a channel.
  for found in dict(_walk(program, program.entry)).values():
    for key, one in found.items():
      total[key] = total.get(key, Traffic(0, 0)) + one
  return total


def _walk(program, name):
  """Yields (channel, {(kind, group size): Traffic}) of a computation."""
  for instruction in program.computations[name].values():
    kind = instruction.opcode.removesuffix('-start')
    if kind in _SENT:
      channel = re.search(r'channel_id=(\d+)', instruction.attributes)
      yield (
        channel[1] if channel else (name, instruction.name),
        _of_collective(program, name, instruction, kind),
      )
    elif instruction.opcode == 'while':
      yield from _of_loop(program, instruction)
    elif instruction.opcode in ('fusion', 'call', 'async-start', 'conditional'):
      for inner in hlo.called(
        instruction,
        *('calls', 'to_apply', 'branch_computations'),
        *('true_computation', 'false_computation'),
      ):
        yield from _walk(program, inner)


def _of_loop(program, loop):
  (body,) = hlo.called(loop, 'body')
  times = hlo.trip_count(program, loop)
  for channel, found in _walk(program, body):
    if times is None:
      raise ValueError(f'How often {loop.name} runs is not known.')
    yield (
      channel,
      {
        key: Traffic(times * one.count, times * one.num_bytes)
        for key, one in found.items()
      },
    )


def _of_collective(program, name, instruction, kind):
  n = hlo.group_size(instruction, program.num_devices)
  sizes = hlo.array_bytes(instruction.shape)
  if instruction.opcode != kind and kind != 'all-reduce':
    # The start of an asynchronous one returns operands, results and context.
    operands = len(instruction.operands)
    sizes = sizes[operands : 2 * operands]
  found = {}
  for index, size in enumerate(sizes):
    array_kind = kind
    if kind == 'all-reduce' and _is_scattered(
      program, name, instruction, index if len(sizes) > 1 else None
    ):
      array_kind, size = 'reduce-scatter', size / n
    sent = found.get((array_kind, n), Traffic(1, 0.0)).num_bytes
    found[array_kind, n] = Traffic(1, sent + _SENT[array_kind](size, n))
  return found


def _is_scattered(program, name, instruction, index):
  """Returns whether each device uses only a part of an array."""
  users = list(_users(program, name, instruction, index))
  return bool(users) and all(user.opcode == 'dynamic-slice' for user in users)


def _users(program, name, instruction, index=None, caller=None):
  """Yields the instructions that use an array, also through `_PASSING` ones.

  Args:
    program: the `hlo.Program`.
    name: of the computation.
    instruction: returns the array, or a tuple that holds it.
    index: where in the tuple; None: the instruction returns the array.
    caller: where the computation is called: the first three of these arguments
      and its own caller; None: it is not that of a fusion.
  """
  if instruction.is_root:
    if caller is None:
      yield instruction
    else:
      yield from _users(program, *caller)
  for user in program.computations[name].values():
    if instruction.name not in user.operands:
      continue
    if user.opcode == 'get-tuple-element':
      if index is None or f'index={index}' in user.attributes.split(', '):
        yield from _users(program, name, user, None, caller)
    elif user.opcode in _PASSING:
      yield from _users(program, name, user, None, caller)
    elif user.opcode == 'fusion':
      parameter = _parameter(program, user, instruction.name)
      inner = hlo.called(user, 'calls')[0]
      outer = (name, user, None, caller)
      yield from _users(program, inner, parameter, None, outer)
    else:
      yield user


def _parameter(program, fusion, operand):
  """Returns the parameter that an operand of a fusion becomes inside."""
  (inner,) = hlo.called(fusion, 'calls')
  number = str(fusion.operands.index(operand))
  return next(
    one
    for one in program.computations[inner].values()
    if one.opcode == 'parameter' and one.operands == (number,)
  )
