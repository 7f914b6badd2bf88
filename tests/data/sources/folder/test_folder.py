import io
import sys

import numpy as np
import pytest
from PIL import Image

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data import image_files, pipeline, sources


def write(path, value=0, format='PNG'):
  path.parent.mkdir(parents=True, exist_ok=True)
  file = io.BytesIO()
  Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(file, format)
  path.write_bytes(file.getvalue())


@pytest.fixture
def data(tmp_path):
  data = schema.default().data
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


def test_folders_that_are_called_as_indices_have_these(data, tmp_path):
  data.dataset = str(tmp_path / 'v2')
  for label in range(12):
    write(tmp_path / 'v2/test' / str(label) / 'a.png')
  source = sources.build(data, 'test')
  assert source.class_names == tuple(map(str, range(12)))
  assert source.where(2) == str(tmp_path / 'v2/test/2/a.png')
  assert source[2]['label'] == 2
  write(tmp_path / 'v2/test/007/a.png')  # No index: by name, as any other.
  assert sources.build(data, 'test').class_names[:4] == ('0', '007', '1', '10')


EXTENSIONS = {
  **dict.fromkeys(('jpg', 'jpeg', 'jpe', 'jfif', 'mpo'), 'JPEG'),
  **dict.fromkeys(('ppm', 'pgm', 'pbm', 'pnm'), 'PPM'),
  **dict.fromkeys(('jp2', 'j2k', 'jpx'), 'JPEG2000'),
  **dict.fromkeys(('tif', 'tiff'), 'TIFF'),
  **{name: name.upper() for name in ('png', 'webp', 'bmp', 'gif', 'avif')},
}


def test_every_known_extension_is_read(data, tmp_path):
  assert {f'.{name}' for name in EXTENSIONS} == image_files.EXTENSIONS
  for extension, format in EXTENSIONS.items():
    write(tmp_path / f'train/ant/of.{extension}', 9, format)
    write(tmp_path / f'train/bee/of.{extension.upper()}', 9, format)
  source = sources.build(data, 'train')
  assert len(source) == 3 + 2 * len(EXTENSIONS)
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


def test_a_class_of_one_split_is_a_class_of_all(data, tmp_path):
  write(tmp_path / 'test/dog/a.png')
  for split in 'train', 'test':
    source = sources.build(data, split)
    assert source.class_names == ('ant', 'bee', 'cat', 'dog')
    assert source[2]['label'] == 2
  write(tmp_path / 'test/bee/b.png')
  (tmp_path / 'test/bee/b.png').unlink()
  (tmp_path / 'test/bee').rmdir()
  assert [sources.build(data, 'test')[i]['label'] for i in range(3)] == [
    0,
    2,
    3,
  ]


def test_splits_without_a_common_class_are_refused(data, tmp_path):
  (tmp_path / 'test').rename(tmp_path / 'gone')
  write(tmp_path / 'validation/unknown/a.png')
  for split in 'train', 'validation':
    with pytest.raises(
      errors.UserError, match=r'none of the classes of train: unknown, and ant'
    ):
      sources.build(data, split)


def test_images_without_classes_have_no_labels(data, tmp_path):
  write(tmp_path / 'unlabelled/a.png')
  assert len(sources.build(data, 'train')) == 3
  source = sources.build(data, 'unlabelled')
  assert [source[i]['label'] for i in range(len(source))] == [-1]
  (tmp_path / 'empty').mkdir()
  with pytest.raises(errors.UserError, match=r'empty has no folders'):
    sources.build(data, 'empty')


def test_a_class_without_images_says_what_it_holds_instead(data, tmp_path):
  (tmp_path / 'train/ant/b.png').unlink()
  (tmp_path / 'train/ant/b.heic').write_bytes(b'\0\0\0\x18ftypheic')
  with pytest.raises(errors.UserError, match=r'ant has no .*\(\.heic: 1\)'):
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


def test_listed_classes_hold_for_every_split(data, tmp_path):
  (tmp_path / 'classes.txt').write_text('elk\ncat\n\n bee \nant\n')
  write(tmp_path / 'few/cat/a.png')
  few, train = sources.build(data, 'few'), sources.build(data, 'train')
  assert few.class_names == train.class_names == ('elk', 'cat', 'bee', 'ant')
  assert few[0]['label'] == 1 and few.num_classes == 4
  assert [train[i]['label'] for i in range(3)] == [1, 2, 3]
  write(tmp_path / 'train/bea/a.png')
  with pytest.raises(errors.UserError, match=r"'bea' .*not in .* mean bee\?"):
    sources.build(data, 'train')


@pytest.mark.parametrize(
  'text, message',
  [('cat\ndog\ncat\n', r"names 'cat' twice"), ('\n', 'is empty')],
)
def test_a_list_of_classes_must_make_sense(data, tmp_path, text, message):
  (tmp_path / 'classes.txt').write_text(text)
  with pytest.raises(errors.UserError, match=rf'classes.txt {message}'):
    sources.build(data, 'train')


def test_a_list_of_labels_takes_the_place_of_folders(data, tmp_path):
  (tmp_path / 'some.csv').write_text(
    'image,label\ntrain/cat/b.png,cat\ntest/ant/b.png,ant\n'
  )
  source = sources.build(data, 'some')
  assert source.class_names == ('ant', 'bee', 'cat')
  assert source[0] == {
    'image': (tmp_path / 'train/cat/b.png').read_bytes(),
    'label': 2,
  }
  assert source.where(1) == str(tmp_path / 'test/ant/b.png')
  with pytest.raises(errors.UserError, match=r"'sone'.* mean some\?"):
    sources.build(data, 'sone')


def test_slices_share_no_file_and_have_all_classes(data, tmp_path):
  for number in range(30):
    write(tmp_path / f'train/bee/{number}.png')
  first = sources.build(data, 'train[:60%]')
  second = sources.build(data, 'train[60%:]+test')
  files = [
    {source.where(i) for i in range(len(source))} for source in (first, second)
  ]
  assert len(files[0]) == 20 and len(files[1]) == 13 + 3
  assert not files[0] & files[1]
  assert first.num_classes == second.num_classes == 3


def test_names_of_any_alphabet_are_found(data, tmp_path):
  write(tmp_path / 'train/ant/Ämeise 1.png')
  source = sources.build(data, 'train')
  assert source.where(0) == str(tmp_path / 'train/ant/b.png')
  assert source.where(1) == str(tmp_path / 'train/ant/Ämeise 1.png')
  assert (
    source[1]['image'] == (tmp_path / 'train/ant/Ämeise 1.png').read_bytes()
  )


def test_a_bucket_wants_a_package_which_is_named(data, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gcsfs', None)
  data.dataset = 'gs://photos/set'
  with pytest.raises(errors.UserError, match='gs:// needs gcsfs: pip install'):
    sources.build(data, 'train')
