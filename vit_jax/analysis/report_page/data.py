"""What the data of a run are: counts, balance of classes, sizes of images."""

import numpy as np

from vit_jax import errors
from vit_jax.data import names as spelling
from vit_jax.data import sources
from vit_jax.data.sources import subset
from vit_jax.data.transforms import decoding

MAX_LABELS = 100_000  # Examples that are read for their labels.
NUM_SIZES = 200  # Images whose header is looked at.
MAX_BARS = 30  # Classes that are drawn; of more, the ends are.


def statistics(config, measured):
  """Returns what is known of the two splits.

  Args:
    config: of the run, or None.
    measured: a `classes.Measured`, which knows the names of classes.

  Returns:
    {'rows': [(name, text)], 'problems': texts, 'balance': {'names', 'splits':
    {split: counts}} or None}.
  """
  if config is None:
    return {'rows': [], 'problems': [], 'balance': None}
  data = config.data
  rows = [('Source', data.source), ('Data set', data.dataset)]
  problems, counts, names = [], {}, None
  for kind, split in (('train', data.train_split), ('eval', data.eval_split)):
    title = 'Training split' if kind == 'train' else 'Evaluation split'
    try:
      source = sources.build(data, split)
      rows += _of_split(title, split, source)
      names = names or _names(source, measured)
      of_classes = _counts(source)
      if of_classes is not None:
        counts[kind] = of_classes
    except (errors.UserError, OSError) as error:
      rows.append((title, split))
      problems.append(f'{title} {split}: {error}')
  rows = [(name, errors.shown(spelling.shown(text))) for name, text in rows]
  return {
    'rows': rows,
    'problems': [errors.shown(each) for each in problems],
    'balance': _balance(counts, names),
  }


def _of_split(title, split, source):
  rows = [(title, f'{split}: {len(source):,} images')]
  rows += [(title, note) for note in getattr(source, 'notes', ())]
  if title == 'Training split':
    rows.append(('Classes', f'{source.num_classes:,}'))
    rows += _sizes(source)
  return rows


def _names(source, measured):
  if measured.found is not None:
    return list(measured.found.names)
  known = [errors.shown(name) for name in source.class_names or ()]
  return known + [
    f'class {index}' for index in range(len(known), source.num_classes)
  ]


def _counts(source):
  """Returns the examples of each class; None: reading them takes too long."""
  labels = getattr(source, 'labels', None)
  if labels is None:
    if len(source) > MAX_LABELS:
      return None
    labels = subset.labels(source)
  labels = np.asarray(labels)
  known = labels[(labels >= 0) & (labels < source.num_classes)]
  return np.bincount(known, minlength=source.num_classes)


def _sizes(source):
  """Returns rows on the sizes of the images, of a sample of them."""
  chosen = np.linspace(0, len(source) - 1, min(NUM_SIZES, len(source)))
  sizes = []
  for index in np.unique(chosen.astype(int)).tolist():
    try:
      size = decoding.size(source[index]['image'])
    except (errors.UserError, OSError):  # A bad example; told elsewhere.
      continue
    if size is not None:
      sizes.append(size)
  if not sizes:
    return []
  found = np.array(sizes)
  low, middle, high = found.min(0), np.median(found, axis=0), found.max(0)
  if (low == high).all():
    text = f'{low[0]:,} x {low[1]:,} pixels'
  else:
    text = (
      f'{low[0]:,} to {high[0]:,} rows (median {middle[0]:,.0f}), '
      f'{low[1]:,} to {high[1]:,} columns (median {middle[1]:,.0f})'
    )
  return [('Image sizes', f'{text}; of {len(sizes):,} images looked at')]


def _balance(counts, names):
  """Returns the classes to draw: all, or the most and the least frequent."""
  if not counts or not names:
    return None
  size = max(len(names), *(len(each) for each in counts.values()))
  names = [*names, *(f'class {index}' for index in range(len(names), size))]
  of = {
    kind: np.pad(each, (0, size - len(each))) for kind, each in counts.items()
  }
  first = next(iter(of.values()))
  chosen = np.arange(size)
  if size > MAX_BARS:
    order = np.argsort(-first, kind='stable')
    half = MAX_BARS // 2
    chosen = np.concatenate([order[:half], order[-half:]])
  return {
    'names': [names[index] for index in chosen.tolist()],
    'splits': {kind: each[chosen] for kind, each in of.items()},
    'num_classes': size,
    'told': '; '.join(
      f'{kind}: {each.min():,} to {each.max():,} images per class, median '
      f'{np.median(each):,.0f}'
      for kind, each in of.items()
    ),
  }
