"""Principal components of filters, against scikit-learn's."""

import numpy as np
import pytest
from sklearn import decomposition

from vit_jax.analysis import patch_filters


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
  ('kernels', 'wanted'),
  [
    ({'stem/embedding/kernel': (16, 16, 3, 8)}, 'stem/embedding/kernel'),
    (  # Of a hybrid, whose patches are of a feature map.
      {
        'stem/embedding/kernel': (1, 1, 64, 8),
        'stem/root_conv/kernel': (7, 7, 3, 16),
      },
      'stem/root_conv/kernel',
    ),
    ({'root_conv/kernel': (7, 7, 3, 16)}, 'root_conv/kernel'),
  ],
)
def test_the_kernel_that_is_found_reads_pixels(kernels, wanted):
  shapes = {path: np.zeros(shape) for path, shape in kernels.items()}
  shapes['head/kernel'] = np.zeros((8, 3))
  assert patch_filters.find(shapes) == wanted


def test_a_standardized_kernel_is_shown_as_the_image_meets_it():
  kernel = random_kernel() * 5 + 2
  for path in 'stem/root_conv/kernel', 'root_conv/kernel':
    shown = np.asarray(patch_filters.as_applied(path, kernel))
    np.testing.assert_allclose(shown.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(shown.std(axis=(0, 1, 2)), 1, rtol=1e-3)
  plain = patch_filters.as_applied('stem/embedding/kernel', kernel)
  np.testing.assert_array_equal(plain, kernel)
