import os

import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.data import image_files

PICTURE = Image.fromarray(np.zeros((5, 4, 3), np.uint8))


@pytest.mark.parametrize('format', image_files.FORMATS)
@pytest.mark.parametrize('mode', ['RGB', 'L', '1'])
def test_every_format_is_known_by_its_content(format, mode, tmp_path):
  if (mode, format) in {('1', 'JPEG2000'), ('1', 'WEBP'), ('1', 'AVIF')}:
    mode = 'L'
  path = tmp_path / 'picture.bin'
  PICTURE.convert(mode).save(path, format)
  assert image_files.is_image(path)
  path.write_bytes(path.read_bytes()[1:])
  assert not image_files.is_image(path)


@pytest.mark.parametrize('format', ['EPS', 'ICO', 'PDF', 'TGA', 'PCX', 'ICNS'])
def test_other_formats_are_not(format, tmp_path):
  path = tmp_path / 'picture'
  PICTURE.resize((32, 32)).save(path, format)
  assert not image_files.is_image(path)


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'BMW is a car and no bitmap, though it begins so.',
    b'P1 is a text',
    b'P3',
    b'GIF86a',
    b'\0\0\0\x18ftypheic\0\0\0\0mif1heic',
    b'\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41',
    b'RIFF\0\0\0\0WAVEfmt ',
    b'<html><img src="a.jpg"></html>',
  ],
)
def test_what_begins_almost_so_is_not(content, tmp_path):
  path = tmp_path / 'a'
  path.write_bytes(content)
  assert not image_files.is_image(path)


def test_an_avif_may_name_its_brand_late():
  for head in b'mif1', b'msf1':
    header = b'\0\0\0\x20ftyp' + head + b'\0\0\0\0' + b'mif1miafavif'
    assert image_files.has_image_header(header)
    assert not image_files.has_image_header(header[:-4] + b'heic')


def test_usual_extensions_are_trusted_without_a_look(tmp_path):
  assert image_files.is_image(tmp_path / 'not there.JPG')
  assert not image_files.is_image(tmp_path / 'not there.image')


def test_all_below_a_folder_is_found_in_order(tmp_path):
  for name in 'b/2.png', 'a.png', 'b/c/1.png', '.x/1.png', '__MACOSX/1.png':
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  (tmp_path / 'b/note.TXT').touch()
  (tmp_path / 'b/Thumbs.db').touch()
  found = image_files.find(tmp_path)
  assert found.names == ['a.png', 'b/2.png', 'b/c/1.png']
  assert found.left_out == {'.txt': 1}
  assert image_files.describe(found.left_out) == '1 file (.txt: 1)'


def test_many_kinds_of_files_are_cut_short():
  left_out = {f'.{letter}': 1000 for letter in 'abcdefg'}
  assert image_files.describe(left_out) == (
    '7,000 files (.a: 1,000, .b: 1,000, .c: 1,000, .d: 1,000, .e: 1,000, ...)'
  )


@pytest.mark.parametrize('target', ['.', '..', 'b'])
def test_a_link_to_where_it_is_is_not_followed(tmp_path, target):
  folder = tmp_path / 'set/a/b'
  folder.mkdir(parents=True)
  (folder / '1.png').touch()
  (tmp_path / 'set/other.png').touch()
  (folder / 'loop').symlink_to(tmp_path / 'set/a' / target)
  assert image_files.find(tmp_path / 'set/a').names == ['b/1.png']


def test_a_link_elsewhere_is_followed(tmp_path):
  (tmp_path / 'other/x').mkdir(parents=True)
  (tmp_path / 'other/x/1.png').touch()
  (tmp_path / 'set').mkdir()
  (tmp_path / 'set/a').symlink_to(tmp_path / 'other')
  (tmp_path / 'set/back').symlink_to(tmp_path / 'set')
  assert image_files.find(tmp_path / 'set').names == ['a/x/1.png']


def test_a_folder_of_a_run_is_left_out(tmp_path):
  for name in 'config.json', 'checkpoints/1/a.png', 'plot.png':
    (tmp_path / 'set/run' / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / 'set/run' / name).touch()
  assert image_files.find(tmp_path / 'set') == ([], {})
  (tmp_path / 'set/run/config.json').unlink()
  assert len(image_files.find(tmp_path / 'set').names) == 2


@pytest.mark.parametrize(
  'figure, result',
  [
    ('confusion.png', 'per_class.csv'),
    ('mistakes.png', 'mistakes.csv'),
    ('rollout.png', 'rollout.npz'),
  ],
)
def test_figures_beside_results_are_no_images(tmp_path, figure, result):
  (tmp_path / 'a').mkdir()
  for name in 'photo.jpg', figure:
    (tmp_path / 'a' / name).touch()
  assert len(image_files.find(tmp_path).names) == 2
  (tmp_path / 'a' / result).touch()
  assert image_files.find(tmp_path).names == ['a/photo.jpg']


def test_a_folder_that_can_not_be_read_is_named(tmp_path, monkeypatch):
  def scandir(path):
    raise PermissionError(13, 'Permission denied', path)

  monkeypatch.setattr(os, 'scandir', scandir)
  with pytest.raises(errors.UserError, match=r'can not be read: Permission'):
    image_files.find(tmp_path)
