"""Fine-tuning a released file, from its images to its checkpoint.

A run is compared with SGD as written out here: from weights in Google's names,
trained at 224 px, on the same images as a folder and as the files of TFDS, at a
square and at another size. The head starts at zero, so the first two of four
steps move it alone, and the last two move everything.
"""

import io
import itertools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.ndimage
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from PIL import Image

from tests.security import samples
from vit_jax import models, pytrees
from vit_jax.checkpoints import parameters
from vit_jax.config import schema
from vit_jax.data import pipeline, sources
from vit_jax.training import train
from vit_jax.training.runtime import metrics_file
from vit_jax.weights import loading, mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import vit

pytestmark = pytest.mark.usefixtures('undrawn')

CLASSES = ('ant', 'bee', 'cow')
SOURCES = ('folder', 'array_record', 'tfrecord')
SIZES = [(384,), (224, 384)]
SUFFIXES = ('.jpg', '.png')
NUM_STEPS = 4
BATCH_SIZE = 4
GRID = (7, 7)  # Of the file, in patches of 32 px.
PEAK, CLIP_NORM = 1.0, 1.0
# Two steps of warm-up from zero, then half a cosine down to zero.
RATES = (0.0, PEAK / 2, PEAK, PEAK / 2)


class Pictures(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The pictures as a data set of TFDS, in their order."""

  name = 'pictures'
  VERSION = tfds.core.Version('1.0.0')

  def __init__(self, pictures, **options):
    self._pictures = pictures
    super().__init__(**options)

  def _info(self):
    features = {
      'image': tfds.features.Image(shape=(None, None, 3)),
      'label': tfds.features.ClassLabel(names=CLASSES),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def _split_generators(self, _):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for index, (data, label) in enumerate(self._pictures):
      yield index, {'image': io.BytesIO(data), 'label': label}


@pytest.fixture(scope='module')
def pictures():
  """[(bytes of a JPEG or PNG, label)], class by class, of several sizes."""
  draw = np.random.default_rng(0)
  made = []
  for label in 0, 0, 0, 1, 1, 2, 2:
    rows, columns = draw.integers(5, 50, 2)
    coarse = draw.integers(0, 256, (3, 3, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((columns, rows), Image.BICUBIC)
    file = io.BytesIO()
    if len(made) % 2:
      picture.save(file, 'PNG')
    else:  # Decoders differ in how they enlarge colours that are subsampled.
      picture.save(file, 'JPEG', quality=90, subsampling=0)
    made.append((file.getvalue(), label))
  return made


@pytest.fixture(scope='module')
def data_sets(pictures, tmp_path_factory):
  """{kind of source: fields of the configuration's part `data`}."""
  tfds.disable_progress_bar()
  folder = tmp_path_factory.mktemp('pictures')
  for number, (data, label) in enumerate(pictures):
    parent = folder / 'folder/train' / CLASSES[label]
    path = parent / f'{number}{SUFFIXES[number % 2]}'
    parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
  Pictures(
    pictures, data_dir=folder / 'array_record', file_format='array_record'
  ).download_and_prepare()
  write_as_tfrecord(folder / 'array_record', folder / 'tfrecord')
  of_tfds = {
    kind: {'dataset': 'pictures', 'data_dir': str(folder / kind)}
    for kind in ('array_record', 'tfrecord')
  }
  of_folder = {'source': 'folder', 'dataset': str(folder / 'folder')}
  return {'folder': of_folder, **of_tfds}


def write_as_tfrecord(given, folder):
  """Writes the records of a data set of TFDS again, as TFRecord files."""
  shutil.copytree(given, folder)
  (info,) = folder.rglob('dataset_info.json')
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  (path,) = folder.rglob('*array_record-0*')
  records = array_record_module.ArrayRecordReader(str(path)).read_all()
  path.unlink()
  name = path.name.replace('array_record', 'tfrecord')
  path.with_name(name).write_bytes(samples.records(records))


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  """A small ViT of 5 classes in Google's names."""
  path = tmp_path_factory.mktemp('weights') / 'tiny.npz'
  model = models.build(configure({}, (224,)).model, 5)
  shapes = pytrees.flatten(models.params_of(model, (224, 224)))
  draw = np.random.default_rng(0)
  flat = {
    name: draw.standard_normal(leaf.shape, np.float32)
    / np.float32(np.sqrt(leaf.size / leaf.shape[-1]))
    for name, leaf in shapes.items()
  }
  npz.save(path, mapping.to_theirs(flat, vit.rows()))
  return path


def configure(data, resolution, init=None):
  config = schema.default()
  config.init = init and str(init)
  config.model.update(name='ViT-B/32', width=8, depth=1, num_heads=2)
  config.model.mlp_dim = 16
  config.data.update(data)
  config.data.resolution = resolution
  config.data.train_crop = config.data.eval_crop = 'stretch'
  config.data.flip = False
  config.data.eval_split = 'train'
  config.optimizer.update(name='sgd', learning_rate=PEAK, warmup_steps=2)
  config.optimizer.update(weight_decay=0.0, clip_norm=CLIP_NORM)
  config.run.update(batch_size=BATCH_SIZE, num_steps=NUM_STEPS, log_every=1)
  config.mesh.data = 2
  return config


def draw_batches(config):
  source = sources.build(config.data, 'train')
  batches = pipeline.train_batches(
    source, config.data, batch_size=BATCH_SIZE, seed=config.seed
  )
  drawn = list(itertools.islice(batches, NUM_STEPS))
  batches.close()
  return drawn


def assert_shows(image, label, resolution, data, wanted_label):
  """The label, and Pillow's pixels but for what libraries round."""
  assert label == wanted_label
  rows, columns = resolution[0], resolution[-1]
  picture = Image.open(io.BytesIO(data))
  picture = picture.resize((columns, rows), Image.BILINEAR)
  atol = 1 if data.startswith(b'\x89PNG') else 6  # Of JPEG's decoders, too.
  np.testing.assert_allclose(image, picture, rtol=0, atol=atol)


@pytest.mark.parametrize('resolution', SIZES)
def test_the_same_pictures_are_the_same_batches(
  pictures, data_sets, resolution
):
  drawn = {
    kind: draw_batches(configure(data, resolution))
    for kind, data in data_sets.items()
  }
  for kind, number in itertools.product(SOURCES, range(NUM_STEPS)):
    ours, theirs = drawn[kind][number], drawn['folder'][number]
    assert ours.keys() == theirs.keys()
    for key in ours:
      np.testing.assert_array_equal(ours[key], theirs[key], err_msg=kind)
  for batch in drawn['folder']:
    for row in zip(batch['image'], batch['label'], batch['index']):
      assert_shows(*row[:2], resolution, *pictures[row[2]])
  indices = np.concatenate([batch['index'] for batch in drawn['folder']])
  assert sorted(indices[: len(pictures)]) == list(range(len(pictures)))


def first_params(found, grid):
  """Returns the file's parameters at another size, with a new head."""
  params, _ = found.load(models.params_of(loading.build(found), (224, 224)))
  flat = pytrees.flatten(params)
  name = 'encoder/position_embedding/embedding'
  class_token, patches = flat[name][:, :1], flat[name][0, 1:]
  zoom = (grid[0] / GRID[0], grid[1] / GRID[1], 1)
  resized = scipy.ndimage.zoom(patches.reshape(*GRID, -1), zoom, order=1)
  assert resized.shape[:2] == grid
  flat[name] = np.concatenate(
    [class_token, resized.reshape(1, -1, resized.shape[-1])], axis=1
  )
  flat['head/kernel'] = np.zeros((len(flat['head/kernel']), len(CLASSES)))
  flat['head/bias'] = np.zeros(len(CLASSES))
  return pytrees.unflatten(
    {path: jnp.asarray(leaf, jnp.float32) for path, leaf in flat.items()}
  )


def fine_tune(weights, batches, grid):
  """Returns flat parameters before and after, and {metric: one per step}."""
  found = loading.find(str(weights))
  model = loading.build(found, len(CLASSES))
  first = params = first_params(found, grid)
  rates = jnp.array(RATES, jnp.float32)
  optimizer = optax.sgd(lambda step: rates[step], momentum=0.9)

  def loss_of(params, image, label):
    pixels = image.astype(jnp.float32) / 127.5 - 1
    logits = model.apply({'params': params}, pixels, train=False).logits
    log_probs = jax.nn.log_softmax(logits)
    return -jnp.mean(log_probs[jnp.arange(BATCH_SIZE), label])

  @jax.jit
  def step(params, state, image, label):
    loss, grads = jax.value_and_grad(loss_of)(params, image, label)
    norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(grads)))
    factor = jnp.minimum(1, CLIP_NORM / norm)
    clipped = jax.tree.map(lambda leaf: factor * leaf, grads)
    updates, state = optimizer.update(clipped, state)
    return optax.apply_updates(params, updates), state, loss, norm

  state, losses, norms = optimizer.init(params), [], []
  for batch in batches:
    params, state, loss, norm = step(
      params, state, batch['image'], batch['label']
    )
    losses.append(float(loss))
    norms.append(float(norm))
  metrics = {'learning_rate': RATES, 'loss': losses, 'gradient_norm': norms}
  first, last = jax.device_get((first, params))
  return pytrees.flatten(first), pytrees.flatten(last), metrics


@pytest.fixture(scope='module', params=SIZES, ids=str)
def written_out(request, data_sets, weights):
  """The resolution, and what `fine_tune` gives at it."""
  resolution = request.param
  batches = draw_batches(configure(data_sets['folder'], resolution))
  grid = (resolution[0] // 32, resolution[-1] // 32)
  return resolution, fine_tune(weights, batches, grid)


@pytest.mark.parametrize('kind', SOURCES)
def test_fine_tuning_is_sgd_as_written_out(
  data_sets, weights, written_out, tmp_path, kind
):
  resolution, (first, last, metrics) = written_out
  train.run(configure(data_sets[kind], resolution, weights), tmp_path)
  lines = metrics_file.read(tmp_path)
  lines = [line for line in lines if line['split'] == 'train']
  for name, values in metrics.items():
    reported = [line[name] for line in lines]
    assert reported == pytest.approx(values, rel=1e-5), name
  norms = metrics['gradient_norm']
  assert min(norms) < CLIP_NORM < max(norms)
  run = parameters.find(tmp_path)
  saved, step = run.load(run.shapes(), lambda _, array: array)
  assert step == NUM_STEPS and saved.keys() == last.keys()
  still = set()
  for path, array in last.items():
    atol = 1e-5 * np.abs(array).max()
    np.testing.assert_allclose(
      saved[path], array, rtol=0, atol=atol, err_msg=path
    )
    if np.abs(array - first[path]).max() < 100 * atol:
      still.add(path)
  # Softmax does not see what is added to all keys.
  assert still == {'encoder/block_0/attention/key/bias'}
