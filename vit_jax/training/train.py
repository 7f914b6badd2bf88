"""The training run, top to bottom: build, restore, loop, evaluate, save.

However often a run is interrupted, the same command resumes it from its last
checkpoint, bit for bit as if it had never stopped.
"""

import functools

import jax

from vit_jax import files
from vit_jax.config import paths, recipes, schema
from vit_jax.data import bad_examples, pipeline, prefetch, threads
from vit_jax.evaluation import drawing
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement
from vit_jax.training import (
  assembly,
  initialization,
  overview,
  plots,
  progress,
  splits,
  validation,
)
from vit_jax.training import session as sessions
from vit_jax.training.runtime import preemption, process_log, writers
from vit_jax.weights import card as cards


def run(config, workdir, data=None, may_exit=True):
  """Trains as `config` says, or resumes the run in `workdir`.

  Args:
    config: what `recipes.load` returns.
    workdir: folder of the run, for config.json, checkpoints, metrics and plots.
    data: the sources of both splits, where `data.source` is 'python'.
    may_exit: whether signals and hangs may end this process; see `preemption`.

  Returns:
    {name: float}, the metrics of the last evaluation: of the newest checkpoint,
    which need not be the best.

  Raises:
    UserError: something in `config`, the data or `workdir` is invalid, before
      any training; or the run diverges or fails to save repeatedly.
    Preempted: a signal has stopped the run, and its state is saved.
  """
  workdir = paths.absolute(workdir)
  devices = meshes.devices()
  assembly.validate(config, len(devices))
  writers.check(config.run.writers)
  recipes.check_same(config, workdir)
  workdir = files.path(workdir)
  process_log.CURRENT.begin(workdir)
  initialization.check(config, workdir)
  data = splits.Splits(config, workdir, data)
  num_steps = schema.num_steps(config.run, len(data.train))
  mesh = meshes.build(config.mesh, devices)
  components = assembly.build(config, data.train.num_classes, mesh, num_steps)

  speed = overview.speed(config, components, data.train.num_classes)

  card = _card(config, data.train, data.facts, components)
  with sessions.Session(
    config,
    workdir,
    components,
    num_steps,
    data.facts,
    card,
    speed,
    may_exit=may_exit,
  ) as session:
    size = len(data.train)
    for line in overview.lines(config, components, speed, num_steps, size):
      session.log.say(line)
    for line in data.describe():
      session.log.say(line)
    session.log.say(threads.describe(config.data))
    state = session.restore_or_init()
    data.remember()
    step = int(state.step)
    train_step, predict = _compile(config.run, components)
    batches = session.iterate(_batches(config, data.train, mesh, step, workdir))
    evaluation = _make_evaluation(
      config, components, predict, data.eval, workdir, session
    )
    session.mark_ready(step)
    report, evaluated = None, None  # The last one, and its step.
    try:
      if _must_evaluate(config, step) and not session.log.has_evaluation(step):
        report, evaluated = evaluation(step, state), step  # Interrupted.
      while step < num_steps and not session.has_lost_patience():
        with session.dispatching(step + 1):
          state, means = train_step(state, next(batches), session.stop_flags())
        step += 1
        evaluating, saving = (
          _must_evaluate(config, step),
          session.must_save(step),
        )
        ending = step == num_steps
        try:
          session.log_step(step, means, now=evaluating or saving or ending)
        except progress.Diverged:
          step, state = int(state.step), None  # No memory for two.
          state = session.roll_back(step)
          batches = session.iterate(
            _batches(config, data.train, mesh, step, workdir)
          )
          continue
        if ending:
          break
        if saving:  # First: an evaluation may fail.
          session.save(step, state)
        if evaluating:
          report, evaluated = evaluation(step, state), step
      session.finish(step, state)
      if evaluated != step:
        report = evaluation(step, state)
      session.conclude(step, report)
    except preemption.Stopped:
      session.save_and_exit(state)
    except BaseException as error:
      session.save_on_error(error, state)
      raise

    sample = validation.sample_predictions(
      config,
      components,
      predict,
      state.eval_params,
      data.eval,
      drawing.MAX_IMAGES,
    )
  if jax.process_index() == 0:
    _plot(workdir, sample, len(data.eval), card)
  return report


def _card(config, source, data, components):
  """Returns the card of what will be trained on a source."""
  facts = {
    'recipe': recipes.digest(config),
    'init': config.init,
    'dataset': config.data.dataset,
    'train_split': config.data.train_split,
    **data,
  }
  if config.objective.name == 'classification':
    facts['loss'] = config.objective.loss
  has_head = 'head' in components.state.params
  num_classes = source.num_classes if has_head else 0
  return cards.of_run(config, num_classes, source.class_names, facts)


def _compile(run, components):
  """Returns train_step and predict, so that no step waits for a compiler."""
  eval_batch = components.batch(run.eval_batch_size or run.batch_size)
  return (
    components.lower_train_step(run).compile(),
    components.predict().lower(components.state.params, eval_batch).compile(),
  )


def _batches(config, source, mesh, start, workdir):
  """Returns an iterator over batches on the devices, from batch `start`."""
  local = pipeline.train_batches(
    source,
    config.data,
    batch_size=config.run.batch_size,
    seed=config.seed,
    start=start,
    rows=placement.local_rows(mesh, config.run.batch_size),
    bad_path=bad_examples.path(workdir, jax.process_index()),
  )
  placed = (placement.to_devices(batch, mesh) for batch in local)
  return prefetch.Prefetch(placed, config.data.prefetch_batches)


def _make_evaluation(config, components, predict, source, workdir, session):
  """Returns evaluation(step, state), which logs a report and returns it."""
  count = validation.num_batches(config, source)

  def evaluation(step, state):
    with session.timings.spending('evaluation'):
      report = validation.report(
        config,
        components,
        predict,
        state.eval_params,
        source,
        functools.partial(session.iterate_evaluation, count=count),
        bad_examples.path(workdir, jax.process_index()),
      )
    session.log_evaluation(step, report)
    return report

  return evaluation


def _plot(workdir, sample, num_examples, card):
  plots.learning_curve(workdir)
  if sample:
    path, names = workdir / 'predictions.png', card.class_names and card.names()
    plots.predictions(path, sample, num_examples, names)


def _must_evaluate(config, step):
  return sessions.due(step, config.run.eval_every)
