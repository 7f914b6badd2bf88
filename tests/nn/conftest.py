"""What tests of layers share."""

import pytest


@pytest.fixture
def jax_finds_cudnn(monkeypatch):
  """A machine on which JAX traces cuDNN's kernels; none can be run."""
  checks = 'jax._src.cudnn.fused_attention_stablehlo.check_'
  monkeypatch.setattr(f'{checks}cudnn_version', lambda: 91000)
  monkeypatch.setattr(f'{checks}compute_capability', lambda _: True)
