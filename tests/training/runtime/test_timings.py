"""Speed, waits, memory and goodput, against counts by hand."""

import json
import types

import pytest

from vit_jax.training.runtime import timings

SPEED = timings.Speed(batch_size=10, num_chips=4, flops_per_image=2e6, peak=1e9)


class Clock:
  """Tells the seconds that the test sets."""

  def __init__(self, now=1000.0):
    self.now = now

  def __call__(self):
    return self.now


class Process:
  """A process of a run of 400 steps; a new one for each start.

  Args:
    wall: the clock of all processes.
  """

  def __init__(self, workdir, wall, step=0, speed=SPEED, devices=()):
    self.clock, self.wall = Clock(wall.now % 77), wall
    self.said = []
    file = timings.TimingsFile(workdir, self.said.append)
    self.timings = timings.Timings(400, speed, file, devices, self.clock, wall)
    self.timings.open()
    self.timings.restore(step)
    self.timings.start(step)

  def pass_time(self, seconds):
    self.clock.now += seconds
    self.wall.now += seconds

  def step(self, seconds=1.0, waited=0.0):
    """Takes a step that the host itself computes."""
    self.pass_time(seconds)
    self.timings.dispatched(waited, is_done=True)
    self.timings.completed()

  def spend(self, kind, seconds):
    with self.timings.spending(kind):
      self.pass_time(seconds)


@pytest.fixture
def wall():
  return Clock(5000.0)


@pytest.fixture
def process(tmp_path, wall):
  return Process(tmp_path, wall)


def test_an_interval_is_what_a_hand_counts(process):
  for seconds in 1.0, 2.0, 3.0, 2.0:
    process.step(seconds, waited=0.25)
  found = process.timings.take(4)
  assert found['images_per_second'] == 40 / 8
  assert found['images_per_second_per_chip'] == 40 / 8 / 4
  assert found['mfu'] == pytest.approx(5 * 2e6 / 1e9)
  assert (found['step_median'], found['step_worst']) == (2.0, 3.0)
  assert found['data_wait'] == 1.0
  assert 'evaluation' not in found
  assert found['goodput'] == 1.0


@pytest.mark.parametrize(
  'speed', [SPEED._replace(peak=None), SPEED._replace(flops_per_image=None)]
)
def test_without_a_peak_or_a_count_there_is_no_mfu(tmp_path, wall, speed):
  process = Process(tmp_path, wall, speed=speed)
  process.step()
  assert 'mfu' not in process.timings.take(1)


def test_evaluations_and_saves_are_no_steps(process):
  process.step()
  process.spend('save', 3.0)
  process.spend('evaluation', 100.0)
  process.step()
  found = process.timings.take(2)
  assert found['images_per_second'] == 10.0
  assert (found['save'], found['evaluation']) == (3.0, 100.0)
  assert found['goodput'] == 2 / 105
  process.step()
  assert 'evaluation' not in process.timings.take(3)


@pytest.mark.parametrize('is_host', [True, False])
def test_each_line_after_an_evaluation_has_the_rate(process, is_host):
  """The host computes, or a device that it hands one step ahead to."""
  told, timing = [], process.timings

  def dispatch():
    if is_host:
      process.pass_time(2.0)
    timing.dispatched(0.0, is_done=is_host)

  def read(step):
    if not is_host:
      process.pass_time(2.0)
    timing.completed()
    told.append(timing.take(step)['images_per_second'])

  dispatch()
  dispatch()
  read(1)
  read(2)  # At once, before an evaluation.
  process.spend('evaluation', 50.0)
  dispatch()
  dispatch()
  read(3)
  dispatch()
  read(4)
  assert told == [5.0, 5.0, 5.0, 5.0]


def test_the_time_left_forgets_the_first_interval_and_counts_evaluations(
  process,
):
  for _ in range(49):
    process.step(0.1)
  process.step(100.0)  # As the first one may take.
  process.timings.take(50)
  for _ in range(50):
    process.step(0.1)
  left = process.timings.take(100)['seconds_left']
  assert left == pytest.approx(30)  # 300 steps of 0.1 s.
  process.spend('evaluation', 30.0)
  for _ in range(50):
    process.step(0.1)
  left = process.timings.take(150)['seconds_left']
  assert left == pytest.approx(100)  # 250 steps of 40 / 100 s.


# Over restarts ----------------------------------------------------------------


def test_goodput_counts_repeated_steps_once_and_down_time_as_time(
  tmp_path, wall
):
  first = Process(tmp_path, wall)
  for _ in range(3):
    first.step()
  first.timings.mark(3)  # It is saved.
  for _ in range(2):
    first.step()
  first.timings.take(5)
  first.step()  # Killed: steps 4 to 6 are lost.
  wall.now += 94.0
  second = Process(tmp_path, wall, step=3)
  for _ in range(2):
    second.step(2.0)
  found = second.timings.take(5)
  assert found['goodput'] == (3 + 2 * 2) / (6 + 94 + 4)
  wall.now += 52.0
  third = Process(tmp_path, wall, step=5)
  third.pass_time(40.0)
  assert third.timings.finish(5)['goodput'] == 7 / (6 + 94 + 4 + 52 + 40)


@pytest.mark.parametrize('killed_after', range(8))
def test_goodput_is_right_wherever_a_run_is_killed(
  tmp_path, wall, killed_after
):
  """It saves every other step; a save may be cut short after its record."""
  process = Process(tmp_path, wall)
  saved = 0
  for number in range(1, killed_after + 1):
    process.step()
    if number % 2 == 0:
      process.timings.mark(number)
      saved = number if number != killed_after else saved
  again = Process(tmp_path, wall, step=saved)
  for _ in range(saved, 10):
    again.step()
  assert again.timings.take(10)['goodput'] == 10 / (killed_after + 10 - saved)


def test_a_rollback_takes_back_the_steps_since(process):
  for _ in range(2):
    process.step()
  process.timings.mark(2)
  for _ in range(3):
    process.step()
  process.timings.restart(5, state_step=2)
  process.step()
  assert process.timings.take(6)['goodput'] == 3 / 6


def test_a_clock_that_jumps_back_leaves_a_fraction(process, wall):
  process.step(10.0)
  wall.now -= 1e6
  assert 0 <= process.timings.take(1)['goodput'] <= 1


def test_a_line_that_was_cut_short_is_left_out(tmp_path, wall):
  process = Process(tmp_path, wall)
  process.step()
  process.timings.mark(1)
  path = tmp_path / timings.FILE
  path.write_text(path.read_text() + '{"event": "train", "st')
  again = Process(tmp_path, wall, step=1)
  assert not again.said
  again.step()
  assert again.timings.take(2)['goodput'] == 1.0
  records, num_bad = timings.read(tmp_path)
  assert num_bad == 1  # No longer the last one.
  events = [each['event'] for each in records]
  assert events == ['start', 'save', 'start', 'train']


@pytest.mark.parametrize(
  'line',
  [
    '[]',
    'nonsense',
    '{"event": "train", "step": 1, "time": 1}',
    '{"event": "train", "step": 1, "time": 1, "useful_seconds": 1e999}',
    '{"event": "other", "step": 1, "time": 1, "useful_seconds": 1}',
    '{"event": "train", "step": [], "time": 1, "useful_seconds": 1}',
  ],
)
def test_what_is_not_readable_is_told_and_left_out(tmp_path, wall, line):
  (tmp_path / timings.FILE).write_text(f'{line}\n{line}\n')
  process = Process(tmp_path, wall)
  assert '1 line(s) are not readable' in process.said[0]
  process.step()
  assert process.timings.take(1)['goodput'] == 1.0


def test_what_a_full_disk_refused_comes_later(tmp_path, wall):
  process = Process(tmp_path, wall)
  path = tmp_path / timings.FILE
  path.unlink()
  path.mkdir()  # Nothing can be written to it, whoever is asking.
  for number in 1, 2:
    process.step()
    process.timings.take(number)
  path.rmdir()
  process.timings.finish(2)
  assert len(process.said) == 1
  records, _ = timings.read(tmp_path)
  assert [(r['event'], r['step']) for r in records] == [
    ('train', 1),
    ('train', 2),
    ('end', 2),
  ]


def test_each_line_is_json_with_its_time(tmp_path, process):
  process.step()
  process.timings.take(1)
  start, train = map(json.loads, (tmp_path / timings.FILE).open())
  assert start == {'event': 'start', 'time': 5000.0}
  assert train['time'] == 5001.0 and train['useful_seconds'] == 1.0


def test_another_process_writes_nothing(tmp_path):
  timing = timings.Timings(400, SPEED, None, (), Clock(), Clock())
  timing.open()
  timing.restore(0)
  timing.start(0)
  timing.dispatched(0.0, is_done=True)
  timing.completed()
  assert 'goodput' not in timing.take(1)
  assert not list(tmp_path.iterdir())


# The first steps --------------------------------------------------------------


def test_what_the_first_steps_wait_is_told_once(process):
  process.step(50.0, waited=50.0)  # The first batch, which fills the queues.
  for number in range(timings.JUDGED_STEPS):
    assert process.timings.first_steps(number + 1) is None
    process.step(2.0, waited=0.5)
  first = process.timings.first_steps(11)
  assert first == timings.FirstSteps(2.0, 0.25, 2.0 * (400 - 11))
  process.step(2.0, waited=0.5)
  assert process.timings.first_steps(12) is None


# Memory -----------------------------------------------------------------------


def device(stats):
  return types.SimpleNamespace(memory_stats=lambda: stats)


def test_memory_is_that_of_the_fullest_device(tmp_path, wall):
  devices = [
    device({'bytes_in_use': 3, 'peak_bytes_in_use': 9}),
    device({'bytes_in_use': 5, 'peak_bytes_in_use': 7}),
  ]
  process = Process(tmp_path, wall, devices=devices)
  process.step()
  found = process.timings.take(1)
  assert (found['memory_in_use'], found['memory_peak']) == (5, 9)


@pytest.mark.parametrize('stats', [None, {}, {'largest_free_block_bytes': 1}])
def test_memory_that_is_not_told_is_left_out(tmp_path, wall, stats):
  process = Process(tmp_path, wall, devices=[device(stats)])
  process.step()
  assert not [name for name in process.timings.take(1) if 'memory' in name]
