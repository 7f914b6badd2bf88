"""Small files of every kind that is read, as their authors write them."""

import io
import json
import pathlib
import socket
import struct
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from vit_jax.checkpoints import manifest, parameters
from vit_jax.config import recipes, schema
from vit_jax.data.sources import tfrecord
from vit_jax.training.runtime import lock
from vit_jax.weights.files import npz, safetensors, sharded

CORE = 'tensorflow_datasets.core.features'
CLASSES = ('cat', 'dog', 'owl')
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 32, 3), np.uint8)
FLAT = {
  f'block_{i}/kernel': np.arange(i, i + 6, dtype=np.float32).reshape(2, 3)
  for i in range(4)
}
WIDTH, DEPTH = 8, 2


def image_bytes(format, pixels=PIXELS, **options):
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, format, **options)
  return stream.getvalue()


IMAGES = {
  'jpg': lambda: image_bytes('JPEG', quality=80),
  'progressive.jpg': lambda: image_bytes('JPEG', progressive=True),
  'png': lambda: image_bytes('PNG'),
  'gif': lambda: image_bytes(
    'GIF', save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]
  ),
  'bmp': lambda: image_bytes('BMP'),
  'webp': lambda: image_bytes('WEBP'),
  'tiff': lambda: image_bytes('TIFF', compression='tiff_lzw'),
}


def configuration():
  config = schema.default()
  config.model.update(
    name='ViT-Ti/16', width=WIDTH, depth=DEPTH, num_heads=2, mlp_dim=8
  )
  config.data.resolution = (16,)
  config.data.num_classes = 3
  config.run.num_steps, config.optimizer.warmup_steps = 10, 0
  config.run.batch_size = 8
  return config


def weights_npz(folder):
  npz.save(folder / 'weights.npz', FLAT)
  return folder / 'weights.npz'


def packed_npz(folder):
  np.savez_compressed(folder / 'weights.npz', **FLAT)
  return folder / 'weights.npz'


def weights_safetensors(folder):
  safetensors.save(folder / 'weights.safetensors', FLAT, {'format': 'pt'})
  return folder / 'weights.safetensors'


def transformers_folder(folder):
  """A ViT of transformers, as `save_pretrained` writes it."""
  zeros = np.zeros
  flat = {
    'vit.embeddings.cls_token': zeros((1, 1, WIDTH)),
    'vit.embeddings.position_embeddings': zeros((1, 5, WIDTH)),
    'vit.embeddings.patch_embeddings.projection.weight': zeros(
      (WIDTH, 3, 16, 16)
    ),
    'vit.embeddings.patch_embeddings.projection.bias': zeros(WIDTH),
    'classifier.weight': zeros((3, WIDTH)),
    'classifier.bias': zeros(3),
  }
  for name in 'weight', 'bias':
    flat[f'vit.layernorm.{name}'] = zeros(WIDTH)
  for layer in range(DEPTH):
    for part in (
      *('attention.attention.query', 'attention.attention.key'),
      *('attention.attention.value', 'attention.output.dense'),
      *('intermediate.dense', 'output.dense'),
    ):
      path = f'vit.encoder.layer.{layer}.{part}'
      flat[f'{path}.weight'] = zeros((WIDTH, WIDTH))
      flat[f'{path}.bias'] = zeros(WIDTH)
    for norm in 'layernorm_before', 'layernorm_after':
      for name in 'weight', 'bias':
        flat[f'vit.encoder.layer.{layer}.{norm}.{name}'] = zeros(WIDTH)
  flat = {name: array.astype(np.float32) for name, array in flat.items()}
  safetensors.save(folder / 'model.safetensors', flat, {'format': 'pt'})
  config = {
    'model_type': 'vit',
    'hidden_act': 'gelu',
    'hidden_size': WIDTH,
    'num_hidden_layers': DEPTH,
    'num_attention_heads': 2,
    'intermediate_size': WIDTH,
    'image_size': 32,
    'patch_size': 16,
    'layer_norm_eps': 1e-12,
    'qkv_bias': True,
    'id2label': {str(i): name for i, name in enumerate(CLASSES)},
    'label2id': {name: i for i, name in enumerate(CLASSES)},
  }
  processor = {
    'image_processor_type': 'ViTImageProcessor',
    'do_resize': True,
    'size': {'height': 32, 'width': 32},
    'resample': 2,
    'do_rescale': True,
    'rescale_factor': 1 / 255,
    'do_normalize': True,
    'image_mean': [0.5, 0.5, 0.5],
    'image_std': [0.5, 0.5, 0.5],
  }
  for name, content in (
    ('config.json', config),
    ('preprocessor_config.json', processor),
  ):
    (folder / name).write_text(json.dumps(content))
  return folder / 'config.json'


def sharded_folder(folder):
  """The same in two files and their index."""
  transformers_folder(folder)
  with safetensors.SafetensorsFile(folder / 'model.safetensors') as file:
    flat = dict(file)
  (folder / 'model.safetensors').unlink()
  shards = [f'model-0000{i}-of-00002.safetensors' for i in (1, 2)]
  where = {name: shards[i % 2] for i, name in enumerate(flat)}
  for shard in shards:
    part = {name: flat[name] for name in flat if where[name] == shard}
    safetensors.save(folder / shard, part, {'format': 'pt'})
  return write(
    folder / sharded.INDEX, json.dumps({'weight_map': where}).encode()
  )


def run_config(folder):
  recipes.save(configuration(), folder)
  return folder / recipes.FILE


def step_dir(folder):
  """The files of a saved step; no leaves are in it."""
  step = folder / '10'
  (step / 'state').mkdir(parents=True)
  (step / 'run').mkdir()
  (step / 'state/_METADATA').write_text('{}')
  content = {
    'facts': {'step': 10, 'scheduled': True},
    'record': {},
    'kinds': {'params/head/kernel': 'float32 [2, 3]'},
    'digests': {'params/head/kernel': 7},
  }
  (step / 'run/metadata').write_text(json.dumps(content))
  manifest.commit(step, content['facts'])
  return step


def seal(step, kinds):
  """Writes the record and the manifest of a step anew; returns the record."""
  path = step / 'run/metadata'
  content = {
    **json.loads(path.read_text()),
    'kinds': kinds,
    'digests': dict.fromkeys(kinds, 7),
  }
  path.write_text(json.dumps(content))
  (step / manifest.FILE).unlink()
  manifest.commit(step, content['facts'])
  return path


PARAMS = {
  'head': {
    'kernel': np.arange(24, dtype=np.float32).reshape(8, 3),
    'bias': np.ones(3, np.float32),
  }
}


def exported(folder):
  """Parameters as `convert` writes them."""
  parameters.save(folder, jax.tree.map(jnp.asarray, PARAMS))
  return folder / 'params/_METADATA'


def _varint(number):
  data = b''
  while number > 127:
    data += bytes([number & 127 | 128])
    number >>= 7
  return data + bytes([number])


def _message(number, data):
  return _varint(number << 3 | 2) + _varint(len(data)) + data


def example(image, label):
  """Returns a tf.train.Example of an image and its label."""
  values = {
    b'image': _message(1, _message(1, image)),
    b'label': _message(3, _message(1, _varint(label))),
  }
  return _message(
    1,
    b''.join(
      _message(1, _message(1, name) + _message(2, value))
      for name, value in values.items()
    ),
  )


def records(datas):
  """Returns the bytes of a TFRecord file."""
  parts = []
  for data in datas:
    length = struct.pack('<Q', len(data))
    parts += [length, struct.pack('<I', tfrecord.masked_crc(length))]
    parts += [data, struct.pack('<I', tfrecord.masked_crc(data))]
  return b''.join(parts)


def tfds_features():
  def feature(module, name, **content):
    return {'pythonClassName': f'{CORE}.{module}.{name}', **content}

  shape = {'dimensions': ['-1', '-1', '3']}
  return feature(
    'features_dict',
    'FeaturesDict',
    featuresDict={
      'features': {
        'image': feature(
          'image_feature', 'Image', image={'shape': shape, 'dtype': 'uint8'}
        ),
        'label': feature(
          'class_label_feature', 'ClassLabel', classLabel={'numClasses': '3'}
        ),
      }
    },
  )


def tfds_info(count=3):
  return {
    'name': 'strange',
    'version': '1.0.0',
    'description': 'Three images.',
    'fileFormat': 'tfrecord',
    'moduleName': 'strange.strange',
    'splits': [
      {
        'name': 'train',
        'shardLengths': [str(count)],
        'numBytes': '1000',
        'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
      }
    ],
  }


def tfds_folder(folder):
  """A prepared data set of TFDS; returns the folder of its version."""
  version = folder / 'strange/1.0.0'
  version.mkdir(parents=True)
  (version / 'features.json').write_text(json.dumps(tfds_features()))
  (version / 'dataset_info.json').write_text(json.dumps(tfds_info()))
  (version / 'label.labels.txt').write_text('\n'.join(CLASSES) + '\n')
  (version / 'metadata.json').write_text('{}')
  image = IMAGES['png']()
  data = records([example(image, label) for label in range(3)])
  (version / 'strange-train.tfrecord-00000-of-00001').write_bytes(data)
  return version


def image_folder(folder):
  """Images in folders of their classes, and lists of them."""
  for split in 'train', 'test':
    for name in CLASSES:
      path = folder / split / name
      path.mkdir(parents=True)
      (path / 'a.jpg').write_bytes(IMAGES['jpg']())
  (folder / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
  rows = [(f'train/{name}/a.jpg', name) for name in CLASSES]
  lines = ['image,label', *(f'{path},{name}' for path, name in rows)]
  (folder / 'listed.csv').write_text('\n'.join(lines) + '\n')
  lines = [json.dumps({'image': path, 'label': name}) for path, name in rows]
  (folder / 'lines.jsonl').write_text('\n'.join(lines) + '\n')
  return folder


def data_npz(folder):
  images = np.stack([PIXELS] * 4)
  labels = np.arange(4) % 3
  np.savez(
    folder / 'data.npz',
    train_image=images,
    train_label=labels,
    test_image=images[:1],
    test_label=labels[:1],
  )
  return folder / 'data.npz'


def pixels_npy(folder):
  np.save(folder / 'pixels.npy', np.zeros((2, 16, 16, 3), np.float32))
  return folder / 'pixels.npy'


def real_json(folder):
  (folder / 'real.json').write_text(json.dumps([[1, 2], [], [999]]))
  return folder / 'real.json'


def lines(name, *objects):
  """Returns what writes a file of JSON lines."""

  def write(folder):
    text = ''.join(f'{json.dumps(each)}\n' for each in objects)
    (folder / name).write_text(text)
    return folder / name

  return write


bad_examples = lines(
  'bad_examples.jsonl',
  {'index': 3, 'where': 'train/cat/a.jpg', 'problem': 'A broken image.'},
  {'index': 5, 'where': 'train/dog/b.jpg', 'problem': 'A broken image.'},
)
metrics = lines(
  'metrics.jsonl',
  {'step': 5, 'split': 'train', 'loss': 1.5},
  {'step': 10, 'split': 'eval', 'accuracy': None},
)
timings = lines(
  'timings.jsonl',
  {'event': 'start', 'time': 1.5},
  {'event': 'train', 'step': 5, 'time': 2.5, 'useful_seconds': 1.0},
  {'event': 'save', 'step': 5, 'time': 2.5, 'useful_seconds': 1.0},
)
evaluations = lines(
  'evaluations.jsonl', {'workdir': '/run', 'values': {'accuracy': 0.5}}
)


def held_lock(folder):
  holder = {'host': socket.gethostname(), 'pid': 7, 'beats': 3}
  (folder / lock.FILE).write_text(json.dumps(holder).ljust(400))
  return folder / lock.FILE


def png_of(rows, columns):
  """Returns a small PNG that claims any size."""

  def chunk(kind, data):
    body = kind + data
    return (
      struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))
    )

  header = struct.pack('>IIBBBBB', columns, rows, 8, 2, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(bytes(1000)))
    + chunk(b'IEND', b'')
  )


def write(path, data):
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  return path


def run_log(folder):
  start = '2026-05-17T09:30:00.000+00:00 host process 0: '
  said = ('vit_jax 0.1.0, jax 0.10.2', 'resumed at step 5', 'end: done')
  path = folder / 'logs/process_0.log'
  path.parent.mkdir(parents=True)
  return write(path, ''.join(f'{start}{text}\n' for text in said).encode())


sent = lines('wandb.json', {'id': 'a1', 'sent': [5, 0]})
