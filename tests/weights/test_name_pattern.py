"""Patterns of names are read and written by the same words."""

import pytest

from vit_jax.weights import name_pattern


@pytest.mark.parametrize(
  ('pattern', 'name', 'values'),
  [
    ('block_{layer}/{leaf}', 'block_12/bias', {'layer': 12, 'leaf': 'bias'}),
    ('unit{unit:02}', 'unit03', {'unit': 3}),
    ('unit{unit:02}', 'unit36', {'unit': 36}),
    ('stages.{block-1}.x', 'stages.0.x', {'block': 1}),
    ('plain', 'plain', {}),
  ],
)
def test_a_name_is_read_and_written_back(pattern, name, values):
  assert name_pattern.match(pattern, name) == values
  assert name_pattern.fill(pattern, values) == name


@pytest.mark.parametrize(
  ('pattern', 'name'),
  [
    ('block_{layer}', 'block_01'),  # Would be written as block_1.
    ('unit{unit:02}', 'unit3'),
    ('a.b', 'axb'),
    ('block_{layer}', 'block_1/bias'),
    ('block_{layer}', 'block_12345'),
    ('block_{layer}', 'block_١'),
    ('{leaf}', 'Bias'),
  ],
)
def test_another_spelling_is_another_name(pattern, name):
  assert name_pattern.match(pattern, name) is None
