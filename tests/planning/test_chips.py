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
    ('v4:12x12x24', 'v4', 3456, 3456),
    ('v5p:2x2x4', 'v5p', 16, 16),
    ('v5p:16x16x24', 'v5p', 6144, 6144),
    ('v6e:2x4', 'v6e', 8, 8),
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
    ('v5p:8x8', 'no slice of v5p. Of 64 chips: 4x4x4. All there are: 2x2x1,'),
    ('v5p:7', 'no slice of v5p. All there are: .*, and AxBxC with A <= B <= C'),
    ('v5p:8x4x4', 'no slice of v5p. Of 128 chips: 4x4x8. All'),
    ('v5p:16x16x28', 'each a multiple of 4, of up to 6,144 chips'),
    ('v4:3', 'no slice of v4. All there are: 2x2x1, 2x2x2, 2x2x4, 2x4x4, and'),
    ('v4:1024', 'Of 1,024 chips: 8x8x16, 4x16x16, 4x8x32. All'),
    ('v5e:4x5', 'no slice of v5e. All there are: 1x1, .*, 8x16, 16x16.$'),
    ('v5e:4x2', 'no slice of v5e. Of 8 chips: 2x4. All'),
    ('v6e:8x32', 'no slice of v6e. Of 256 chips: 16x16. All'),
    ('v3:2x4', 'no slice of v3. All there are: 2x2, 4x4, .*, 32x32.$'),
    ('h100:8x8', 'which only TPUs have; .* as h100:64'),
    ('8x8', 'which only TPUs have; .* as cpu:64'),
  ],
)
def test_a_mistake_is_told(name, message):
  with pytest.raises(errors.UserError, match=message):
    chips.parse(name)
