"""Plans of the paper's pre-trainings on slices of TPUs; writes docs/plans.md.

  python benchmarks/plans.py --page=docs/plans.md

Rows that are there, of the same versions, stay: it goes on where it stopped.

It needs libtpu (the extra vit_jax[tpu]) and no TPU. What fits is looked for as
`vit_jax plan --mesh=auto` does; layers are compiled as one loop.
"""

import argparse
import pathlib
import sys

import jax

from vit_jax.config import recipes
from vit_jax.planning import chips, plan, report
from vit_jax.planning import topology as topologies

MFU = 0.4
SLICES = ('v3:8x8', 'v4:4x4x4', 'v5e:8x8', 'v5p:4x4x4')  # 64 chips each.

# Data set as the paper calls it, recipe, variants.
PRETRAININGS = (
  (
    'ImageNet',
    'configs/pretrain/vit_i1k.py',
    ('B/32', 'B/16', 'L/32', 'L/16'),
  ),
  (
    'ImageNet-21k',
    'configs/pretrain/vit_i21k.py',
    ('B/32', 'B/16', 'L/32', 'L/16', 'H/14'),
  ),
  (
    'JFT-300M',
    'configs/pretrain/vit_jft.py',
    (
      *('B/32', 'B/16', 'L/32', 'L/16', 'H/14'),
      *('R50+ViT-B/32', 'R50+ViT-B/16', 'R50+ViT-L/32', 'R50+ViT-L/16'),
      *('BiT-R50x1', 'BiT-R50x2', 'BiT-R101x1', 'BiT-R152x1', 'BiT-R152x2'),
    ),
  ),
)

INTRODUCTION = """# Plans of the paper's pre-training runs

Pre-training runs of the ViT paper, table 3, compiled ahead of time for 64
chips of four kinds of TPU (`make plans`, which adds missing rows; {versions};
batch 4096 at 224 px, bfloat16, layers under `scan`). No TPU was used: memory
and collectives are those that the TPU compiler reports for the training step;
time and money are model FLOPs at {mfu:.0%} of the peak, and list prices
(`vit_jax/sharding/accelerators.py`). The changes are the cheapest that fit, of
those that `vit_jax plan --mesh=auto` tries; the last column is the time to
compile all candidates, on two cores of a CPU that often had other work.

| data | model | chips | changes | GB per device | sent, GB | s/step | hours | \
US dollars | compiled in, s |
|---|---|---|---|---|---|---|---|---|---|
"""


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--page', type=pathlib.Path, required=True)
  parser.add_argument('--only', default='', help='in the row to plan')
  args = parser.parse_args()
  if not topologies.has_tpu_compiler():
    sys.exit('The compiler for TPUs is missing: pip install vit_jax[tpu].')
  jax.config.update('jax_platforms', 'cpu')
  versions = f'JAX {jax.__version__}, {topologies.tpu_compiler()}'
  introduction = INTRODUCTION.format(versions=versions, mfu=MFU)
  known, wanted = known_rows(args.page, introduction), dict(jobs())
  for cells, job in wanted.items():
    if cells not in known and args.only in cells:
      known[cells] = row(*job)
      lines = [f'{cells} {known[cells]}' for cells in wanted if cells in known]
      args.page.write_text(introduction + '\n'.join(lines) + '\n')
      print(cells, known[cells], flush=True)
      jax.clear_caches()  # Else each row adds a gigabyte.


def known_rows(page, introduction):
  """Returns {first cells: the rest} of a page that these versions wrote."""
  text = page.read_text() if page.exists() else ''
  if not text.startswith(introduction):
    return {}
  rows = [line.split(' | ') for line in text[len(introduction) :].splitlines()]
  return {f'{" | ".join(row[:3])} |': ' | '.join(row[3:]) for row in rows}


def jobs():
  """Yields the first cells of each row, and the arguments of `row`."""
  for data, recipe, variants in PRETRAININGS:
    for variant in variants:
      config = recipes.load(f'{recipe}:variant={variant}')
      config.model.scan = 'ViT' in config.model.name
      for name in SLICES:
        chip = name.partition(':')[0]
        yield f'| {data} | {config.model.name} | 64 x {chip} |', (config, name)


def row(config, name):
  """Returns the cells of a line but for the first three."""
  topology = chips.parse(name)
  found, tries = plan.search(config, topology)
  seconds = sum(one.plan.seconds for one in tries if one.plan)
  if found is None:
    cells = ['nothing tried fits', '', '', '', '', '', f'{seconds:.0f}']
  else:
    cost = report.cost(found, MFU, None)
    changes = ', '.join(
      f'{field}={value}'
      for field, value in tries[-1].changes.items()
      if value not in (-1, 1)
    )
    sent = sum(one.num_bytes for one in found.traffic.values())
    dollars = '' if cost.dollars is None else f'{cost.dollars:,.0f}'
    cells = [
      changes or 'none',
      f'{found.needed / 1e9:.1f} of {found.capacity / 1e9:.1f}',
      f'{sent / 1e9:.2f}',
      f'{cost.seconds:.3f}',
      f'{cost.hours:,.0f}',
      dollars,
      f'{seconds:.0f}',
    ]
  return f'{" | ".join(cells)} |'


if __name__ == '__main__':
  main()
