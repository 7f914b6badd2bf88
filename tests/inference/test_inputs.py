"""Which images `predict` and `analyze` take."""

import os

import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.data import names as spelling
from vit_jax.data import transforms
from vit_jax.data.sources import folder
from vit_jax.inference import inputs


def write(path, format='PNG'):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, format)


def test_the_images_of_a_folder_are_those_that_training_takes(tmp_path, capsys):
  for name, format in {
    **{'a/1.png': 'PNG', 'a/x/2.jfif': 'JPEG', 'a/download': 'WEBP'},
    **{'b/3.AVIF': 'AVIF', 'b/._3.png': 'PNG', 'b/4.dat': 'BMP'},
    **{'__MACOSX/a/1.png': 'PNG', 'run/predictions.png': 'PNG'},
  }.items():
    write(tmp_path / 'set' / name, format)
  (tmp_path / 'set/run/config.json').touch()
  (tmp_path / 'set/run/metrics.jsonl').touch()
  (tmp_path / 'set/b/5.heic').write_bytes(b'\0\0\0\x18ftypheic')
  (tmp_path / 'set/b/notes.txt').touch()
  (tmp_path / 'set/b/loop').symlink_to(tmp_path / 'set')
  found = inputs.find(str(tmp_path / 'set'))
  names = [path.relative_to(tmp_path / 'set').as_posix() for path in found]
  assert names == ['a/1.png', 'a/download', 'a/x/2.jfif', 'b/3.AVIF', 'b/4.dat']
  assert capsys.readouterr().err == ('left out: 2 files (.heic: 1, .txt: 1)\n')
  counts = folder.summary(str(tmp_path / 'set')).splits
  assert sum(counts.values()) == len(names)


def test_names_that_are_not_utf_8_are_shown_as_text(tmp_path, capsys):
  names = [os.fsdecode(b'gr\xfcn.png'), 'a\nb.png', '-rf.png']
  for name in names:
    write(tmp_path / 'set' / name)
  paths = inputs.find(str(tmp_path / 'set'))
  files = inputs.Images(paths, (transforms.DecodeCrop(same),), (8, 8), 8)
  ((labels, pixels, problems),) = files.batches()
  assert problems == [None] * 3 and pixels.shape == (3, 8, 8, 3)
  given = sorted(label.removeprefix(f'{tmp_path}/set/') for label in labels)
  assert given == sorted(names)
  told = [spelling.shown(label) for label in given]
  assert told == ['-rf.png', 'a\ufffdb.png', 'gr\ufffdn.png']


def same(image, rng):
  return image


def test_a_file_that_is_named_is_taken_whatever_it_is(tmp_path):
  (tmp_path / 'a.heic').touch()
  assert inputs.find(f'{tmp_path}/a.heic') == [tmp_path / 'a.heic']


def test_several_are_parted_by_commas_and_home_is_written_short(
  tmp_path, monkeypatch
):
  monkeypatch.setenv('HOME', str(tmp_path))
  write(tmp_path / 'one, two.png')
  write(tmp_path / 'b/3.png')
  assert inputs.find('~/one, two.png') == [tmp_path / 'one, two.png']
  both = f'~/b,{tmp_path}/one, two.png'
  with pytest.raises(errors.UserError, match=r'there is no such file'):
    inputs.find(both)
  write(tmp_path / 'c.png')
  assert inputs.find('~/b,~/c.png') == [
    tmp_path / 'b/3.png',
    tmp_path / 'c.png',
  ]


@pytest.mark.parametrize('name', ['gone', 'x' * 300, 'a\0b', '~nobody/x'])
def test_what_is_not_there_is_told(name):
  with pytest.raises(errors.UserError, match=r'there is no such file or fold'):
    inputs.find(name)


def test_a_folder_without_images_says_what_it_holds(tmp_path):
  (tmp_path / 'a.heic').write_bytes(b'\0\0\0\x18ftypheic')
  with pytest.raises(
    errors.UserError, match=r'holds no images \(left out: 1 file \(.heic: 1\)'
  ):
    inputs.find(str(tmp_path))
