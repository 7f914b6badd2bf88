import subprocess
import sys
import types

import jax
import pytest

from vit_jax.training.runtime import cpu_memory

# Prints the page faults of 20 calls, each of which needs 64 MB in between.
FAULTS = """
import resource, sys
import jax, jax.numpy as jnp
from vit_jax.training.runtime import cpu_memory

if sys.argv[1] == 'keep':
  cpu_memory.keep()

@jax.jit
def step(x):
  between = jax.lax.optimization_barrier(x[:, None] + x)
  return between.sum(0) / between.max()

def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def run(x, count):
  for _ in range(count):
    x = step(x).block_until_ready()
  return x

x = run(jnp.ones(4096), 10)
before = faults()
run(x, 20)
print(faults() - before)
"""


def num_faults(argument):
  shown = subprocess.run(
    [sys.executable, '-c', FAULTS, argument],
    capture_output=True,
    text=True,
    check=True,
  )
  return int(shown.stdout)


@pytest.mark.skipif(sys.platform != 'linux', reason='It is of glibc.')
def test_a_step_finds_the_memory_of_the_one_before():
  # As usual all 20 take it anew. Else the heap may still grow once or twice.
  assert 4 * num_faults('keep') < num_faults('as usual')


class Library:
  def __init__(self):
    self.told = []

  def mallopt(self, *said):
    self.told.append(said)


@pytest.mark.parametrize(
  ('platform', 'library', 'is_told'),
  [('cpu', Library(), True), ('gpu', Library(), False), ('cpu', [], False)],
)
def test_only_a_library_that_listens_is_told(
  monkeypatch, platform, library, is_told
):
  monkeypatch.setattr(jax.config, 'update', lambda name, value: None)
  device = types.SimpleNamespace(platform=platform)
  monkeypatch.setattr(jax, 'devices', lambda: [device])
  monkeypatch.setattr(cpu_memory.ctypes, 'CDLL', lambda name: library)
  cpu_memory.keep()
  assert bool(getattr(library, 'told', [])) == is_told
