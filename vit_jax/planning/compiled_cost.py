"""XLA's analysis of a compiled program: bytes per device, FLOPs, traffic."""

from typing import NamedTuple

from vit_jax.planning import collectives


class Memory(NamedTuple):
  """Bytes on each device while a program runs.

  Attributes:
    arguments: the training state and the batch.
    results: outputs, without those aliased to (donated) arguments.
    temporaries: activations and gradients.
    code: the program itself.
  """

  arguments: int
  results: int
  temporaries: int
  code: int

  @property
  def total(self):
    return sum(self)


def memory(compiled):
  """Returns the `Memory` of a `jax.stages.Compiled`."""
  stats = compiled.memory_analysis()
  return Memory(
    arguments=stats.argument_size_in_bytes,
    results=stats.output_size_in_bytes - stats.alias_size_in_bytes,
    temporaries=stats.temp_size_in_bytes,
    code=stats.generated_code_size_in_bytes,
  )


def figures(compiled):
  """Returns {name: number} of costs that code changes should not increase.

  FLOPs and bytes are those of one device; XLA counts the body of a loop once,
  however often it runs.

  Args:
    compiled: a `jax.stages.Compiled`.
  """
  cost = compiled.cost_analysis()
  traffic = collectives.traffic(compiled.as_text()).values()
  return {
    'flops': int(cost['flops']),
    'bytes_accessed': int(cost['bytes accessed']),
    'temporary_bytes': memory(compiled).temporaries,
    'collectives': sum(one.count for one in traffic),
    'collective_bytes': int(sum(one.num_bytes for one in traffic)),
  }
