"""What tests of the input pipeline share."""

import itertools

import numpy as np
import pytest

from vit_jax.config import schema
from vit_jax.data import pipeline
from vit_jax.data.sources import synthetic


@pytest.fixture
def data():
  data = schema.default().data
  data.resolution = (6, 8)
  return data


@pytest.fixture
def source():
  return synthetic.SyntheticSource(26, 5, 12, 10, 'train')


@pytest.fixture
def draw(data):
  """Draws training batches, as one process or as several."""

  def draw(source, count, shares=(None,), **options):
    """Returns so many batches, each with the rows of all shares."""
    parts = []
    for rows in shares:
      batches = pipeline.train_batches(source, data, rows=rows, **options)
      parts.append(list(itertools.islice(batches, count)))
      batches.close()
    return _join(parts)

  return draw


@pytest.fixture
def evaluate(data):
  """Draws the batches of an evaluation, as one process or as several."""

  def evaluate(source, shares=(None,), **options):
    """Returns all batches, each with the rows of all shares."""
    return _join(
      list(pipeline.eval_batches(source, data, rows=rows, **options))
      for rows in shares
    )

  return evaluate


def _join(parts):
  """Returns batches of which each process has drawn a part, as many each."""
  return [
    {key: np.concatenate([part[key] for part in batch]) for key in batch[0]}
    for batch in zip(*parts, strict=True)
  ]
