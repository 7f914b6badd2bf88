import jax.numpy as jnp
import pytest

from vit_jax.evaluation import metrics
from vit_jax.training import progress
from vit_jax.training.runtime import preemption


class Log:
  def __init__(self):
    self.lines = []

  def train(self, step, values, timings):
    self.lines.append((step, values, timings))


class Timings:
  """Sums up the waits of the steps that were completed."""

  def __init__(self):
    self.dispatched_waits, self.waited = [], 0.0

  def dispatched(self, waited, is_done):
    assert is_done
    self.dispatched_waits.append(waited)

  def completed(self):
    self.waited += self.dispatched_waits.pop(0)

  def take(self, step):
    waited, self.waited = self.waited, 0.0
    return {'data_wait': waited}


def means(loss=1.0, skipped=0, in_row=0, halted=0):
  values = {
    'loss': loss,
    'skipped': skipped,
    'skipped_in_row': in_row,
    'halted': halted,
  }
  return {
    name: metrics.Mean(jnp.float32(value), jnp.float32(1))
    for name, value in values.items()
  }


@pytest.fixture
def log():
  return Log()


@pytest.fixture
def told(log):
  return progress.Progress(
    log, Timings(), lambda step: step % 2 == 0, max_in_row=3
  )


def log_step(told, step, now=False, **values):
  told.log_step(step, means(**values), now, take_wait=lambda: 0.5)


def test_a_step_is_read_when_the_next_one_is_told(told, log):
  log_step(told, 2, loss=3.0)
  assert log.lines == []
  log_step(told, 3)
  log_step(told, 4, now=True)
  values = {'loss': 3.0, 'skipped': 0}
  assert log.lines[0] == (2, values, {'data_wait': 0.5})
  assert [step for step, _, _ in log.lines] == [2, 4]


def test_skipped_steps_are_counted(told, log):
  log_step(told, 1, now=True, skipped=1, in_row=1)
  assert told.num_in_row == 1
  log_step(told, 2, now=True, skipped=1)
  assert told.num_in_row == 0
  assert log.lines[-1][1]['skipped'] == 1


def test_too_many_in_a_row_are_an_end(told, log):
  log_step(told, 4, skipped=3, in_row=3)
  with pytest.raises(progress.Diverged):
    log_step(told, 5, skipped=3, in_row=3, halted=1)
  assert [step for step, _, _ in log.lines] == [4]
  log_step(told, 6)  # What was not read is forgotten.
  log_step(told, 7, now=True)
  assert [step for step, _, _ in log.lines] == [4, 6]


def test_a_halted_step_is_not_logged(told, log):
  with pytest.raises(preemption.Stopped):
    log_step(told, 2, now=True, halted=1)
  assert log.lines == []
