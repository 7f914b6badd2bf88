"""The mesh has the sizes asked for, on devices that are close."""

import types

import jax
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.sharding import mesh as meshes


def _config(**sizes):
  config = schema.default().mesh
  config.update(sizes)
  return config


def _devices(num_slices, per_slice):
  """Stands in for the GPUs of several hosts."""
  return [
    types.SimpleNamespace(
      id=i,
      slice_index=i // per_slice,
      process_index=i // per_slice,
      platform='gpu',
      device_kind='GPU',
    )
    for i in range(num_slices * per_slice)
  ]


def _tpus(num_slices):
  """Stands in for slices of 2 x 2 x 2 TPU v4 chips, with hosts of 2 x 2."""
  return [
    types.SimpleNamespace(
      id=8 * slice_index + 4 * z + 2 * y + x,
      slice_index=slice_index,
      process_index=2 * slice_index + z,
      coords=(x, y, z),
      core_on_chip=0,
      platform='tpu',
      device_kind='TPU v4',
    )
    for slice_index in range(num_slices)
    for z, y, x in np.ndindex(2, 2, 2)
  ]


def _slices(shape, devices):
  arranged = meshes.arrange(shape, devices)
  assert arranged.shape == shape
  assert len({device.id for device in arranged.flat}) == len(devices)
  return np.vectorize(lambda device: device.slice_index)(arranged)


def test_by_default_all_devices_split_the_batch():
  mesh = meshes.build(_config())
  assert dict(mesh.shape) == {
    'data': jax.device_count(),
    'fsdp': 1,
    'tensor': 1,
  }


def test_axes_take_the_sizes_asked_for():
  mesh = meshes.build(_config(fsdp=2, tensor=2), jax.devices()[:8])
  assert tuple(mesh.shape.items()) == (('data', 2), ('fsdp', 2), ('tensor', 2))
  assert len(set(mesh.devices.flat)) == 8


def test_the_compiler_places_what_we_do_not_name():
  assert set(meshes.build(_config()).axis_types) == {jax.sharding.AxisType.Auto}


def test_one_host_may_use_a_part_of_its_devices():
  mesh = meshes.build(_config(data=2), jax.devices()[:4])
  assert mesh.devices.size == 2


def test_data_is_split_between_hosts_and_the_rest_within():
  slices = _slices((2, 2, 2), _devices(2, 4))
  assert (slices[0] == 0).all() and (slices[1] == 1).all()


def test_fsdp_is_split_between_hosts_when_data_is_not_enough():
  slices = _slices((2, 4, 2), _devices(4, 4))
  for data in range(2):
    assert (slices[data, :2] == 2 * data).all()
    assert (slices[data, 2:] == 2 * data + 1).all()


def test_tensor_is_split_between_hosts_as_a_last_resort():
  slices = _slices((1, 1, 8), _devices(2, 4))
  assert slices.ravel().tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
  ('num_slices', 'shape'),
  [(2, (4, 4, 1)), (2, (2, 8, 1)), (3, (6, 2, 2)), (4, (32, 1, 1))],
)
def test_slices_are_joined_by_data_alone(num_slices, shape):
  slices = _slices(shape, _tpus(num_slices)[::-1])
  per_slice = shape[0] // num_slices
  for first in range(0, shape[0], per_slice):
    within = slices[first : first + per_slice]
    assert (within == first // per_slice).all()


def test_too_many_devices_asked_for_is_a_user_error():
  with pytest.raises(
    errors.UserError, match='needs 16 devices and there are 4'
  ):
    meshes.build(_config(data=16), jax.devices()[:4])


def test_leaving_out_devices_of_several_hosts_is_a_user_error():
  with pytest.raises(errors.UserError, match='must use all of them'):
    meshes.build(_config(data=2), _devices(2, 4))
