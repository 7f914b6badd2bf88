"""A plan as text: does it fit, what is sent, what time and money it takes."""

from typing import NamedTuple

from vit_jax.config import schema
from vit_jax.data import datasets


def text(plan, mfu, price):
  """Returns what `vit_jax plan` prints of a `plan.Plan`.

  Args:
    plan: the plan.
    mfu: fraction of the chips' peak that model FLOPs will reach.
    price: US dollars per chip and hour; None: the list price.
  """
  sections = [_heading(plan), _memory(plan), _advice(plan), _traffic(plan)]
  sections.append(_cost(plan, mfu, price))
  return '\n\n'.join(filter(None, sections))


def candidates_table(candidates):
  """Returns a table of the candidates of `mesh_search.search`."""
  rows = [('tried', 'GB per device', '')]
  for one in candidates:
    changes = [f'{field}={value}' for field, value in one.changes.items()]
    verdict = 'too much, not compiled'
    if one.plan:
      verdict = 'fits' if one.plan.fits else 'does not fit'
    bound = '' if one.plan else 'at least '
    rows.append((' '.join(changes), f'{bound}{_giga(one.needed)}', verdict))
  found = table(rows)
  if not any(one.plan and one.plan.fits for one in candidates):
    found += '\n\nNo candidate fits: use more chips, or chips with more memory.'
  return found


def table(rows):
  """Returns rows of strings as text, in columns of one width."""
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
    '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
    for row in rows
  )


def _heading(plan):
  config, topology = plan.config, plan.topology
  mesh = ' x '.join(f'{axis}={size}' for axis, size in plan.mesh.items())
  size = ' x '.join(map(str, schema.image_size(config.data)))
  heading = (
    f'{config.model.name}, {plan.num_params:,} parameters, '
    f'{config.model.dtype}\n'
    f'{config.run.batch_size:,} images of {size} per step\n'
    f'{topology.num_chips} chips ({topology.name}), mesh {mesh}\n'
    f'compiled by {plan.compiler} in {plan.seconds:.0f} s'
  )
  if topology.is_tpu and 'libtpu' not in plan.compiler:
    heading += (
      '\nThis is not the compiler for these chips: bytes and collectives are '
      'those of CPU devices.\nInstall the extra vit_jax[tpu] for the real one.'
    )
  elif 'CPU' in plan.compiler and topology.chip:
    heading += (
      '\nBytes and collectives are those of CPU devices: temporaries on the '
      'real ones differ.'
    )
  return heading


def _memory(plan):
  rows = [
    ('GB per device', ''),
    ('parameters', _giga(plan.params_bytes)),
    ('optimizer and the rest of the state', _giga(plan.optimizer_bytes)),
  ]
  if plan.memory:
    state = plan.params_bytes + plan.optimizer_bytes
    rows += [
      ('batch and padding', _giga(max(0, plan.memory.arguments - state))),
      ('activations, gradients (temporary)', _giga(plan.memory.temporaries)),
      ('outputs', _giga(plan.memory.results)),
      ('program', _giga(plan.memory.code)),
    ]
  rows.append(('total', _giga(plan.needed)))
  if plan.capacity is not None:
    verdict = 'fits' if plan.fits else 'DOES NOT FIT'
    rows.append(('available', f'{_giga(plan.capacity)}: {verdict}'))
  return table(rows)


def _advice(plan):
  """Returns which fields would make it fit, where it does not."""
  if plan.fits:
    return ''
  config, state = plan.config, plan.params_bytes + plan.optimizer_bytes
  spare = plan.mesh['data']
  lines = ['To reduce memory (--mesh=auto tries these in turn):']
  if spare > 1:
    split = _giga(state / spare)
    lines.append(
      f'--config.mesh.fsdp={spare * plan.mesh["fsdp"]}: a state of about '
      f'{split} GB instead of {_giga(state)}, and gradients likewise'
    )
  if config.model.dtype == 'float32':
    lines.append('--config.model.dtype=bfloat16: half the activations')
  if config.model.remat == 'none':
    lines.append(
      '--config.model.remat=elementwise: recomputes only cheap operations'
    )
  if config.model.remat in ('none', 'elementwise'):
    lines.append(
      '--config.model.remat=dots: saves only matrix products of each layer'
    )
  if config.model.remat != 'full':
    lines.append(
      '--config.model.remat=full: saves only the inputs of layers; a third '
      'more FLOPs'
    )
  count = 2 * config.optimizer.accumulation_steps
  lines.append(
    f'--config.optimizer.accumulation_steps={count}: about half the activations'
  )
  if not config.model.scan:
    lines.append('--config.model.scan=true: one layer at a time; compiles fast')
  return '\n  '.join(lines)


def _traffic(plan):
  """Returns a table of the collectives of a step."""
  if plan.memory is None:
    return ''
  if not plan.traffic:
    return 'The devices send each other nothing.'
  rows = [('collectives per step', 'among', 'number', 'GB sent per device')]
  for (kind, size), one in sorted(plan.traffic.items()):
    rows.append((kind, str(size), f'{one.count:,}', _giga(one.num_bytes)))
  return table(rows)


class Cost(NamedTuple):
  """The cost of a run whose chips reach a given fraction of their peak.

  Attributes:
    seconds: per step.
    num_steps: of the run; 1000 where its length is unknown.
    is_known: whether its length is known.
    hours: of the run.
    chip_hours: of all chips.
    dollars: US; None where no price is known.
  """

  seconds: float
  num_steps: int
  is_known: bool
  hours: float
  chip_hours: float
  dollars: float | None


def cost(plan, mfu, price=None):
  """Returns the `Cost` of a `plan.Plan`; None: the chips are unknown.

  Args:
    plan: the plan.
    mfu: fraction of the chips' peak that model FLOPs will reach.
    price: US dollars per chip and hour; None: the list price.
  """
  chip = plan.topology.chip
  if chip is None:
    return None
  price = chip.price if price is None else price
  seconds = plan.flops / (plan.topology.num_chips * chip.peak * mfu)
  known = _num_steps(plan.config)
  num_steps = 1000 if known is None else known
  hours = num_steps * seconds / 3600
  chip_hours = hours * plan.topology.num_chips
  dollars = None if price is None else chip_hours * price
  return Cost(seconds, num_steps, known is not None, hours, chip_hours, dollars)


def _cost(plan, mfu, price):
  """Returns FLOPs, and the time and money they take at a utilization."""
  rows = [('FLOPs per step (matrix products)', f'{plan.flops:.4g}')]
  taken = cost(plan, mfu, price)
  if taken is not None:
    at = f'at {mfu:.0%} of the peak'
    images = plan.config.run.batch_size / taken.seconds
    length = f'{taken.num_steps:,} steps'
    if not taken.is_known:
      length += ' (the length of training is unknown)'
    dollars = 'no list price is known; set --price'
    if taken.dollars is not None:
      dollars = f'{taken.dollars:,.0f}'
    rows += [
      (f'seconds per step {at}', f'{taken.seconds:.3g}'),
      (f'images per second {at}', f'{images:,.0f}'),
      (f'hours for {length}', f'{taken.hours:,.1f}'),
      ('chip-hours', f'{taken.chip_hours:,.0f}'),
      ('US dollars', dollars),
    ]
  return table(rows)


def _num_steps(config):
  """Returns the length of the run; None where the data set is unknown."""
  if config.run.num_steps is not None:
    return config.run.num_steps
  facts = datasets.DATASETS.get(config.data.dataset)
  if facts is None or facts.train is None:
    return None
  return schema.num_steps(config.run, facts.train[1])


def _giga(num_bytes):
  return f'{num_bytes / 1e9:.3g}'
