"""The figures of the ViT paper that look inside a model, drawn from arrays."""

import matplotlib
import numpy as np
from matplotlib import ticker

from vit_jax.evaluation import drawing

MAX_ROLLOUTS = 24  # Of the first images; figure 14 has 128.
_PAIRS_PER_ROW = 4
_FILTERS_PER_ROW = 7


def rollout(path, images, maps, captions=None):
  """Draws images beside themselves under attention rollout (figures 6, 14).

  Args:
    path: of the PNG.
    images: uint8 [n, height, width, 3]; the first 24 are shown.
    maps: [n, rows, columns], each patch's share; brightest is the most of
      each image.
    captions: pairs of texts, below each image and below its map; None: none.
      They are shortened to one line.

  Returns:
    The path of the figure.
  """
  captions = captions or [('', '')] * len(images)
  shown = list(zip(images, maps, captions))[:MAX_ROLLOUTS]
  height, width = images[0].shape[:2]
  columns = min(_PAIRS_PER_ROW, len(shown))
  rows = -(-len(shown) // columns)
  inches = 1.3 if columns == _PAIRS_PER_ROW else 2.4  # Few images are larger.
  has_captions = any(text for pair in captions for text in pair)
  figure, panels = _panels(
    'Attention rollout',
    (rows, 2 * columns),
    (inches * height / width, inches),
    head=0.72,
    foot=0.18 if has_captions else 0,
  )
  for axes, (image, shares, texts) in zip(panels.reshape(-1, 2), shown):
    axes[0].imshow(image)
    _heat(axes[1], image, shares)
    for each, text in zip(axes, texts):
      _caption(each, text, inches)
  for axes, name in zip(panels[0], ('input', 'attention') * columns):
    axes.set_title(name, color=drawing.INK, fontsize=9, pad=4)
  _scale(figure, 'inferno', ('0', "image's largest share"))
  return drawing.save(figure, path)


def _heat(axes, image, shares):
  """Draws an image in grey under a map of what is attended to."""
  height, width = image.shape[:2]
  grey = image @ np.array([0.299, 0.587, 0.114]) / 255
  shares = np.asarray(shares) / max(np.max(shares), np.finfo(np.float32).tiny)
  axes.imshow(grey, cmap='gray', vmin=0, vmax=1)
  axes.imshow(
    shares,
    cmap='inferno',
    vmin=0,
    vmax=1,
    alpha=0.3 + 0.4 * shares,  # Where little is, the image is seen.
    interpolation='bicubic',
    extent=(-0.5, width - 0.5, height - 0.5, -0.5),
  )


def _caption(axes, text, inches):
  """Writes a text on one line below a panel, shortened in its middle."""
  letters = int(inches / 0.068)
  axes.annotate(
    drawing.shorten(drawing.printable(text), letters, ends=True),
    (0.5, 0),
    xycoords='axes fraction',
    xytext=(0, -3),
    textcoords='offset points',
    ha='center',
    va='top',
    color=drawing.INK,
    fontsize=7.5,
    parse_math=False,
  )


def _scale(figure, cmap, ends):
  """Draws a colour bar at the top right, between the names of its ends."""
  width, height = figure.get_size_inches()
  letter, long, right = 0.062, 0.8, width - 0.08
  left = right - letter * len(ends[1]) - long - 0.05
  axes = figure.add_axes(
    (left / width, 1 - 0.26 / height, long / width, 0.1 / height)
  )
  axes.imshow(np.linspace(0, 1, 256)[None], cmap=cmap, aspect='auto')
  axes.set_axis_off()
  for x, text, ha in (
    (left - 0.06, ends[0], 'right'),
    (right, ends[1], 'right'),
  ):
    figure.text(
      x / width,
      1 - 0.21 / height,
      text,
      color=drawing.GREY,
      fontsize=8,
      ha=ha,
      va='center',
    )


def attention_distance(path, distances, uniform, num_images):
  """Draws a dot per head over the layers (figures 7 right, 11).

  Args:
    path: of the PNG.
    distances: [depth, heads], mean attention distances in pixels.
    uniform: the distance of a head that looks everywhere alike.
    num_images: that the distances are means over.

  Returns:
    The path of the figure.
  """
  depth, num_heads = distances.shape
  figure = drawing.blank(6.4, 4.2)
  figure.set_layout_engine('constrained', w_pad=0.12, h_pad=0.1)
  axes = figure.subplots()
  layers = np.arange(1, depth + 1)
  colors = matplotlib.colormaps['viridis'](np.linspace(0, 0.92, num_heads))
  ranked = np.sort(distances, axis=1)  # Heads have no order of their own.
  for rank in range(num_heads):
    axes.scatter(
      layers,
      ranked[:, rank],
      s=30,
      color=colors[rank],
      edgecolor='white',
      linewidth=0.5,
      zorder=3,
    )
  axes.axhline(uniform, color=drawing.INK, linewidth=0.9, linestyle=(0, (2, 3)))
  axes.annotate(
    'uniform attention',
    (0, uniform),
    xycoords=('axes fraction', 'data'),
    xytext=(2, 3),
    textcoords='offset points',
    color=drawing.INK,
    fontsize=8,
  )
  axes.set_xlim(0.3, depth + 0.7)
  axes.set_ylim(0, 1.1 * max(uniform, float(distances.max()), 1e-6))
  axes.set_xlabel('layer', color=drawing.INK)
  axes.set_ylabel('mean attention distance (pixels)', color=drawing.INK)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(12, integer=True))
  axes.grid(axis='y', color=drawing.FAINT, linewidth=0.8)
  axes.set_axisbelow(True)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(drawing.FAINT)
  axes.tick_params(length=0, labelcolor=drawing.INK)
  images = 'one image' if num_images == 1 else f'{num_images} images'
  _title(
    axes,
    'Mean attention distance',
    f'a dot for each of {num_heads} heads, the nearest darkest; of {images}',
  )
  return drawing.save(figure, path)


def position_similarity(path, similarity):
  """Draws a tile per patch: how alike all others are (figures 7, 10).

  Args:
    path: of the PNG.
    similarity: [rows, columns, rows, columns], in [-1, 1].

  Returns:
    The path of the figure.
  """
  rows, columns = similarity.shape[:2]
  tiles = _tiles(similarity)
  largest = max(tiles.shape)
  inches = max(5.2, largest / 80)  # At 160 dots, a cell has at least two.
  height, width = inches * np.array(tiles.shape) / largest
  figure = drawing.blank(max(width, 2) + 1.7, max(height, 1.5) + 1.0)
  figure.set_layout_engine('constrained', w_pad=0.1, h_pad=0.08)
  axes = figure.subplots()
  image = axes.imshow(
    tiles, cmap='viridis', vmin=-1, vmax=1, interpolation='none'
  )
  _number_tiles(axes.xaxis, columns, _gap(rows, columns))
  _number_tiles(axes.yaxis, rows, _gap(rows, columns))
  axes.set_xlabel('input patch column', color=drawing.INK)
  axes.set_ylabel('input patch row', color=drawing.INK)
  axes.spines[:].set_visible(False)
  axes.tick_params(length=0, labelcolor=drawing.INK, labelsize=8)
  bar = figure.colorbar(
    image, ax=axes, ticks=(-1, -0.5, 0, 0.5, 1), aspect=30, pad=0.02
  )
  bar.set_label('cosine similarity', color=drawing.INK)
  bar.outline.set_visible(False)
  bar.ax.tick_params(length=0, labelcolor=drawing.INK)
  _title(axes, 'Position embedding similarity')
  return drawing.save(figure, path)


def _tiles(similarity):
  """Returns one image of all tiles, a gap of NaN between them."""
  rows, columns = similarity.shape[:2]
  gap = _gap(rows, columns)
  gaps = ((0, 0), (0, 0), (0, gap), (0, gap))
  tiles = np.pad(similarity, gaps, constant_values=np.nan)
  tiles = tiles.transpose(0, 2, 1, 3)
  tiles = tiles.reshape(rows * (rows + gap), columns * (columns + gap))
  return tiles[:-gap, :-gap]


def _gap(rows, columns):
  """Returns the cells between two tiles."""
  return 1 + max(rows, columns) // 16


def _number_tiles(axis, count, gap):
  every = -(-count // 16)
  shown = np.arange(0, count, every)
  axis.set_ticks(shown * (count + gap) + (count - 1) / 2, shown + 1)


def patch_filters(path, components, shares=None):
  """Draws principal components as colour images (figure 7, left).

  Args:
    path: of the PNG.
    components: [count, rows, columns, 3]; grey is zero, and each is scaled by
      its own largest magnitude.
    shares: [count], of the variance that each explains; None: not told.

  Returns:
    The path of the figure.
  """
  count, height, width = components.shape[:3]
  columns = min(_FILTERS_PER_ROW, count)
  rows = -(-count // columns)
  subtitle = ''
  if shares is not None:
    subtitle = f'{np.sum(shares):.0%} of the variance, row by row; grey is zero'
  figure, panels = _panels(
    f'First {count} principal components of the RGB filters',
    (rows, columns),
    (0.8 * height / width, 0.8),
    head=0.68 if subtitle else 0.42,
    subtitle=subtitle,
  )
  for axes, component in zip(panels.flat, components):
    largest = max(np.abs(component).max(), np.finfo(np.float32).tiny)
    axes.imshow(0.5 + 0.5 * component / largest, interpolation='none')
  return drawing.save(figure, path)


def _panels(title, shape, size, head=0.42, foot=0, subtitle=''):
  """Returns a figure and its panels, [rows, columns], without frames.

  Args:
    title: at the top left.
    shape: (rows, columns).
    size: (height, width) of a panel in inches.
    head: inches above the panels.
    foot: inches below each row of them, for captions.
    subtitle: below the title, for which 0.68 inches are enough.
  """
  (rows, columns), (height, width) = shape, size
  gap = 0.08
  right = columns * (width + gap)
  total_height = head + rows * (height + gap + foot)
  total_width = max(right + gap, 4.6)  # Room for the title.
  figure = drawing.blank(total_width, total_height)
  panels = figure.subplots(
    rows,
    columns,
    squeeze=False,
    gridspec_kw={
      'left': gap / total_width,
      'right': right / total_width,
      'bottom': (gap + foot) / total_height,
      'top': 1 - head / total_height,
      'wspace': gap / width,
      'hspace': (gap + foot) / height,
    },
  )
  for axes in panels.flat:
    axes.set_axis_off()
  drawing.heading(figure, title, subtitle)
  return figure, panels


def _title(axes, text, subtitle=''):
  axes.set_title(
    text,
    loc='left',
    color=drawing.INK,
    fontsize=12,
    fontweight='bold',
    pad=26 if subtitle else 10,
  )
  axes.annotate(
    subtitle,
    (0, 1),
    xycoords='axes fraction',
    xytext=(0, 10),
    textcoords='offset points',
    color=drawing.GREY,
    fontsize=9,
  )
