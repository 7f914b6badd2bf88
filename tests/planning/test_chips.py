"""A topology is what is written, or a mistake that is told."""

import pytest

from vit_jax import errors
from vit_jax.planning import chips


@pytest.mark.parametrize(
  ('name', 'kind', 'num_chips', 'num_devices'),
  [
    ('v5p:8x8x8', 'v5p', 512, 512),
    ('v3:4x8', 'v3', 32, 64),  # Two cores each, which JAX sees.
    ('v4:2x2x1', 'v4', 4, 4),
    ('h100:64', 'h100', 64, 64),
    ('cpu:8', 'cpu', 8, 8),
    ('64', 'cpu', 64, 64),
  ],
)
def test_chips_and_devices_are_counted(name, kind, num_chips, num_devices):
  topology = chips.parse(name)
  assert topology.kind == kind
  assert (topology.num_chips, topology.num_devices) == (num_chips, num_devices)


def test_devices_share_the_memory_of_their_chip():
  assert chips.parse('v3:2x2').device_memory == 16 * 2**30
  assert chips.parse('v4:2x2x1').device_memory == 32 * 2**30
  assert chips.parse('8').device_memory is None


def test_only_tpus_have_a_shape():
  assert chips.parse('v5e:4x4').is_tpu
  assert not chips.parse('h200:8').is_tpu
  assert not chips.parse('8').is_tpu


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('v5p', 'neither CHIP:SHAPE, as v5p:8x8x8, nor CHIP:NUMBER'),
    ('v5p:0x2x2', 'neither CHIP:SHAPE'),
    ('v5p:8*8', 'neither CHIP:SHAPE'),
    ('v5x:8x8', "'v5x' is unknown. Did you mean v5"),
    ('v5p:8x8', r'2 dimension\(s\); v5p needs 3, as v5p:4x4x4'),
    ('h100:8x8', r'2 dimension\(s\); h100 needs 1, as h100:4'),
    ('8x8', r'2 dimension\(s\); cpu needs 1, as cpu:4'),
  ],
)
def test_a_mistake_is_told(name, message):
  with pytest.raises(errors.UserError, match=message):
    chips.parse(name)
