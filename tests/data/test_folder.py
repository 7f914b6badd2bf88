import io

import numpy as np
import pytest
from PIL import Image

from vit_jax import errors, experiment
from vit_jax.data import folder, pipeline, sources


def write(path, value=0, format='PNG'):
  path.parent.mkdir(parents=True, exist_ok=True)
  file = io.BytesIO()
  Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(file, format)
  path.write_bytes(file.getvalue())


@pytest.fixture
def data(tmp_path):
  data = experiment.default().data
  data.source, data.dataset = 'folder', str(tmp_path)
  data.resolution = (4,)
  for split in 'train', 'test':
    for label in 'cat', 'ant', 'bee':
      write(tmp_path / split / label / 'b.png')
  return data


def test_classes_and_files_come_in_sorted_order(data, tmp_path):
  write(tmp_path / 'train/bee/A.JPG', format='JPEG')
  write(tmp_path / 'train/bee/c.jpeg', format='JPEG')
  source = sources.build(data, 'train')
  assert source.class_names == ('ant', 'bee', 'cat')
  assert source.num_classes == 3
  assert [source[i]['label'] for i in range(len(source))] == [0, 1, 1, 1, 2]
  assert [source.where(i) for i in range(len(source))] == [
    str(tmp_path / 'train' / name)
    for name in ('ant/b.png', 'bee/A.JPG', 'bee/b.png', 'bee/c.jpeg')
  ] + [str(tmp_path / 'train/cat/b.png')]
  assert source[1]['image'] == (tmp_path / 'train/bee/A.JPG').read_bytes()


def test_every_known_extension_is_read(data, tmp_path):
  formats = ('JPEG', 'JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF', 'TIFF')
  for extension, format in zip(folder.EXTENSIONS, formats, strict=True):
    write(tmp_path / f'train/ant/of{extension}', 9, format)
    write(tmp_path / f'train/bee/of{extension.upper()}', 9, format)
  source = sources.build(data, 'train')
  assert len(source) == 3 + 2 * len(folder.EXTENSIONS)
  batches = pipeline.eval_batches(source, data, batch_size=len(source))
  images = next(batches)['image']
  named_of = ['/of' in source.where(i) for i in range(len(source))]
  assert np.abs(images[named_of].astype(int) - 9).max() <= 1


def test_hidden_and_other_files_are_left_out(data, tmp_path):
  write(tmp_path / 'train/ant/.hidden.png')
  (tmp_path / 'train/ant/labels.txt').write_text('')
  (tmp_path / '.cache/ant').mkdir(parents=True)
  (tmp_path / 'train/.ipynb_checkpoints').mkdir()
  assert len(sources.build(data, 'train')) == 3


def test_a_class_in_one_split_only_is_named_with_split_and_path(data, tmp_path):
  write(tmp_path / 'test/dog/a.png')
  for split in 'train', 'test':
    with pytest.raises(errors.UserError, match=r"Class 'dog' is .*'test' \(.*"):
      sources.build(data, split)
  write(tmp_path / 'train/dog/a.png')
  write(tmp_path / 'train/elk/a.png')
  with pytest.raises(errors.UserError, match=r"'elk' .* not in split 'test'"):
    sources.build(data, 'test')


def test_a_folder_of_images_without_classes_is_no_split(data, tmp_path):
  write(tmp_path / 'unlabelled/a.png')
  assert len(sources.build(data, 'train')) == 3
  with pytest.raises(errors.UserError, match=r'unlabelled has no folders'):
    sources.build(data, 'unlabelled')


def test_a_class_without_images_says_what_it_holds_instead(data, tmp_path):
  (tmp_path / 'train/ant/b.png').rename(tmp_path / 'train/ant/b.heic')
  with pytest.raises(errors.UserError, match=r"ant has no .*only 'b.heic'"):
    sources.build(data, 'train')
  (tmp_path / 'train/ant/b.heic').unlink()
  with pytest.raises(errors.UserError, match=r'ant has no images: .*nothing'):
    sources.build(data, 'train')


def test_a_missing_folder_or_split_is_named(data, tmp_path):
  with pytest.raises(errors.UserError, match=r"'tests'.* mean test\?"):
    sources.build(data, 'tests')
  data.dataset = str(tmp_path / 'train/ant')
  with pytest.raises(errors.UserError, match=r"'train'.*It has no folders"):
    sources.build(data, 'train')
  data.dataset = str(tmp_path / 'gone')
  with pytest.raises(errors.UserError, match=r"gone' is not a folder"):
    sources.build(data, 'train')


def test_an_unreadable_image_is_named_with_its_file(data, tmp_path):
  (tmp_path / 'train/bee/b.png').write_bytes(b'not a png')
  source = sources.build(data, 'train')
  with pytest.raises(errors.UserError, match=r'bee/b\.png: Not an image'):
    list(pipeline.eval_batches(source, data, batch_size=3))
  (tmp_path / 'train/bee/b.png').unlink()
  with pytest.raises(errors.UserError, match=r'bee/b\.png: .*No such file'):
    list(pipeline.eval_batches(source, data, batch_size=3))
