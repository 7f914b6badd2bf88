"""How fast images come in, against bare decoding and two other pipelines.

  python benchmarks/input.py --peer_python=/path/to/python

JPEGs of 500 x 375 pixels become batches [256, 224, 224, 3] of bytes, randomly
cropped and mirrored. Each engine runs in a fresh process, in turns, between two
runs of a calibration: libjpeg-turbo decoding the same files on as many threads,
and nothing else. A run's result is the ratio to the mean of its calibrations;
it is dropped if these differ by more than 15 %, since then something else kept
the machine busy. The table has the medians.

The peers need a Python that has TensorFlow, TensorFlow Datasets and PyTorch;
without --peer_python they are left out.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent import futures

import numpy as np
import simplejpeg

BATCH = 256
SIDE = 224
MAX_DRIFT = 0.15
ROOT = pathlib.Path(__file__).resolve().parents[1]


def make_images(folder, count):
  """Writes JPEGs of about 110 KB: noise with the spectrum of photographs."""
  rng = np.random.default_rng(0)
  rows, columns = np.meshgrid(
    np.fft.fftfreq(375), np.fft.rfftfreq(500), indexing='ij'
  )
  frequency = np.maximum(np.hypot(rows, columns), 1 / 500)[..., None]
  for number in range(count):
    phase = rng.uniform(0, 2 * np.pi, (*frequency.shape[:2], 3))
    # Channels of a photograph are much alike.
    phase[..., 1:] = phase[..., :1] + 0.3 * phase[..., 1:]
    image = np.fft.irfft2(
      np.exp(1j * phase) / frequency**1.2, s=(375, 500), axes=(0, 1)
    )
    image = 127 + 45 * image / image.std()
    path = folder / 'train' / f'class_{number % 10}' / f'{number:06}.jpg'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
      simplejpeg.encode_jpeg(
        np.ascontiguousarray(image.clip(0, 255).astype(np.uint8)),
        quality=94,
        colorsubsampling='420',
      )
    )


def bare(folder, threads):
  """Yields counts of images that libjpeg-turbo has decoded, and no more."""
  files = [path.read_bytes() for path in sorted(folder.rglob('*.jpg'))]
  with futures.ThreadPoolExecutor(threads) as pool:
    while True:
      list(pool.map(simplejpeg.decode_jpeg, files[:BATCH]))
      files = files[BATCH:] + files[:BATCH]
      yield BATCH


def ours(folder, threads, **fields):
  """Yields batches of vit_jax's pipeline."""
  sys.path.insert(0, str(ROOT))
  from vit_jax.config import schema
  from vit_jax.data import pipeline, sources

  data = schema.default().data
  data.source, data.dataset = 'folder', str(folder)
  data.num_threads = threads
  data.update(fields)
  source = sources.build(data, 'train')
  yield from _images(
    pipeline.train_batches(source, data, batch_size=BATCH, seed=0)
  )


def ours_small(folder, threads):
  """Yields batches of 32 x 32 pixels from arrays, shifted and mirrored."""
  sys.path.insert(0, str(ROOT))
  from vit_jax.config import schema
  from vit_jax.data import pipeline
  from vit_jax.data.sources import arrays

  data = schema.default().data
  data.resolution, data.train_crop = (32,), 'pad_and_crop'
  data.num_threads = threads
  rng = np.random.default_rng(0)
  source = arrays.ArraySource(
    rng.integers(0, 256, (10_000, 32, 32, 3), np.uint8),
    rng.integers(0, 10, 10_000),
  )
  yield from _images(
    pipeline.train_batches(source, data, batch_size=BATCH, seed=0)
  )


def _images(batches):
  while True:
    # No batch is kept while the next is made: on a device it would be gone.
    yield len(next(batches)['image'])


def tf_data(folder, threads):
  """Yields batches as big_vision makes them, with TFDS and tf.data."""
  import tensorflow as tf
  import tensorflow_datasets as tfds

  def crop(example):
    data = example['image']
    begin, size, _ = tf.image.sample_distorted_bounding_box(
      tf.image.extract_jpeg_shape(data),
      tf.zeros([0, 0, 4], tf.float32),
      area_range=(0.05, 1.0),
      min_object_covered=0,
      use_image_if_no_bounding_boxes=True,
    )
    window = tf.stack([begin[0], begin[1], size[0], size[1]])
    image = tf.image.decode_and_crop_jpeg(data, window, channels=3)
    image = tf.image.resize(image, (SIDE, SIDE))
    image = tf.image.random_flip_left_right(image)
    return {'image': tf.cast(image, tf.uint8), 'label': example['label']}

  # Asked for explicitly: a machine of many cores is not what is measured.
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  tf.config.threading.set_inter_op_parallelism_threads(threads)
  options = tf.data.Options()
  options.threading.private_threadpool_size = threads
  files = tfds.folder_dataset.ImageFolder(str(folder)).as_dataset(
    split='train',
    shuffle_files=True,
    decoders={'image': tfds.decode.SkipDecoding()},
  )
  batches = (
    files.repeat()
    .shuffle(1000)
    .map(crop, num_parallel_calls=tf.data.AUTOTUNE)
    .batch(BATCH, drop_remainder=True)
    .prefetch(2)
    .with_options(options)
  )
  yield from _images(batches.as_numpy_iterator())


def torch_loader(folder, threads):
  """Yields batches of PyTorch's DataLoader, decoded by Pillow."""
  import torch
  from PIL import Image

  files = sorted(str(path) for path in folder.rglob('*.jpg'))

  class Files(torch.utils.data.Dataset):
    def __len__(self):
      return len(files)

    def __getitem__(self, index):
      rng = np.random.default_rng()
      with Image.open(files[index]) as file:
        image = file.convert('RGB')
      scale = np.sqrt(rng.uniform(0.05, 1))
      aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)) / 2)
      width = min(round(image.width * scale * aspect), image.width)
      height = min(round(image.height * scale / aspect), image.height)
      left = rng.integers(image.width - width + 1)
      top = rng.integers(image.height - height + 1)
      image = image.crop((left, top, left + width, top + height)).resize(
        (SIDE, SIDE), Image.Resampling.BILINEAR
      )
      if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
      return {
        'image': np.asarray(image).transpose(2, 0, 1),
        'label': index % 10,
      }

  loader = torch.utils.data.DataLoader(
    Files(),
    batch_size=BATCH,
    shuffle=True,
    num_workers=threads,
    drop_last=True,
    persistent_workers=True,
  )
  while True:
    for batch in loader:
      yield len(batch['image'])


def ours_randaugment(folder, threads):
  return ours(folder, threads, augmentation='medium1')


def ours_workers(folder, threads):
  return ours(folder, threads, num_workers=threads)


ENGINES = {
  'vit_jax': ours,
  'vit_jax, RandAugment (2, 15)': ours_randaugment,
  'vit_jax, worker processes': ours_workers,
  'tf.data as in big_vision': tf_data,
  'PyTorch DataLoader, Pillow': torch_loader,
  'vit_jax, 32 x 32 arrays': ours_small,
}
PEERS = ('tf.data as in big_vision', 'PyTorch DataLoader, Pillow')
CALIBRATION = 'bare decoding'


def measure(name, folder, threads, seconds):
  """Returns what one engine does in this process."""
  began = time.monotonic()
  engine = bare if name == CALIBRATION else ENGINES[name]
  counts = engine(folder, threads)
  next(counts)
  first = time.monotonic() - began
  for _ in range(2):  # What was prepared before the clock starts.
    next(counts)
  images, since, cpu = 0, time.monotonic(), _cpu_seconds()
  while time.monotonic() - since < seconds:
    images += next(counts)
  rate = images / (time.monotonic() - since)
  cpu = 1000 * (_cpu_seconds() - cpu) / images
  memory = sum(map(_peak_memory, ['self', *_children()]))
  counts.close()
  return {'rate': rate, 'cpu': cpu, 'first': first, 'memory': memory}


def _children():
  """Yields the ids of the processes that this one has started."""
  for tasks in pathlib.Path('/proc/self/task').glob('*/children'):
    yield from tasks.read_text().split()


def _cpu_seconds():
  """Returns the CPU time of this process and those it has started."""
  seconds = time.process_time()
  for process in _children():
    stat = pathlib.Path(f'/proc/{process}/stat').read_text()
    user, system = stat.rpartition(')')[2].split()[11:13]
    seconds += (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')
  return seconds


def _peak_memory(process):
  """Returns the MB that a process has held at most."""
  status = pathlib.Path(f'/proc/{process}/status').read_text()
  return int(status.partition('VmHWM:')[2].split()[0]) / 1024


def run(python, name, args, folder):
  """Returns what `measure` does in a fresh process."""
  command = [
    python,
    __file__,
    f'--engine={name}',
    f'--folder={folder}',
    f'--threads={args.threads}',
    f'--seconds={args.seconds}',
  ]
  result = subprocess.run(
    command,
    capture_output=True,
    text=True,
    check=False,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '3'},
  )
  if result.returncode:
    raise SystemExit(f'{name} failed:\n{result.stderr[-2000:]}')
  return json.loads(result.stdout.splitlines()[-1])


def rounds(args, folder):
  """Returns {engine: [result of each round that counts]}."""
  names = [name for name in ENGINES if args.peer_python or name not in PEERS]
  kept = {name: [] for name in names}
  for number in range(args.rounds):
    before = run(sys.executable, CALIBRATION, args, folder)
    for name in names:
      python = args.peer_python if name in PEERS else sys.executable
      result = run(python, name, args, folder)
      after = run(sys.executable, CALIBRATION, args, folder)
      low, high = sorted((before['rate'], after['rate']))
      counts = high / low - 1 <= MAX_DRIFT
      if counts:
        mean = (low + high) / 2
        kept[name].append({**result, 'ratio': result['rate'] / mean})
      print(
        f'round {number + 1}  {name:32}{result["rate"]:9.0f} images/s  '
        f'{result["cpu"]:.2f} ms  '
        f'bare {before["rate"]:.0f}, {after["rate"]:.0f}'
        f'{"" if counts else "  dropped"}',
        file=sys.stderr,
      )
      before = after
  return kept


def table(kept):
  lines = [
    '| pipeline | of bare decoding | images/s | CPU, ms/image | memory, MB '
    '| first batch, s | runs |',
    '|---|---|---|---|---|---|---|',
  ]
  for name, results in kept.items():
    if not results:
      lines.append(f'| {name} | | | | | | 0 |')
      continue
    median = {
      key: statistics.median(result[key] for result in results)
      for key in results[0]
    }
    lines.append(
      f'| {name} | {median["ratio"]:.2f} | {median["rate"]:.0f} | '
      f'{median["cpu"]:.2f} | {median["memory"]:.0f} | '
      f'{median["first"]:.1f} | {len(results)} |'
    )
  return '\n'.join(lines)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--peer_python', help='has TensorFlow and PyTorch')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--seconds', type=float, default=15.0)
  parser.add_argument('--images', type=int, default=4000)
  parser.add_argument('--threads', type=int, default=os.cpu_count())
  parser.add_argument('--engine', help=argparse.SUPPRESS)
  parser.add_argument('--folder', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.engine:
    folder = pathlib.Path(args.folder)
    print(json.dumps(measure(args.engine, folder, args.threads, args.seconds)))
    return
  with tempfile.TemporaryDirectory() as folder:
    make_images(pathlib.Path(folder), args.images)
    text = table(rounds(args, folder))
  print(text)
  results = pathlib.Path(__file__).parent / 'results'
  results.mkdir(exist_ok=True)
  (results / 'input.md').write_text(
    f'`python benchmarks/input.py --peer_python=PYTHON`: {args.threads} '
    f'threads on {_processor()}, {args.rounds} rounds of {args.seconds:g} s, '
    f'{args.images} images; {_versions(args.peer_python)}.\n\n{text}\n'
  )


def _processor():
  for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
    if line.startswith('model name'):
      return line.partition(':')[2].strip()
  return platform.machine()


def _versions(peer_python):
  """Returns the versions of what was measured, as text."""
  names = 'simplejpeg', 'grain', *(('tensorflow', 'torch') * bool(peer_python))
  code = 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))'
  python = peer_python or sys.executable
  versions = (
    subprocess.check_output([python, '-c', code, name], text=True).strip()
    for name in names
  )
  return ', '.join(map(' '.join, zip(names, versions, strict=True)))


if __name__ == '__main__':
  main()
