"""Figures show what they are given, however many, long or odd."""

import pathlib
import warnings

import fontTools.fontBuilder
import fontTools.pens.ttGlyphPen
import numpy as np
import PIL.Image
import pytest
from matplotlib import font_manager, pyplot

from vit_jax import errors
from vit_jax.evaluation import drawing


@pytest.fixture
def images():
  draw = np.random.default_rng(0)
  return draw.integers(0, 256, (45, 8, 8, 3), np.uint8)


def shown(path):
  """Returns the pixels of a picture, uint8 [rows, columns, 3]."""
  return np.asarray(PIL.Image.open(path).convert('RGB'))


def test_at_most_forty_images_are_shown(tmp_path, images):
  all_of_them = drawing.grid(tmp_path / 'a.png', images, ['cat'] * 45, 'title')
  forty = drawing.grid(tmp_path / 'b.png', images[:40], ['cat'] * 40, 'title')
  np.testing.assert_array_equal(shown(all_of_them), shown(forty))


@pytest.mark.parametrize('count', [0, 1, 5, 11])
def test_a_grid_of_any_number_of_images_is_drawn(tmp_path, images, count):
  path = drawing.grid(
    tmp_path / 'p.png', images[:count], ['cat'] * count, 'title', 'subtitle'
  )
  pixels = shown(path)
  assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > (64 if count else 8)


def test_small_images_keep_their_pixels(tmp_path):
  checkers = np.indices((4, 4)).sum(0) % 2 * 255
  image = np.repeat(checkers[..., None], 3, axis=-1).astype(np.uint8)
  path = drawing.grid(tmp_path / 'p.png', [image], [''], '')
  black = np.all(shown(path) == 0, axis=-1)
  # Half of an image of 1.22 inches at 160 dots, without smoothing.
  assert black.sum() == pytest.approx(0.5 * (1.22 * 160) ** 2, rel=0.1)


def test_drawing_leaves_pyplot_alone(tmp_path, images):
  before = pyplot.get_fignums()
  drawing.grid(tmp_path / 'p.png', images, ['cat'] * 45, 'title')
  assert pyplot.get_fignums() == before


@pytest.mark.parametrize(
  'index, width, expected',
  [
    (0, 12, 'cat'),
    (1, 12, 'golden retr…'),
    (2, 12, 'Panth…o male'),
    (3, 12, 'Panth…female'),
    (4, 12, 'a b c'),
    (5, 12, 'a$b_{$'),
    (6, 12, 'caf\ufffd'),
    (7, 12, '7'),
    (8, 12, '8'),
    (2, 99, 'Panthera leo male'),
  ],
)
def test_names_are_short_legible_and_told_apart(index, width, expected):
  names = [
    *('cat', 'golden retriever', 'Panthera leo male', 'Panthera leo female'),
    *('a\nb\t  c\u200b', 'a$b_{$', 'caf\udce9', '\t'),
  ]
  assert drawing.class_name(index, names, width) == expected


def test_a_class_without_a_name_is_its_index():
  assert drawing.class_name(3, None) == '3'
  assert drawing.class_name(3, ['cat']) == '3'


def test_wide_and_combining_characters_count_as_they_are_seen():
  assert drawing.letters('狗狗') == 4
  assert drawing.letters('e\u0301') == 1
  assert drawing.shorten('狗狗狗狗', 5) == '狗狗…'
  assert drawing.shorten('狗狗狗狗', 8) == '狗狗狗狗'


@pytest.fixture
def dog_font(tmp_path):
  """A font that has 狗 alone, installed for as long as a test runs."""
  empty = fontTools.pens.ttGlyphPen.TTGlyphPen(None).glyph()
  pen = fontTools.pens.ttGlyphPen.TTGlyphPen(None)
  for move, corner in (('moveTo', (0, 0)), ('lineTo', (0, 900))):
    getattr(pen, move)(corner)
  pen.lineTo((900, 900))
  pen.closePath()
  builder = fontTools.fontBuilder.FontBuilder(1000, isTTF=True)
  builder.setupGlyphOrder(['.notdef', 'dog'])
  builder.setupCharacterMap({ord('狗'): 'dog'})
  builder.setupGlyf({'.notdef': empty, 'dog': pen.glyph()})
  builder.setupHorizontalMetrics({'.notdef': (1000, 0), 'dog': (1000, 0)})
  builder.setupHorizontalHeader(ascent=900, descent=-100)
  builder.setupNameTable({'familyName': 'Dogs', 'styleName': 'Regular'})
  builder.setupOS2()
  builder.setupPost()
  builder.save(tmp_path / 'dogs.ttf')
  before = list(font_manager.fontManager.ttflist)
  font_manager.fontManager.addfont(tmp_path / 'dogs.ttf')
  drawing._family.cache_clear()
  yield
  font_manager.fontManager.ttflist[:] = before
  drawing._family.cache_clear()


def without_fonts_of_this_machine(monkeypatch):
  own = pathlib.Path(drawing.matplotlib.get_data_path())
  fonts = [
    entry
    for entry in font_manager.fontManager.ttflist
    if own in pathlib.Path(entry.fname).parents
  ]
  monkeypatch.setattr(font_manager.fontManager, 'ttflist', fonts)
  drawing._family.cache_clear()


def test_a_name_that_no_font_can_show_is_the_number_of_its_class(
  tmp_path, images, monkeypatch
):
  without_fonts_of_this_machine(monkeypatch)
  names = ['狗', '狗 is a dog']
  assert drawing.class_name(0, names) == 'class 0'
  assert drawing.class_name(1, names) == '□ is a dog'
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    drawing.grid(tmp_path / 'p.png', images[:1], [''], '狗' * 100, '狗')
  drawing._family.cache_clear()


def test_an_installed_font_shows_what_ours_lacks(tmp_path, images, dog_font):
  assert drawing.class_name(0, ['狗']) == '狗'
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    with_name = drawing.grid(tmp_path / 'p.png', images[:1], ['狗'], 'title 狗')
  without = drawing.grid(tmp_path / 'q.png', images[:1], [''], 'title')
  assert (shown(with_name) != shown(without)).any()


def test_a_picture_is_written_whole_or_refused(tmp_path, images):
  draw = drawing.grid
  with pytest.raises(errors.UserError, match=r'no format .*mean .*png'):
    draw(tmp_path / 'p.pngg', images[:1], [''], '')
  (tmp_path / 'file').touch()
  with pytest.raises(errors.UserError, match='can not be written'):
    draw(tmp_path / 'file' / 'p.png', images[:1], [''], '')
  draw(tmp_path / 'new' / 'p.png', images[:1], [''], '')
  assert [path.name for path in (tmp_path / 'new').iterdir()] == ['p.png']


def test_captions_do_not_touch_each_other(tmp_path, images, monkeypatch):
  drawn, save = [], drawing.save

  def keep(picture, path):
    drawn.append(picture)
    return save(picture, path)

  monkeypatch.setattr(drawing, 'save', keep)
  captions = [
    '✗ WWWWWWWWWWWW · 100%\ntrue: MMMMMMMMMMMM',
    '✓ ШШШШШШШШШШШШ · 99%',
  ]
  path = drawing.grid(tmp_path / 'p.png', images[:12], captions * 6, 'title')
  boxes = [axes.xaxis.label.get_window_extent() for axes in drawn[0].axes]
  for number, box in enumerate(boxes):
    assert not any(box.overlaps(other) for other in boxes[:number])
  assert PIL.Image.open(path).size[0] > max(box.x1 for box in boxes)
