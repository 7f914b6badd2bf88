"""How every figure looks: colours, fonts, names of classes, grids of images.

Figures are drawn without pyplot, so that no global state changes.
"""

import functools
import pathlib
import unicodedata

import matplotlib
from matplotlib import figure, font_manager, text
from matplotlib.backends import backend_agg

from vit_jax import errors, files

MAX_IMAGES = 40
COLUMNS = 8
TITLE = 0.105  # Inches of a letter of a title.
NAME_WIDTH = 12  # Of a class in the caption of an image, in letters.

# Safe for the colour-blind (Okabe & Ito, 2008).
BLUE, RED = '#0072B2', '#D55E00'
INK, FAINT = '#222222', '#D9D9D9'
GREY = '#6E6E6E'  # Of what is said in passing.

_FONT = 'DejaVu Sans'  # Comes with matplotlib.
_MISSING = '□'  # In place of a character that no font has.
_COLUMN, _IMAGE, _LINE = 1.32, 1.22, 0.15  # Of a grid, in inches.


def blank(width, height):
  """Returns an empty figure of a size in inches."""
  picture = figure.Figure(figsize=(width, height), dpi=160, facecolor='white')
  backend_agg.FigureCanvasAgg(picture)
  return picture


def save(picture, path):
  """Writes a figure and returns its path; the ending says which format.

  Raises:
    UserError: it can't be written, or there is no such format.
  """
  path = files.path(path)
  ending = path.suffix[1:].lower() or 'png'
  known = picture.canvas.get_supported_filetypes()
  if ending not in known:
    raise errors.UserError(
      f'{path} names no format of pictures. {errors.nearest(ending, known)}'
    )
  texts = picture.findobj(text.Text)
  families = _families(''.join(each.get_text() for each in texts))
  for each in texts:
    each.set_fontfamily(families)
  with files.saving(path) as file:
    picture.savefig(file, format=ending)
  return path


def heading(picture, title, subtitle=''):
  """Writes a title, and below it what is said in passing, at the top left."""
  width, height = picture.get_size_inches()
  for line, inches, letter, style in (
    (title, 0.22, TITLE, {'color': INK, 'size': 12, 'weight': 'bold'}),
    (subtitle, 0.46, 0.075, {'color': GREY, 'size': 9}),
  ):
    picture.text(
      0.08 / width,
      1 - inches / height,
      shorten(printable(line), int((width - 0.1) / letter)),
      va='center',
      parse_math=False,
      **style,
    )


def grid(path, images, captions, title, subtitle='', marked=None):
  """Plots images with a caption of one or two lines below each.

  Args:
    path: of the PNG.
    images: uint8 [n, height, width, 3]; the first 40 are shown.
    captions: of each.
    title: above them all.
    subtitle: below the title.
    marked: whether to draw a red frame around each; None: none.

  Returns:
    The path of the plot.
  """
  shown = list(zip(images, captions, marked or [False] * len(captions)))
  shown = shown[:MAX_IMAGES]
  columns = min(COLUMNS, max(len(shown), 5))
  rows = [
    shown[start : start + columns] for start in range(0, len(shown), columns)
  ]
  top = 0.68 if subtitle else 0.42
  height = top + sum(map(_row_height, rows))
  picture = blank(columns * _COLUMN, height)
  heading(picture, title, subtitle)
  for row in rows:
    for column, (image, caption, is_marked) in enumerate(row):
      left = column * _COLUMN + (_COLUMN - _IMAGE) / 2
      axes = picture.add_axes(
        (
          left / (columns * _COLUMN),
          1 - (top + _IMAGE) / height,
          _IMAGE / (columns * _COLUMN),
          _IMAGE / height,
        )
      )
      axes.set_anchor('S')  # A wide image stays near its caption.
      _panel(axes, image, caption, is_marked)
    top += _row_height(row)
  return save(picture, path)


def class_name(index, class_names, width=NAME_WIDTH):
  """Returns a name short enough to be shown; the index where it has none.

  It is shortened at the end, or in the middle where others begin alike. A name
  of characters of which no installed font has half is 'class 12', since it
  could not be read.
  """
  if class_names is None or index >= len(class_names):
    return str(index)
  whole = printable(class_names[index]) or str(index)
  if 2 * whole.count(_MISSING) > len(whole):
    return f'class {index}'
  short = shorten(whole, width)
  beginning = short.removesuffix('…')
  if short != whole and any(
    str(name).startswith(beginning)
    for other, name in enumerate(class_names)
    if other != index
  ):
    return shorten(whole, width, ends=True)
  return short


def shorten(name, width, ends=False):
  """Returns a name cut to the width of some letters; … stands for the rest.

  Args:
    name: a text.
    width: in letters; Chinese characters and the like take two.
    ends: whether to keep beginning and end, else the beginning.
  """
  if letters(name) <= width:
    return name
  if ends:
    last = _start(name[::-1], width // 2)[::-1]
    return f'{_start(name, width - 1 - width // 2).rstrip()}…{last.lstrip()}'
  return f'{_start(name, width - 1).rstrip()}…'


def letters(name):
  """Returns the width of a text in letters."""
  return sum(map(_width, name))


def printable(name):
  """Returns a text on one line, without what can't be drawn.

  Line breaks and runs of spaces are a space; bytes that were not UTF-8 are
  replacement characters, and characters that no font has are boxes.
  """
  seen = ' '.join(decoded(str(name)).split())
  return ''.join(
    letter if _family(letter) else _MISSING
    for letter in seen
    if unicodedata.category(letter) not in ('Cc', 'Cf')
  )


def decoded(name):
  """Returns the name of a file, replacement characters for what isn't UTF-8."""
  return name.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def _row_height(row):
  """Returns the inches that images with their captions take."""
  lines = max(caption.count('\n') + 1 for _, caption, _ in row)
  return _IMAGE + 0.1 + lines * _LINE


def _panel(axes, image, caption, is_marked):
  small = max(image.shape[:2]) < 128
  axes.imshow(image, interpolation='nearest' if small else 'antialiased')
  axes.set_xticks([])
  axes.set_yticks([])
  for spine in axes.spines.values():
    spine.set(
      color=RED if is_marked else FAINT, linewidth=3 if is_marked else 1
    )
  label = axes.set_xlabel(
    caption,
    color=RED if is_marked else INK,
    fontsize=8,
    fontfamily=_families(caption),
    labelpad=3,
    parse_math=False,  # A dollar sign in the name of a class is literal.
  )
  inches = label.get_window_extent().width / axes.figure.dpi
  label.set_fontsize(8 * min(1, _IMAGE / max(inches, 1e-3)))


def _start(name, width):
  """Returns as many of the first characters as fit."""
  end, taken = 0, 0
  while end < len(name) and taken + _width(name[end]) <= width:
    taken += _width(name[end])
    end += 1
  return name[:end]


def _width(letter):
  if unicodedata.combining(letter):
    return 0
  return 2 if unicodedata.east_asian_width(letter) in 'WF' else 1


# Fonts ------------------------------------------------------------------------


def _families(characters):
  """Returns the names of fonts that together have these characters."""
  others = {_family(letter) for letter in characters} - {_FONT, None}
  return [_FONT, *sorted(others)]


@functools.lru_cache(None)
def _family(letter):
  """Returns the name of a font that has a character, or None."""
  return next(
    (name for name, path in _fonts() if ord(letter) in _glyphs(path)), None
  )


def _fonts():
  """Returns (name, path) of fonts: ours, then those of this machine."""
  own = pathlib.Path(matplotlib.get_data_path())
  others = {
    entry.name: entry.fname
    for entry in font_manager.fontManager.ttflist
    if entry.style == 'normal' and own not in pathlib.Path(entry.fname).parents
  }
  return [(_FONT, font_manager.findfont(_FONT)), *sorted(others.items())]


@functools.lru_cache(None)
def _glyphs(path):
  """Returns the code points of the characters that a font file has."""
  try:
    return frozenset(font_manager.get_font(path).get_charmap())
  except (OSError, RuntimeError):  # Broken, or of bitmaps.
    return frozenset()
