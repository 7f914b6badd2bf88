"""Every test runs on eight CPU devices and gets no silent broadcasting."""

import os

# Before JAX starts; processes that tests start inherit it.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax
import pytest

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def rng():
  return jax.random.key(0)
