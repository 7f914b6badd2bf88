"""The training run, top to bottom: build, restore, loop, evaluate, save."""

import pathlib

import jax

from vit_jax import (
  assembly,
  evaluate,
  experiment,
  metrics,
  pictures,
  recipes,
  run_log,
)
from vit_jax.checkpoints import run as checkpoints
from vit_jax.data import pipeline, sources
from vit_jax.sharding import mesh as meshes
from vit_jax.sharding import placement


def run(config, workdir):
  """Trains as `config` says, or goes on where `workdir` left off.

  Args:
    config: what `recipes.load` returns.
    workdir: folder of the run; takes config.json, checkpoints, metrics and
      pictures.

  Returns:
    {name: float}, the metrics of the last evaluation.

  Raises:
    UserError: something in `config`, the data or `workdir` does not fit;
      before any training.
  """
  workdir = pathlib.Path(workdir).absolute()
  devices = meshes.devices()
  experiment.validate(config, len(devices))
  recipes.check_same(config, workdir)
  source = sources.build(config.data, config.data.train_split)
  eval_source = sources.build(config.data, config.data.eval_split)
  num_steps = experiment.num_steps(config.run, len(source))
  mesh = meshes.build(config.mesh, devices)
  parts = assembly.build(config, source.num_classes, mesh, num_steps)
  predict = parts.predict()
  is_writer = jax.process_index() == 0
  if is_writer:
    recipes.save(config, workdir)

  with (
    run_log.RunLog(
      workdir, num_steps, config.run.batch_size, is_writer=is_writer
    ) as log,
    checkpoints.Checkpoints(
      workdir / 'checkpoints', config.run.checkpoints_to_keep
    ) as saved,
  ):
    log.say(f'{len(devices)} {devices[0].platform} device(s)')
    if saved.latest_step() is None:
      state = parts.init(config.seed)
    else:
      state = saved.restore(parts.state)
      log.say(f'resumed at step {int(state.step)}')
    start = int(state.step)
    log.start(start)
    train_step = parts.train_step()
    batches = _batches(config, source, mesh, start)
    late = None  # Metrics are fetched a step late: the device never waits.
    for step in range(start + 1, num_steps + 1):
      state, means = train_step(state, next(batches))
      _log(log, late)
      last = step == num_steps
      logging = last or _due(step, config.run.log_every)
      evaluating = last or _due(step, config.run.eval_every)
      saving = last or _due(step, config.run.checkpoint_every)
      late = (step, means) if logging else None
      if evaluating or saving:  # What is saved has been logged: no gap.
        _log(log, late)
        late = None
      if evaluating:
        report = evaluate.report(
          config, parts, predict, state.params, eval_source
        )
        log.evaluation(step, report)
      if saving:
        saved.save(step, state)
    if start == num_steps:
      report = evaluate.report(
        config, parts, predict, state.params, eval_source
      )

  shown = evaluate.first_predictions(
    config, parts, predict, state.params, eval_source
  )
  if is_writer:
    pictures.learning_curve(workdir)
    pictures.predictions(
      workdir / 'predictions.png', *shown, eval_source.class_names
    )
  return report


def _batches(config, source, mesh, start):
  """Returns an iterator over batches on the devices, from batch `start`."""
  local = pipeline.train_batches(
    source,
    config.data,
    batch_size=config.run.batch_size,
    seed=config.seed,
    start=start,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )
  placed = (placement.to_devices(batch, mesh) for batch in local)
  return pipeline.prefetch(placed, config.data.prefetch_batches)


def _due(step, every):
  return every > 0 and step % every == 0


def _log(log, late):
  if late:
    step, means = late
    log.train(step, metrics.compute(jax.device_get(means)))
