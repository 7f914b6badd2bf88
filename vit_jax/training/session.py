"""Fault tolerance around the training loop, so that no work is lost.

It holds the lock of the run's folder, its log, checkpoints and watchdog,
handles signals, and rolls back when numbers go wrong.
"""

import contextlib
import datetime
import functools
import itertools
import shlex

import jax

from vit_jax import errors, files, pytrees
from vit_jax.checkpoints import manager, parameters
from vit_jax.config import overrides, recipes
from vit_jax.data import threads
from vit_jax.evaluation import metrics, records
from vit_jax.training import best_step, initialization, progress
from vit_jax.training.runtime import (
  agreement,
  lock,
  log,
  mirror,
  preemption,
  process_log,
  profiling,
  timings,
  watchdog,
  writers,
)
from vit_jax.weights import card as cards


class Session:
  """A context around the training of one run.

  Args:
    config: of the run.
    workdir: absolute path of the run's folder, which exists.
    components: the `assembly.Components`.
    num_steps: of the whole training.
    data: {name: value}, what identifies the training data; a resumed run must
      have the same.
    card: the `card.Card` of its weights.
    speed: the `timings.Speed` that it is measured by.
    may_exit: whether a signal or a hang may end the process; see `preemption`.

  Attributes:
    log: the run's `log.RunLog`.
    timings: its `timings.Timings`.

  Raises:
    UserError: on entering: another run is using `workdir`, or processes of
      this run differ in configuration, code or data.
  """

  def __init__(
    self,
    config,
    workdir,
    components,
    num_steps,
    data,
    card,
    speed,
    may_exit=True,
  ):
    self._config = config
    self._may_exit = may_exit
    self._workdir = workdir
    self._components = components
    self._num_steps = num_steps
    self._agreement = agreement.Agreement(components.mesh)
    self._origin = {
      'config': config.to_dict(),
      'code': records.code_version(),
      'data': data,
    }
    self._card = card
    self._fallback = None  # The step of the last rollback.
    self._batches = None
    self._best = best_step.BestStep()
    self._mirror = mirror.Mirror(workdir, process_log.CURRENT.say)
    folder, is_writer = self._mirror.folder, jax.process_index() == 0
    self.log = log.RunLog(
      folder,
      num_steps,
      is_writer=is_writer,
      make_writers=functools.partial(self._make_writers, folder),
    )
    file = timings.TimingsFile(folder, self.log.say) if is_writer else None
    devices = components.mesh.local_devices
    self.timings = timings.Timings(num_steps, speed, file, devices)
    number = jax.process_index() if jax.process_count() > 1 else None
    self._profiler = profiling.Profiler(
      workdir, config.run.profile_steps, self.log.say, number
    )
    self._progress = progress.Progress(
      self.log,
      self.timings,
      lambda step: step == num_steps or due(step, config.run.log_every),
      config.run.max_consecutive_skips,
    )

  def __enter__(self):
    run = self._config.run
    with contextlib.ExitStack() as stack:  # Undone if the rest of it fails.
      self._stop = stack.enter_context(preemption.Stop(self._may_exit))
      agreement.check_same(self._origin)
      held = None
      if jax.process_index() == 0:
        held = stack.enter_context(lock.hold(self._workdir, self.log.say))
        recipes.save(self._config, self._workdir)
        cards.write(self._workdir, self._card)
      agreement.check_shared(self._workdir)
      stack.enter_context(self._mirror)
      self._continue_files()
      if files.is_remote(self._workdir):  # The mirror ends with the run.
        stack.callback(process_log.CURRENT.close)
      stack.enter_context(self.log)
      if run.log_compiles:
        stack.enter_context(jax.log_compiles())
      self.timings.open()
      stack.enter_context(self._profiler)
      self._checkpoints = stack.enter_context(
        manager.CheckpointManager(
          self._workdir / 'checkpoints',
          run.checkpoints_to_keep,
          self.log.say,
          keep_best=run.keep_best,
          fence=held.check if held else lambda: None,
        )
      )
      self._watchdog = stack.enter_context(
        watchdog.Watchdog(
          run.watchdog_seconds if self._may_exit else 0,
          self._checkpoints.num_bytes,
        )
      )
      self._stack = stack.pop_all()
    return self

  def __exit__(self, *error):
    return self._stack.__exit__(*error)

  def _make_writers(self, folder, say):
    flat = overrides.flatten(self._config)
    run = writers.Run(folder, self._workdir, flat, say)
    return writers.build(self._config.run.writers, run)

  def _continue_files(self):
    """Fetches the files that this process adds lines to, from a store."""
    number = jax.process_index()
    names = [process_log.path('.', number).as_posix()]
    if number == 0:
      names += [timings.FILE, *writers.continued(self._config.run.writers)]
    for name in names:
      try:
        self._mirror.fetch(name)
      except OSError as error:
        raise errors.UserError(
          f'{self._workdir / name} can not be read: {error}.'
        ) from error

  # From the start to the first step -------------------------------------------

  def restore_or_init(self):
    """Restores the newest intact checkpoint, or returns the initial state.

    Raises:
      UserError: no checkpoint is intact, the newest doesn't match the model,
        the optimizer or the data, or the disk has no room for another.
    """
    if self._checkpoints.is_empty():
      state, logged = self._first_state(), []
    else:
      state, origin = self._checkpoints.restore(self._components.state)
      self._check_origin(origin)
      logged = origin['metrics']
      self._restore_best(origin)
      self.log.say(f'resumed at step {int(state.step)}')
    if int(state.step) < self._num_steps:
      self._checkpoints.check_room(self._components.state)
    self.log.start(int(state.step), logged)
    self.timings.restore(int(state.step))
    self._progress.start(int(state.step))
    self._watchdog.beat(watchdog.PATIENCE)  # Compiling comes next.
    return state

  def mark_ready(self, step):
    """To be called when all is compiled: from now on a signal saves first.

    Args:
      step: number of steps taken.
    """
    agreement.wait('vit_jax:compiled')
    self.timings.start(step)
    self._watchdog.beat()
    self._stop.mark_ready()

  def _check_origin(self, origin):
    if origin['data'] != self._origin['data']:
      lines = '\n'.join(
        f'  {line}'
        for line in pytrees.diff(origin['data'], self._origin['data'])
      )
      raise errors.UserError(
        f'The data have changed since this run was started:\n{lines}\n'
        'Restore the same data, or start a new run in another --workdir.'
      )
    if origin['code'] != self._origin['code']:
      self.log.say(
        'the code or a package has changed since the checkpoint: results may '
        'differ from those of an uninterrupted run'
      )

  def _restore_best(self, origin):
    self._best.restore(origin.get('best'))  # Older versions have none.
    if self._config.run.keep_best and self._best.step is not None:
      self._checkpoints.mark_best(self._best.step, self._best.score)

  def _first_state(self):
    return initialization.first_state(
      self._config, self._components, self.log.say
    )

  # From step to step ----------------------------------------------------------

  def iterate(self, batches):
    """Yields the batches of the training; dummy batches once asked to stop.

    Args:
      batches: an iterator with `take_wait`; see `prefetch.Prefetch`.
    """
    self._batches = batches
    size = self._config.run.batch_size
    make_dummy = functools.partial(self._components.dummy_batch, size)
    return self._watchdog.watch(self._stop.iterate(batches, make_dummy))

  def stop_flags(self):
    """Returns the stop flags, which `train_step` takes as `halt`."""
    return self._agreement.flags(self._stop.is_requested)

  def dispatching(self, step):
    """Returns a context in which a step is dispatched; see `profiling`."""
    if self._profiler.starts(step):
      with self.timings.spending('profile'):
        self._profiler.start(step)
    return self._profiler.annotated(step)

  def log_step(self, step, means, now):
    """Logs the metrics of a step; see `progress.Progress.log_step`."""
    if self._profiler.stops(step):
      self._watchdog.beat(watchdog.PATIENCE)
      with self.timings.spending('profile'):
        self._profiler.stop(means)
    self._progress.log_step(step, means, now, self._batches.take_wait)
    first = self.timings.first_steps(step)
    if first is not None:
      self._judge(first)

  def _judge(self, first):
    """Tells what the first steps let one expect."""
    left = datetime.timedelta(seconds=round(first.seconds_left))
    self.log.say(
      f'a step takes {first.seconds:.3g} s, all that remain about {left}, '
      'without evaluations and saves'
    )
    if first.waiting >= timings.STARVING:
      self.log.say(
        f'steps wait for data for {first.waiting:.0%} of their time '
        f'({threads.describe(self._config.data)}): raise data.num_threads or '
        'data.num_workers, give this process more CPUs, or read from a faster '
        'disk'
      )

  def iterate_evaluation(self, batches, count):
    """Yields the first `count` batches of an evaluation.

    Raises:
      Stopped: the processes have agreed to stop.
    """
    run = self._config.run
    size = run.eval_batch_size or run.batch_size
    make_dummy = functools.partial(self._components.dummy_batch, size)
    fed = self._watchdog.watch(self._stop.iterate(batches, make_dummy))
    for batch in itertools.islice(fed, count):
      if self._agreement.ask(self._stop.is_requested):
        raise preemption.Stopped
      yield batch
    if self._agreement.last_answer():  # The last may have been a dummy batch.
      raise preemption.Stopped

  def must_save(self, step):
    """Returns whether a save is scheduled, or the last one has failed."""
    failed = self._checkpoints.poll()
    # Several processes would have to agree on a retry: they wait instead.
    again = failed and jax.process_count() == 1
    return again or self._is_due(step)

  def save(self, step, state):
    """Starts to save the state after `step` steps.

    If that was skipped, its numbers not being finite, only for an evaluation.
    """
    if self._progress.num_in_row and not self._may_be_best(step):
      return
    self.log.note(f'saving step {step}')
    self.timings.mark(step)
    with self.timings.spending('save'):
      self._checkpoints.save(
        step, state, self._record(), self._is_scheduled(step)
      )
      self._mirror.push()

  def log_evaluation(self, step, report):
    """Logs the evaluation of a step, and marks the step if it's the best."""
    if self.log.has_evaluation(step):
      return
    self.log.evaluation(step, report)
    self._mirror.push()
    if self._config.run.keep_best:
      score = metrics.score(report)
      if self._best.update(step, score):
        self._checkpoints.mark_best(step, score)

  def has_lost_patience(self):
    """Returns whether run.patience evaluations in a row were no better."""
    patience = self._config.run.patience
    return patience is not None and self._best.num_since >= patience

  def conclude(self, step, report):
    """Puts the last evaluation on the card, and tells which step was the best.

    Args:
      step: number of steps of the training.
      report: {name: float}, the evaluation of the last one.
    """
    if jax.process_index() == 0:
      cards.write(self._workdir, cards.evaluated(self._card, step, report))
    self._tell_end(step)
    if not self._config.run.keep_best or self._best.step is None:
      return
    if step < self._num_steps:
      self.log.say(
        f'stopped after step {step}: the last {self._best.num_since} '
        'evaluations were no better (run.patience)'
      )
    self.log.say(
      f'the best step is {self._best.step}: '
      f'--checkpoint={self._workdir}:{parameters.BEST}'
    )

  def _tell_end(self, step):
    found = self.timings.finish(step)
    if 'goodput' in found:
      since = datetime.timedelta(seconds=round(found['since_first_start']))
      self.log.say(
        f'{step:,} steps in {since} since the first start; '
        f'goodput {found["goodput"]:.1%}'
      )

  def finish(self, step, state):
    """Saves the state after `step` steps; it is on disk on return."""
    scheduled = self._is_scheduled(step)
    self.timings.mark(step)
    with self.timings.spending('save'):
      self._checkpoints.finish(step, state, self._record(), scheduled)
    self.log.note(f'saved step {step}')

  def save_and_exit(self, state):
    """Saves the state and raises Preempted, which says how to resume."""
    step = int(state.step)
    self.finish(step, state)
    raise preemption.Preempted(
      f'Stopped after step {step} of {self._num_steps}, which is saved. '
      f'{self._how_to_resume()}',
      self._stop.number,
    )

  def save_on_error(self, error, state):
    """Saves the state before an error leaves the training, if it can be saved.

    A resumed run equals one without the error, bit for bit: nothing is saved
    of a state that is broken or whose last metrics are lost. Of several
    processes, the others may not know of the error and take no part in a save:
    their last checkpoint counts.

    Args:
      error: gets a note of what is saved and how to resume.
      state: of the last step taken, or None.
    """
    try:
      if self._can_save(error, state):
        self._watchdog.beat(watchdog.PATIENCE)
        self._progress.flush()
        self.finish(int(state.step), state)
      else:
        self._checkpoints.wait()
    except Exception as another:  # Of any kind: the first one counts.
      if another is not error:
        error.add_note(f'Its state could not be saved: {another}')
    newest = self._checkpoints.latest_step()
    if newest is not None and not isinstance(error, errors.DivergedError):
      error.add_note(
        f'Step {newest} of {self._num_steps} is saved. {self._how_to_resume()}'
      )

  def _can_save(self, error, state):
    if state is None or jax.process_count() > 1:
      return False
    if isinstance(error, manager.SaveError):
      return False
    # A step that fails has taken its state with it.
    if any(leaf.is_deleted() for leaf in jax.tree.leaves(state)):
      return False
    return 0 < int(state.step) <= self._progress.last_step

  def _how_to_resume(self):
    config, workdir = (
      shlex.quote(str(path))
      for path in (self._workdir / recipes.FILE, self._workdir)
    )
    return f'To resume: vit_jax train --config={config} --workdir={workdir}'

  def _is_due(self, step):
    every = self._config.run.checkpoint_every
    return due(step, every) or self._may_be_best(step)

  def _may_be_best(self, step):
    run = self._config.run
    return run.keep_best and due(step, run.eval_every)

  def _is_scheduled(self, step):
    return self._is_due(step) and not self._progress.num_in_row

  def _record(self):
    return {
      **self._origin,
      'metrics': list(self.log.records),
      'best': self._best.record(),
    }

  # When numbers go wrong ------------------------------------------------------

  def roll_back(self, step):
    """Returns the state of the last scheduled checkpoint, moved to `step`.

    The batches since then are left out. An interrupted run rolls back to the
    same step as an uninterrupted one, since checkpoints are scheduled by step.

    Raises:
      DivergedError: it has rolled back to that checkpoint before.
    """
    self._watchdog.beat(watchdog.PATIENCE)  # A restore comes next.
    self._checkpoints.wait()
    scheduled = self._checkpoints.last_scheduled_step()
    if scheduled is not None:
      past, _ = self._checkpoints.restore(self._components.state, scheduled)
    else:
      past = self._first_state()
    first = int(past.step)
    num_in_row = self._config.run.max_consecutive_skips
    found = f'{num_in_row} updates in a row were skipped, up to step {step}'
    if first == self._fallback:
      raise errors.DivergedError(
        f'{found}, again since step {first}. Lower optimizer.learning_rate or '
        'set optimizer.clip_norm, in a new --workdir.'
      )
    self._fallback = first
    self.log.say(
      f'{found}: rolling back to the parameters of step {first}; '
      f'batches {first + 1} to {step} are left out'
    )
    state = self._skipped_ahead(past, step)
    self.timings.restart(step, first)
    return state

  def _skipped_ahead(self, state, step):
    """Returns the state as it is when the batches up to `step` are left out."""

    def move(state):
      num_skipped = state.health.num_skipped + step - state.step
      health = state.health.replace(
        num_skipped=num_skipped, num_in_row=state.health.num_in_row * 0
      )
      return state.replace(step=state.step * 0 + step, health=health)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, self._components.state)
    return jax.jit(move, donate_argnums=0, out_shardings=shardings)(state)


def due(step, every):
  """Returns whether what recurs every `every` steps is due at `step`."""
  return 0 < every <= step and step % every == 0
