"""What the processes of a run agree on; threads take the place of processes.

Real ones meet in tests/faults.
"""

import concurrent.futures
import threading

import jax
import numpy as np
import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.evaluation import records
from vit_jax.sharding import mesh as meshes
from vit_jax.training import train
from vit_jax.training.runtime import agreement as agreements


class Together:
  """Runs a function in threads, each of which takes itself for a process."""

  def __init__(self, count):
    self.count = count
    self._number = threading.local()
    self._barrier = threading.Barrier(count, timeout=120)
    self._said = [None] * count

  def run(self, function, arguments):
    """Returns what function(argument), or its error, came to in each."""

    def one(number):
      self._number.value = number
      try:
        return function(arguments[number])
      except errors.UserError as error:
        return str(error)

    with concurrent.futures.ThreadPoolExecutor(self.count) as pool:
      return list(pool.map(one, range(self.count)))

  def number(self):
    return self._number.value

  def wait(self, name):
    self._barrier.wait()

  def gather(self, value):
    self._said[self.number()] = value
    self._barrier.wait()
    said = np.stack(self._said)
    self._barrier.wait()
    return said


@pytest.fixture
def together(monkeypatch):
  made = Together(3)
  monkeypatch.setattr(jax, 'process_count', lambda: made.count)
  monkeypatch.setattr(jax, 'process_index', made.number)
  monkeypatch.setattr(agreements, 'wait', made.wait)
  utils = agreements.multihost_utils
  monkeypatch.setattr(utils, 'process_allgather', made.gather)
  monkeypatch.setattr(
    utils, 'broadcast_one_to_all', lambda value: made.gather(value)[0]
  )
  return made


FACTS = {'config': {'seed': 0}, 'code': 'abc', 'data': {'num_examples': 40}}


@pytest.mark.parametrize(
  ('name', 'other', 'difference'),
  [
    ('config', {'seed': 100}, '! config.seed: 100 (wanted: 0)'),
    ('code', 'abcde', '! code: abcde (wanted: abc)'),
    ('data', {'num_examples': 4}, '! data.num_examples: 4 (wanted: 40)'),
  ],
)
def test_all_are_told_what_one_has_otherwise(together, name, other, difference):
  given = [FACTS, {**FACTS, name: other}, FACTS]
  for told in together.run(agreements.check_same, given):
    assert told.startswith(f'Process 1 has another {name} than process 0')
    assert difference in told


def test_there_is_nothing_to_tell_of_the_same(together):
  assert together.run(agreements.check_same, [FACTS] * 3) == [None] * 3


def test_a_folder_is_the_same_if_all_see_into_it(together, tmp_path):
  mine, other = tmp_path / 'mine', tmp_path / 'other'
  mine.mkdir()
  other.mkdir()
  assert together.run(agreements.check_shared, [mine] * 3) == [None] * 3
  for told in together.run(agreements.check_shared, [mine, mine, other]):
    assert 'of process 2 is not that of process 0' in told
  assert not [*mine.iterdir(), *other.iterdir()]


def test_a_run_tells_the_others_its_configuration_code_and_data(
  tmp_path, monkeypatch
):
  class Told(Exception):
    pass

  def check_same(facts):
    raise Told(facts)

  monkeypatch.setattr(agreements, 'check_same', check_same)
  config = schema.default()
  config.model.update(name='ViT-Ti/4', width=8, depth=1, num_heads=1, mlp_dim=8)
  config.data.update(source='synthetic', num_classes=4, num_examples=40)
  config.data.resolution = (8,)
  config.optimizer.warmup_steps = 0
  config.run.update(batch_size=8, num_steps=2)
  with pytest.raises(Told) as told:
    train.run(config, tmp_path)
  (facts,) = told.value.args
  assert facts['config'] == config.to_dict()
  assert facts['code'] == records.code_version()
  assert facts['data']['num_examples'] == 40


def test_one_process_agrees_with_itself_at_once():
  agreement = agreements.Agreement(meshes.build(schema.default().mesh))
  assert [agreement.ask(said) for said in (True, False)] == [True, False]
  for said in False, True:
    assert set(np.asarray(agreement.flags(said)).tolist()) == {said}


def test_several_processes_learn_of_each_other_one_question_later(monkeypatch):
  agreement = agreements.Agreement(meshes.build(schema.default().mesh))
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  asked = [agreement.ask(said) for said in (False, True, False, False)]
  assert asked == [False, False, True, False]
  agreement.ask(True)
  assert agreement.last_answer() and not agreement.last_answer()
