"""Nothing runs from a stranger's data set, run or picture."""

import contextlib
import io
import json
import os
import pathlib
import zipfile

import numpy as np
import pytest
import samples
from PIL import Image

EVIL = 'import pathlib\npathlib.Path({!r}).touch()\nclass Image: pass\n'


def feature_class(features, name, legacy=False):
  """Puts the name of a class in place of that of the image."""
  inner = features['featuresDict']['features']
  if legacy:
    inner['image'] = {'type': name, 'content': {'shape': [1]}}
  else:
    inner['image']['pythonClassName'] = name
  return features


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(
  'name',
  [
    'antigravity.Image',  # Of Python, and opens a browser.
    'neighbour.Image',  # Beside the data.
    'tensorflow_datasets.scripts.cli.main.Image',  # Installed.
    f'{samples.CORE}.video_feature.Video',  # Starts FFmpeg.
    f'{samples.CORE}.audio_feature.Audio',
    '.Image',
    '',
    'x' * 100_000,
  ],
)
def test_no_module_is_imported_that_features_name(
  child, tmp_path, name, legacy
):
  version = samples.tfds_folder(tmp_path)
  (tmp_path / 'neighbour.py').write_text(EVIL.format(str(tmp_path / 'ran')))
  path = version / 'features.json'
  features = feature_class(samples.tfds_features(), name, legacy)
  path.write_text(json.dumps(features))
  assert 'feature class' in child.refuses('features.json', path, tmp_path)
  assert not (tmp_path / 'ran').exists()


def nested(name):
  """Hides a class in a sequence, in the JSON of older versions, in texts."""
  core = samples.CORE
  inner = {'pythonClassName': name, 'text': {}}
  yield {
    'pythonClassName': f'{core}.sequence_feature.Sequence',
    'sequence': {'feature': inner},
  }
  yield {'python_class_name': name, 'text': {}}
  yield {
    'pythonClassName': f'{core}.features_dict.FeaturesDict',
    'jsonFeature': {'json': json.dumps({'x': {'type': name, 'content': {}}})},
  }
  yield {
    'type': f'{core}.features_dict.FeaturesDict',
    'content': json.dumps({'features': {'x': inner}}),
    'proto_cls': 'tensorflow_datasets.FeaturesDict',
  }


@pytest.mark.parametrize('number', range(4))
@pytest.mark.parametrize('file', ['features.json', 'dataset_info.json'])
def test_no_class_hides_inside_another(child, tmp_path, number, file):
  version = samples.tfds_folder(tmp_path)
  features = samples.tfds_features()
  extra = list(nested('antigravity.Image'))[number]
  features['featuresDict']['features']['extra'] = extra
  content = features
  if file == 'dataset_info.json':
    content = {**samples.tfds_info(), 'features': features}
  (version / file).write_text(json.dumps(content))
  message = child.refuses('features.json', version / file, tmp_path)
  assert 'feature class' in message


@pytest.mark.parametrize(
  ('module', 'content'),
  [
    ('class_label_feature.ClassLabel', {'names_file': '/etc/passwd'}),
    ('labeled_image.LabeledImage', {'shape': [1], 'labels': '/etc/passwd'}),
  ],
)
def test_no_file_is_read_that_features_name(child, tmp_path, module, content):
  version = samples.tfds_folder(tmp_path)
  features = samples.tfds_features()
  features['featuresDict']['features']['label'] = {
    'pythonClassName': f'{samples.CORE}.{module}',
    'jsonFeature': {'json': json.dumps(content)},
  }
  path = samples.write(version / 'features.json', json.dumps(features))
  child.refuses('features.json', path, tmp_path)


@pytest.mark.parametrize(
  'changes',
  [
    {'filepathTemplate': '../../../../etc/{SPLIT}'},
    {'filepathTemplate': '/etc/{SPLIT}'},
    {'filepathTemplate': '{DATASET:>999999999}'},
    {'filepathTemplate': '{DATASET.__class__}'},
    {'name': '../../../x'},
    {'shardLengths': ['-5']},
    {'shardLengths': [str(1 << 62)]},
    {'shardLengths': 'many'},
  ],
)
def test_no_split_leads_outside_of_the_folder(child, tmp_path, changes):
  version = samples.tfds_folder(tmp_path)
  info = samples.tfds_info()
  info['splits'][0] |= changes
  path = samples.write(version / 'dataset_info.json', json.dumps(info))
  child.refuses('dataset_info.json', path, tmp_path)


@pytest.mark.parametrize('config', ['../../elsewhere', '/etc', 7, ['a']])
def test_no_default_configuration_leads_outside(child, tmp_path, config):
  version = samples.tfds_folder(tmp_path)
  path = tmp_path / 'strange/.config/metadata.json'
  samples.write(path, json.dumps({'default_config_name': config}))
  message = child.refuses('features.json', version / 'features.json', tmp_path)
  assert 'its config' in message


def test_a_data_set_that_tfds_has_written_is_read(child, tmp_path):
  version = samples.tfds_folder(tmp_path)
  answer = child.read('features.json', version / 'features.json', tmp_path)
  assert answer['outcome'] == 'read'


@pytest.mark.parametrize(
  'dataset', ['huggingface:someone/anything', 'kaggle:x', 'strange/a=1']
)
def test_a_run_can_not_name_a_registry_of_code(child, tmp_path, dataset):
  path = samples.run_config(tmp_path)
  config = json.loads(path.read_text())
  config['data'] |= {'dataset': dataset, 'data_dir': str(tmp_path)}
  path.write_text(json.dumps(config))
  assert 'data.dataset' in child.refuses('data of a run', path, tmp_path)


def test_a_run_that_points_to_a_hostile_data_set_runs_nothing(child, tmp_path):
  version = samples.tfds_folder(tmp_path / 'data')
  features = feature_class(samples.tfds_features(), 'antigravity.Image')
  (version / 'features.json').write_text(json.dumps(features))
  path = samples.run_config(tmp_path)
  config = json.loads(path.read_text())
  config['data'] |= {'dataset': 'strange', 'data_dir': str(tmp_path / 'data')}
  path.write_text(json.dumps(config))
  assert 'feature class' in child.refuses('data of a run', path, tmp_path)


# Pictures ---------------------------------------------------------------------

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
(%pipe%touch ran) (w) file closefile
showpage
%%EOF
"""


def icon():
  stream = io.BytesIO()
  Image.fromarray(samples.PIXELS).resize((32, 32)).save(stream, 'ICO')
  return stream.getvalue()


def saved(format):
  stream = io.BytesIO()
  Image.fromarray(samples.PIXELS).resize((32, 32)).save(stream, format)
  return stream.getvalue()


NO_PICTURES = {
  'EPS': lambda: EPS,
  'EPS with a preview': lambda: b'\xc5\xd0\xd3\xc6' + bytes(26) + EPS,
  'PDF': lambda: saved('PDF'),
  'ICO': lambda: saved('ICO'),
  'ICNS': lambda: saved('ICNS'),
  'PCX': lambda: saved('PCX'),
  'TGA': lambda: saved('TGA'),
  'DDS': lambda: saved('DDS'),
  'SGI': lambda: saved('SGI'),
}


@pytest.mark.parametrize('kind', NO_PICTURES)
@pytest.mark.parametrize('road', ['predict', 'train'])
def test_formats_that_no_photograph_has_are_refused(
  child, tmp_path, kind, road
):
  data = NO_PICTURES[kind]()
  if road == 'predict':
    path = samples.write(tmp_path / 'cat.jpg', data)
    child.refuses('image jpg', path, tmp_path)
  else:
    samples.image_folder(tmp_path)
    path = samples.write(tmp_path / 'train/cat/a.jpg', data)
    child.refuses('classes.txt', tmp_path / 'classes.txt', tmp_path)
  assert not list(tmp_path.rglob('ran'))


@pytest.mark.parametrize('kind', samples.IMAGES)
def test_formats_of_photographs_are_read(child, tmp_path, kind):
  path = samples.write(tmp_path / 'cat', samples.IMAGES[kind]())
  assert child.read('image jpg', path)['outcome'] == 'read'


# Arrays -----------------------------------------------------------------------


class Payload:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return (os.mkdir, (self.path,))


@pytest.mark.parametrize('reader', ['npz', 'data npz', 'npy', 'TFRecord index'])
def test_nothing_is_unpickled(child, tmp_path, reader):
  array = np.array([Payload(str(tmp_path / 'ran'))], object)
  stream = io.BytesIO()
  np.save(stream, array, allow_pickle=True)
  if reader == 'npy':
    path = samples.write(tmp_path / 'a.npy', stream.getvalue())
  elif reader == 'TFRecord index':
    path = samples.tfds_folder(tmp_path) / 'features.json'
    child.read('features.json', path, tmp_path)
    (index,) = (path.parent / '.vit_jax').iterdir()
    index.write_bytes(stream.getvalue())
    assert child.read(reader, path, tmp_path)['outcome'] == 'read'
    return
  else:
    path = tmp_path / 'a.npz'
    with zipfile.ZipFile(path, 'w') as archive:
      for name in 'train_image.npy', 'train_label.npy':
        archive.writestr(name, stream.getvalue())
  child.refuses(reader, path, tmp_path)
  assert not (tmp_path / 'ran').exists()


def test_the_hook_sees_what_it_should(child, tmp_path):
  """Else nothing of the above would prove anything."""
  del child
  import watch

  hook = watch.Watch()
  (tmp_path / 'seen_by_the_hook.py').write_text('1')
  with hook.of(tmp_path) as seen:
    open(tmp_path / 'mine', 'w').close()
    assert seen.seen == []
    for act in (
      lambda: __import__('antigravity_is_not_here'),
      lambda: open('/etc/hostname').close(),
      lambda: os.system('true'),
      lambda: exec('1'),
      lambda: open(pathlib.Path(__file__), 'a').close(),
      lambda: os.rename('/nonexistent', str(tmp_path / 'x')),
    ):
      before = len(seen.seen)
      with contextlib.suppress(ImportError, OSError):
        act()
      assert len(seen.seen) > before, act
