"""What was measured is found again, whatever a crash has left."""

import math

import pytest

import vit_jax
from vit_jax import errors
from vit_jax.evaluation import records


def test_lines_are_found_by_their_facts_the_newest_first(tmp_path):
  path = tmp_path / records.FILE
  assert records.read(path) == []
  for step, value in (1, 0.5), (2, 0.25), (2, 0.75):
    metadata = {'step': step, 'recipe': 'abc'}
    records.append(path, metadata, {'accuracy': value})
  assert len(records.read(path)) == 3
  assert records.find(path, {'step': 2}) == {'accuracy': 0.75}
  assert records.find(path, {'step': 1, 'recipe': 'abc'}) == {'accuracy': 0.5}
  assert records.find(path, {'step': 1, 'recipe': 'abd'}) is None


def test_what_is_not_finite_comes_back_as_nan(tmp_path):
  path = tmp_path / records.FILE
  records.append(path, {}, {'loss': math.inf, 'accuracy': 0.5})
  assert 'null' in path.read_text()
  found = records.find(path, {})
  assert math.isnan(found['loss']) and found['accuracy'] == 0.5


@pytest.mark.parametrize('remains', ['{"values": {"accu', '[]', '{"a": 1}'])
def test_a_line_that_was_cut_short_spoils_no_other(tmp_path, remains):
  path = tmp_path / records.FILE
  records.append(path, {'step': 1}, {'accuracy': 0.5})
  with path.open('a') as lines:
    lines.write(remains)
  records.append(path, {'step': 2}, {'accuracy': 0.25})
  assert [line['step'] for line in records.read(path)] == [1, 2]


def test_a_file_that_can_not_be_written_is_a_user_error(tmp_path):
  with pytest.raises(errors.UserError, match='can not be written'):
    records.append(tmp_path / 'gone' / records.FILE, {}, {})


def test_the_version_of_the_code_is_that_of_every_file_and_package(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(vit_jax, '__file__', str(tmp_path / '__init__.py'))
  (tmp_path / 'nn').mkdir()
  file = tmp_path / 'nn/mlp.py'
  seen = []
  for text in ('x = 1', 'x = 2', 'x = 1'):
    file.write_text(text)
    seen.append(records.code_version())
  file.rename(tmp_path / 'nn/other.py')
  seen.append(records.code_version())
  monkeypatch.setattr(records.importlib.metadata, 'version', lambda _: '0')
  seen.append(records.code_version())
  assert seen[0] == seen[2] and len(set(seen)) == 4
