"""Memory on CPUs: what a step has used is there for the next one.

A step takes hundreds of megabytes for what it computes in between. The C
library gives so large a piece back to the system when it is freed, and gets
the next one page by page, each of them cleared first: a fifth of the time of a
small model's training step.
"""

import ctypes

import jax

from vit_jax.sharding import mesh as meshes

# From malloc.h of glibc: how many pieces come from the system one by one, and
# how much must be free at the end of the heap before that is given back.
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1


def keep():
  """Has the C library keep what is freed, if this process computes on a CPU.

  Programs then run in the thread that calls them, where the main heap is: one
  at a time, so the heap grows by the memory of one. Call it before JAX looks
  for devices.

  Raises:
    UserError: as of `sharding.mesh.devices`.
  """
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  library = ctypes.CDLL(None)
  if meshes.devices()[0].platform == 'cpu' and hasattr(library, 'mallopt'):
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)  # Never.
