"""A run or released weights, evaluated."""

from vit_jax import errors
from vit_jax.evaluation import records, registry
from vit_jax.evaluation import target as targets
from vit_jax.weights import loading


def run(
  workdir=None,
  evaluators=('classification',),
  *,
  checkpoint=None,
  model_name=None,
  results_path=None,
  **options,
):
  """Evaluates a checkpoint of a run, or weights.

  Every mistake that can be found without computing is found before the first
  evaluator starts. What each measures is added to `results_path`, as
  `records` tells.

  Args:
    workdir: folder of a run, with ':best' behind it for its best checkpoint in
      place of the newest; or else
    checkpoint, model_name: see `loading.find`.
    evaluators: names of `registry.EVALUATORS`.
    results_path: of the file that takes the results; None: that of the run,
      and none for weights.
    **options: see `target.EvalOptions`; the output_dir of a run is its folder,
      and for weights there is none, if it is not given.

  Returns:
    {name: float}, what all evaluators report.

  Raises:
    UserError: model, data and evaluators are not there or don't go together.
  """
  if (workdir is None) == (checkpoint is None):
    raise errors.UserError(
      'What is to be evaluated? Give either --workdir=RUN or '
      '--checkpoint=WEIGHTS.'
    )
  prepare = {
    name: errors.choose('evaluators', name, registry.EVALUATORS)
    for name in evaluators
  }
  options = targets.EvalOptions(**options)
  if workdir is not None:
    folder, _ = loading.run_folder(workdir)
    if options.output_dir is None:
      options = options._replace(output_dir=folder)
    target = targets.of_run(workdir, options)
    results_path = results_path or folder / records.FILE
  else:
    target = targets.of_weights(checkpoint, model_name, options)
  ready = {name: make(target) for name, make in prepare.items()}
  params, metadata = target.load()
  functions = target.functions(params)
  report = {}
  metadata = {**metadata, **_metadata_of(target)}
  for name, (measure, splits) in ready.items():
    values = measure(*functions)
    report |= values
    if results_path:
      key = {**metadata, **splits, 'evaluator': name}
      records.append(results_path, key, values)
  return report


def _metadata_of(target):
  data = target.config.data
  return {
    'dataset': data.dataset,
    'resolution': list(data.resolution),
    'code': records.code_version(),
  }
