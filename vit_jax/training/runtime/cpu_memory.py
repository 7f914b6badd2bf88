"""Memory on CPUs: freed memory is kept for the next step.

A step takes hundreds of megabytes for temporaries. The C library returns such
large blocks to the system when they are freed, and gets the next ones page by
page, each of them cleared first: a fifth of the time of a small model's
training step.
"""

import ctypes

import jax

from vit_jax.sharding import mesh as meshes

# From malloc.h of glibc: how many blocks may come from the system by mmap, and
# how much must be free at the end of the heap before it is returned.
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1


def keep():
  """Makes the C library keep freed memory, if this process computes on a CPU.

  Programs then run in the thread that calls them, where the main heap is: one
  at a time, so the heap grows by the memory of one. Call it before JAX
  initializes its devices.

  Raises:
    UserError: see `sharding.mesh.devices`.
  """
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  library = ctypes.CDLL(None)
  if meshes.devices()[0].platform == 'cpu' and hasattr(library, 'mallopt'):
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)  # Never.
