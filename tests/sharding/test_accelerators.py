"""What JAX calls a device is a row of the table, or unknown."""

import types

import pytest

from vit_jax.sharding import accelerators


@pytest.mark.parametrize(
  ('kind', 'name'),
  [
    ('TPU v3', 'v3'),
    ('TPU v5 lite', 'v5e'),
    ('TPU v5', 'v5p'),
    ('TPU v6 lite', 'v6e'),
    ('NVIDIA A100-SXM4-40GB', 'a100'),
    ('NVIDIA H100 80GB HBM3', 'h100'),
    ('NVIDIA H200', 'h200'),
  ],
)
def test_a_device_is_a_row(kind, name):
  device = types.SimpleNamespace(device_kind=kind)
  assert accelerators.of_device(device) == accelerators.CHIPS[name]


@pytest.mark.parametrize(
  'kind', ['cpu', 'TPU v2', 'NVIDIA H100 PCIe', 'NVIDIA H200 NVL', '']
)
def test_what_is_in_no_row_is_unknown(kind):
  device = types.SimpleNamespace(device_kind=kind)
  assert accelerators.of_device(device) is None
