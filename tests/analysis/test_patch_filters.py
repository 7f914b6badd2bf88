"""Principal components of filters, against scikit-learn's."""

import numpy as np
import pytest
from sklearn import decomposition

from vit_jax import models, pytrees
from vit_jax.analysis import patch_filters
from vit_jax.config import schema


def random_kernel(rows=4, columns=3, width=40, seed=0):
  noise = np.random.default_rng(seed)
  scale = 0.9 ** np.arange(rows * columns * 3)  # Some directions differ more.
  kernel = noise.standard_normal((width, rows * columns * 3)) * scale + 0.3
  return kernel.T.reshape(rows, columns, 3, width).astype(np.float32)


def test_components_are_those_of_scikit_learn():
  kernel = random_kernel()
  components, shares = patch_filters.principal_components(kernel, count=10)
  pca = decomposition.PCA(10, svd_solver='full').fit(kernel.reshape(-1, 40).T)
  assert components.shape == (10, 4, 3, 3)
  cosines = np.sum(components.reshape(10, -1) * pca.components_, axis=1)
  np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-4)
  np.testing.assert_allclose(shares, pca.explained_variance_ratio_, rtol=1e-4)


def test_components_are_orthogonal_and_their_shares_fall():
  components, shares = patch_filters.principal_components(random_kernel())
  flat = components.reshape(28, -1)
  np.testing.assert_allclose(flat @ flat.T, np.eye(28), atol=1e-5)
  assert (np.diff(shares) <= 0).all()
  assert 0 < shares.sum() <= 1 + 1e-6


def test_the_sign_is_a_matter_of_the_component_not_of_the_filters():
  components, _ = patch_filters.principal_components(random_kernel(), 5)
  mirrored, _ = patch_filters.principal_components(-random_kernel(), 5)
  np.testing.assert_allclose(components, mirrored, atol=1e-5)
  flat = components.reshape(5, -1)
  assert (flat[np.arange(5), np.abs(flat).argmax(1)] > 0).all()


def test_filters_of_one_direction_are_explained_by_it():
  direction = np.random.default_rng(0).standard_normal((2, 2, 3, 1))
  kernel = direction * np.arange(9.0) + 0.1
  components, shares = patch_filters.principal_components(kernel, 3)
  assert shares[0] == pytest.approx(1)
  cosine = np.sum(components[0] * direction[..., 0])
  assert abs(cosine) / np.linalg.norm(direction) == pytest.approx(1)


@pytest.mark.parametrize(
  ('rows', 'width', 'count'), [(4, 8, 7), (1, 40, 9), (4, 40, 28)]
)
def test_there_are_no_more_components_than_directions(rows, width, count):
  kernel = random_kernel(rows=rows, width=width)
  components, shares = patch_filters.principal_components(kernel)
  assert len(components) == len(shares) == count


@pytest.mark.parametrize(
  ('name', 'shape', 'std'),
  [
    ('ViT-B/32', (32, 32, 3, 768), None),
    ('Mixer-S/8', (8, 8, 3, 512), None),
    ('R26+ViT-S/32', (7, 7, 3, 64), 1),  # Whose patches are of a feature map.
    ('BiT-R50x3', (7, 7, 3, 192), 1),
  ],
)
def test_the_kernel_of_every_family_is_shown_as_pixels_meet_it(
  name, shape, std
):
  family = models.family(name)
  model = schema.default().model
  model.name = name
  module = models.build(model, num_classes=3)
  shapes = pytrees.flatten(models.params_of(module, (32, 32)))
  assert shapes[family.pixel_kernel].shape == shape
  kernel = random_kernel() * 5 + 2
  shown = np.asarray(family.as_applied(kernel))
  if std is None:
    np.testing.assert_array_equal(shown, kernel)
  else:
    np.testing.assert_allclose(shown.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(shown.std(axis=(0, 1, 2)), std, rtol=1e-3)
