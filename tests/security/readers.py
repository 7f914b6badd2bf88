"""Every reader of strangers' files, as (sample, what it reads).

A sample writes files into an empty folder and returns the one that is changed;
a reader is given that path and reads as the commands do.
"""

import pathlib
import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import orbax.checkpoint as ocp
import samples

from vit_jax import errors, pytrees
from vit_jax.analysis import pages
from vit_jax.analysis.report_page import history, logs
from vit_jax.checkpoints import digests, manifest, parameters, step_folder
from vit_jax.config import recipes, schema, validation
from vit_jax.data import bad_examples, image_files, sources
from vit_jax.data.sources import arrays, folder, real_labels
from vit_jax.data.transforms import decoding
from vit_jax.evaluation import records
from vit_jax.inference import inputs
from vit_jax.training.runtime import lock, metrics_file, timings, writers
from vit_jax.training.runtime.writers import wandb_run
from vit_jax.weights import loading
from vit_jax.weights.files import npz, safetensors

# What each may raise; anything else is a traceback for the user.
TYPED = (errors.UserError, manifest.Damaged)


lock.BEAT_SECONDS = 0.002  # Another machine's lock is watched for five of them.


class Reader(NamedTuple):
  """A kind of file.

  Attributes:
    sample: writes files into a folder, returns the one to change.
    read: reads that one.
    grammar: 'json', 'lines', 'zip' or 'bytes': how it is changed.
  """

  sample: Callable
  read: Callable
  grammar: str


def _read_all(open_file):
  def read(path):
    with open_file(path) as file:
      for name in file:
        file[name]

  return read


def _configuration(path):
  config = recipes.load(str(path))
  validation.validate(config, 8)


def _data_of_a_run(path):
  config = recipes.load(str(path))
  sources.build(config.data, config.data.train_split)


def _weights(path):
  found = loading.find(str(path.parent))
  loading.build(found)


def _step(path):
  step_folder.check(next(each for each in path.parents if each.name == '10'))


def _exported(path):
  top = next(each for each in path.parents if (each / 'params').is_dir())
  found = parameters.find(top)
  arrays, _ = found.load(found.shapes(), lambda _, array: array)
  wanted = pytrees.flatten(samples.PARAMS)
  assert arrays.keys() == wanted.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(array, wanted[name], err_msg=name)


def _of_run(path):
  top = next(p for p in path.parents if p.name == 'checkpoints')
  parameters.OfRun(top, lambda _: None).shapes()


def _tfds(path):
  version = next(each for each in path.parents if each.name == '1.0.0')
  data = schema.default().data
  data.source, data.dataset = 'tfds', 'strange'
  data.data_dir = str(version.parents[1])
  source = sources.build(data, 'train')
  for index in range(min(len(source), 3)):
    decoding.decode(source[index]['image'])
  list(source.facts())


def _folder(split):
  def read(path):
    top = next(each for each in path.parents if (each / 'train').is_dir())
    data = schema.default().data
    data.source, data.dataset = 'folder', str(top)
    source = folder.build(data, split)
    for index in range(min(len(source), 3)):
      decoding.decode(source[index]['image'])
    list(source.facts())

  return read


def _arrays(path):
  data = schema.default().data
  data.source, data.dataset = 'arrays', str(path)
  source = arrays.build(data, 'train')
  decoding.decode(source[0]['image'])


def _pixels(path):
  for _ in inputs.Arrays(path, 2).batches():
    pass


class _Source:
  def __len__(self):
    return 10

  def where(self, index):
    return f'place {index}'

  def key(self, index):
    return f'{index}'


def _bad_examples(path):
  found = bad_examples.BadExamples(_Source(), 0.5, path)
  found.add(1, 'a problem')


def _timings(path):
  speed = timings.Speed(batch_size=8)
  file = timings.TimingsFile(path.parent, lambda _: None)
  found = timings.Timings(10, speed, file)
  found.open()
  found.restore(5)
  found.start(5)
  found.finish(5)


def _history(folder):
  said = logs.read(folder)
  past = history.read(folder, said)
  pages.embedded(
    [
      *(history.curves(past), history.speed_curves(past), history.marks(past)),
      *(history.time_spent(past), history.tiles(past)),
      *(history.state(folder, past, said), logs.environment(said)),
      logs.warnings(said),
    ]
  )


def _sent(path):
  run = writers.Run(path.parent, path.parent, {}, lambda _: None)
  wandb_run.WandbRun(run)._recall()


def _lock(path):
  with lock.RunLock(path.parent, lambda _: None):
    pass


def _image(path):
  try:
    image = image_files.read(path)
  except OSError as error:  # As `inputs.Images`, which goes on with others.
    raise errors.UserError(str(error)) from error
  decoding.decode(image)
  decoding.decode(image, exif_orientation=True, shrink=2)


def _part(sample, name):
  """Returns a sample in which another file is the one to change."""

  def make(folder):
    return pathlib.Path(sample(folder)) / name

  return make


def _image_sample(suffix):
  def make(folder):
    return samples.write(folder / f'image.{suffix}', samples.IMAGES[suffix]())

  return make


def _digests(folder):
  samples.exported(folder)
  return folder / parameters.DIGESTS


def _ocdbt(folder):
  samples.exported(folder)
  return folder / 'params/manifest.ocdbt'


def _step_of_run(folder):
  """A step of a run that holds the parameters of `samples.exported`."""
  path = samples.exported(folder).parent
  step = samples.step_dir(folder / 'checkpoints')
  shutil.rmtree(step / 'state')
  path.rename(step / 'state')
  tree = {'params': samples.PARAMS}
  handler = ocp.StandardCheckpointer()
  handler.save(step / 'state', tree, force=True)
  handler.close()
  return samples.seal(step, digests.kinds(tree))


def _run_of_data(folder):
  samples.tfds_folder(folder / 'data')
  config = samples.configuration()
  config.data.dataset, config.data.data_dir = 'strange', str(folder / 'data')
  recipes.save(config, folder)
  return folder / recipes.FILE


def _index(folder):
  version = samples.tfds_folder(folder)
  _tfds(version / 'features.json')
  (path,) = (version / '.vit_jax').iterdir()
  return path


READERS = {
  'npz': Reader(samples.weights_npz, _read_all(npz.NpzFile), 'zip'),
  'packed npz': Reader(samples.packed_npz, _read_all(npz.NpzFile), 'zip'),
  'safetensors': Reader(
    samples.weights_safetensors,
    _read_all(safetensors.SafetensorsFile),
    'safetensors',
  ),
  'config.json': Reader(samples.transformers_folder, _weights, 'json'),
  'index of shards': Reader(samples.sharded_folder, _weights, 'json'),
  'preprocessor_config.json': Reader(
    _part(
      lambda folder: samples.transformers_folder(folder).parent,
      'preprocessor_config.json',
    ),
    _weights,
    'json',
  ),
  'run config': Reader(samples.run_config, _configuration, 'json'),
  'data of a run': Reader(_run_of_data, _data_of_a_run, 'json'),
  'exported': Reader(samples.exported, _exported, 'json'),
  'exported digests': Reader(_digests, _exported, 'json'),
  'OCDBT': Reader(_ocdbt, _exported, 'bytes'),
  'step': Reader(_step_of_run, _of_run, 'json'),
  'manifest': Reader(_part(samples.step_dir, manifest.FILE), _step, 'lines'),
  'metadata': Reader(_part(samples.step_dir, 'run/metadata'), _step, 'json'),
  'features.json': Reader(
    _part(samples.tfds_folder, 'features.json'), _tfds, 'json'
  ),
  'dataset_info.json': Reader(
    _part(samples.tfds_folder, 'dataset_info.json'), _tfds, 'json'
  ),
  'labels.txt': Reader(
    _part(samples.tfds_folder, 'label.labels.txt'), _tfds, 'lines'
  ),
  'TFRecord': Reader(
    _part(samples.tfds_folder, 'strange-train.tfrecord-00000-of-00001'),
    _tfds,
    'bytes',
  ),
  'TFRecord index': Reader(_index, _tfds, 'bytes'),
  'CSV': Reader(
    _part(samples.image_folder, 'listed.csv'), _folder('listed'), 'lines'
  ),
  'JSONL': Reader(
    _part(samples.image_folder, 'lines.jsonl'), _folder('lines'), 'lines'
  ),
  'classes.txt': Reader(
    _part(samples.image_folder, 'classes.txt'), _folder('train'), 'lines'
  ),
  'data npz': Reader(samples.data_npz, _arrays, 'zip'),
  'npy': Reader(samples.pixels_npy, _pixels, 'bytes'),
  'real.json': Reader(samples.real_json, real_labels.read, 'json'),
  'bad_examples': Reader(samples.bad_examples, _bad_examples, 'lines'),
  'metrics': Reader(
    samples.metrics, lambda path: metrics_file.read(path.parent), 'lines'
  ),
  'timings': Reader(samples.timings, _timings, 'lines'),
  'metrics of a report': Reader(
    samples.metrics, lambda path: _history(path.parent), 'lines'
  ),
  'timings of a report': Reader(
    samples.timings, lambda path: _history(path.parent), 'lines'
  ),
  'log': Reader(
    samples.run_log, lambda path: _history(path.parents[1]), 'lines'
  ),
  'listed bad examples': Reader(
    samples.bad_examples,
    lambda path: bad_examples.problems(path.parent),
    'lines',
  ),
  'wandb.json': Reader(samples.sent, _sent, 'json'),
  'evaluations': Reader(samples.evaluations, records.read, 'lines'),
  'lock': Reader(samples.held_lock, _lock, 'json'),
  **{
    f'image {suffix}': Reader(_image_sample(suffix), _image, 'bytes')
    for suffix in samples.IMAGES
  },
}
