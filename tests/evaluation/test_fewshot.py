"""Few-shot results are those of scikit-learn's ridge regression."""

import numpy as np
import pytest
from sklearn import linear_model, preprocessing

from vit_jax import errors
from vit_jax.evaluation import fewshot

WIDTH, CLASSES = 12, 4


def examples(count, seed=0, classes=CLASSES):
  """Features in clusters that overlap, and their labels."""
  rng = np.random.default_rng(seed)
  centres = np.random.default_rng(7).standard_normal((classes, WIDTH))
  label = rng.permutation(np.arange(count) % classes)
  x = centres[label] + 1.5 * rng.standard_normal((count, WIDTH))
  return (3 + 2 * x).astype(np.float32), label.astype(np.int32)


def ridge_scores(x, label, test_set):
  """What scikit-learn gives, by the protocol, from float64 to float64."""
  scaler = preprocessing.StandardScaler().fit(x.astype(np.float64))
  model = linear_model.Ridge(alpha=2**10, fit_intercept=False, solver='svd')

  def white(x):
    # The protocol adds 1e-5 to the deviation; here it is divided away again.
    shrunk = scaler.scale_ / (scaler.scale_ + 1e-5)
    x = scaler.transform(x.astype(np.float64)) * shrunk[None]
    return np.hstack([x, np.full((len(x), 1), 100.0)])

  targets = preprocessing.LabelBinarizer(neg_label=-1).fit_transform(label)
  return model.fit(white(x), targets).predict(white(test_set))


@pytest.mark.parametrize('count', [4, 8, 13, 100])
def test_scores_are_those_of_scikit_learn(count):
  x, label = examples(count)
  test_set, _ = examples(50, seed=1)
  found = fewshot.score(fewshot.fit(x, label, CLASSES), test_set)
  wanted = ridge_scores(x, label, test_set)
  assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_two_points_by_hand():
  # Whitened, -1 and 1, and a bias of b = 100. The bias column sums to nothing
  # with the targets: of it the kernel is 0, and of the feature
  # (sum x y) / (sum x^2 + penalty) = 2 / (2 + penalty).
  x = np.array([[0.0], [10.0]], np.float32)
  label = np.array([0, 1])
  classifier = fewshot.fit(x, label, 2, penalty=6.0)
  np.testing.assert_allclose(
    classifier.kernel, [[-0.25, 0.25], [0, 0]], atol=1e-6
  )
  np.testing.assert_allclose(
    fewshot.score(classifier, np.array([[15.0]])), [[-0.5, 0.5]], atol=1e-5
  )


def test_three_of_one_class_move_the_bias_by_hand():
  # One feature that never varies is 0; what is left is the bias:
  # 100 * sum(y) / (4 * 100^2 + penalty).
  x, label = np.ones((4, 1), np.float32), np.array([0, 0, 0, 1])
  classifier = fewshot.fit(x, label, 2)
  wanted = 100 * 2 / (4 * 100**2 + 2**10)
  np.testing.assert_allclose(
    classifier.kernel, [[0, 0], [wanted, -wanted]], atol=1e-12
  )


def test_both_ways_to_the_kernel_agree():
  x, label = examples(WIDTH + 1)
  wide = np.concatenate([x, np.zeros_like(x)], axis=1)  # Fewer than features.
  one = fewshot.fit(x, label, CLASSES).kernel
  two = fewshot.fit(wide, label, CLASSES).kernel
  np.testing.assert_allclose(two[:WIDTH], one[:WIDTH], rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(two[-1], one[-1], rtol=1e-9, atol=1e-12)


def test_results_are_means_over_the_draws(embed, batches):
  x, label = examples(80)
  test_set, wanted = examples(57, seed=1)
  wanted[::5] = -1  # Not counted.
  subsets = [fewshot.draw(label, CLASSES, 5, seed) for seed in range(3)]
  result = fewshot.evaluate(
    embed, batches(x, label), batches(test_set, wanted), subsets, (1, 5)
  )
  known = wanted >= 0
  for shots in 1, 5:
    accuracies = []
    for drawn in subsets:
      rows = drawn[:, :shots].ravel()
      best = ridge_scores(x[rows], label[rows], test_set[known]).argmax(-1)
      accuracies.append(np.mean(best == wanted[known]))
    assert result[f'fewshot_{shots}'] == pytest.approx(np.mean(accuracies))
    deviation = np.std(accuracies, ddof=1)
    assert result[f'fewshot_{shots}_std'] == pytest.approx(deviation)
  assert result['fewshot_num_examples'] == known.sum()
  assert result['fewshot_5'] > result['fewshot_1']


def test_an_example_that_could_not_be_read_is_left_out(embed, batches):
  x, label = examples(40)
  test_set, wanted = examples(57, seed=1)
  drawn = fewshot.draw(label, CLASSES, 5, seed=0)
  kept = np.delete(np.arange(40), drawn[1, 2])
  batch = {
    'image': x[kept],
    'label': label[kept],
    'index': kept.astype(np.int32),
    'mask': np.ones(39, bool),
  }
  result = fewshot.evaluate(
    embed, [batch], batches(test_set, wanted), [drawn], (5,)
  )
  rows = np.setdiff1d(drawn, drawn[1, 2])
  best = ridge_scores(x[rows], label[rows], test_set).argmax(-1)
  assert result['fewshot_5'] == pytest.approx(np.mean(best == wanted))


def test_the_pieces_that_are_scored_at_a_time_change_nothing(
  monkeypatch, embed, batches
):
  x, label = examples(80)
  test_set, wanted = examples(57, seed=1)
  subsets = [fewshot.draw(label, CLASSES, 5, 0)]

  def accuracy():
    return fewshot.evaluate(
      embed, batches(x, label), batches(test_set, wanted), subsets, (5,)
    )

  whole = accuracy()
  monkeypatch.setattr(fewshot, '_ROWS', 10)
  assert accuracy() == whole


def test_the_batch_size_changes_nothing(embed, batches):
  x, label = examples(80)
  test_set, wanted = examples(57, seed=1)
  subsets = [fewshot.draw(label, CLASSES, 2, 0)]
  one, two = (
    fewshot.evaluate(
      embed,
      batches(x, label, size),
      batches(test_set, wanted, size),
      subsets,
      (2,),
    )
    for size in (7, 80)
  )
  assert one == two
  assert one.keys() == {'fewshot_2', 'fewshot_num_examples'}


def test_draws_have_their_classes_are_distinct_and_grow():
  label = np.random.default_rng(0).integers(-1, CLASSES, 200)
  drawn = fewshot.draw(label, CLASSES, 10, seed=0)
  assert drawn.shape == (CLASSES, 10)
  assert len(np.unique(drawn)) == drawn.size
  np.testing.assert_array_equal(
    label[drawn], np.tile(np.arange(CLASSES)[:, None], (1, 10))
  )
  np.testing.assert_array_equal(
    fewshot.draw(label, CLASSES, 5, seed=0), drawn[:, :5]
  )
  assert (fewshot.draw(label, CLASSES, 10, seed=1) != drawn).any()


def test_all_examples_of_a_class_may_be_drawn():
  label = np.array([1, 0, 1, 0])
  drawn = fewshot.draw(label, 2, 2, seed=0)
  np.testing.assert_array_equal(np.sort(drawn), [[1, 3], [0, 2]])


def test_too_few_examples_of_a_class_are_told():
  label = np.array([0] * 9 + [1] * 6 + [2] * 30)
  with pytest.raises(
    errors.UserError, match=r'10 shots .* class 1 has 6.*--shots=1,5,'
  ):
    fewshot.draw(label, 3, 10, seed=0)
  with pytest.raises(errors.UserError, match=r'class 3 has 0'):
    fewshot.draw(label, 4, 1, seed=0)
