"""From an image file to logits and labels, as timm and transformers go.

Their own pipelines, on photographs and generated files: the pixels are the same
to the bit where both resize with Pillow; transformers' torchvision backend,
which it prefers, differs by `LEVELS` of 255 at most, by 0.3 on average.
"""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip('torch')
timm = pytest.importorskip('timm')
transformers = pytest.importorskip('transformers')

from sklearn import datasets  # noqa: E402

from vit_jax.cli import main  # noqa: E402
from vit_jax.data import transforms  # noqa: E402
from vit_jax.weights import card as cards  # noqa: E402
from vit_jax.weights import (  # noqa: E402
  convert,
  loading,
  preprocessing,
  torch_config,
)

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
ORIENTATION = 0x0112
LEVELS = 3  # Of 255, between torchvision's pixels and Pillow's; 0.3 on average.
TOLERANCE = 1e-5  # Of the largest logit, where pixels are the same;
TORCHVISION = 0.02  # with torchvision's;
NAMES = ('crane', 'crane bird', 'Größe', 'a, b', 'LABEL_x')


def noise(rng, *shape):
  """Returns uint8 [rows, columns, channels] that are smooth, as photographs."""
  coarse = rng.integers(0, 256, (shape[0] // 4 + 2, shape[1] // 4 + 2, 3))
  image = Image.fromarray(coarse.astype(np.uint8))
  return image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """Image files of many makes, in one folder."""
  folder, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
  for path in map(pathlib.Path, datasets.load_sample_images().filenames):
    (folder / path.name).write_bytes(path.read_bytes())
  for name, rows, columns in (
    ('tall', 301, 87),
    ('wide', 75, 310),
    ('small', 21, 30),
    ('odd', 133, 149),
    ('square', 96, 96),
  ):
    noise(rng, rows, columns).save(folder / f'{name}.jpg', quality=80)
  noise(rng, 90, 120).convert('L').save(folder / 'grey.jpg')
  noise(rng, 90, 120).convert('CMYK').save(folder / 'cmyk.jpg')
  noise(rng, 90, 121).save(folder / 'lossless.png')
  noise(rng, 60, 90).convert('P').save(folder / 'palette.png')
  exif = Image.Exif()
  exif[ORIENTATION] = 6
  noise(rng, 90, 140).save(folder / 'turned.jpg', exif=exif)
  return sorted(folder.iterdir())


def ours_of(preprocessing, size, path):
  return transforms.apply(preprocessing.chain(size), path.read_bytes())


def levels_of(pixels, mean, std):
  """Returns uint8 [rows, columns, 3] of normalized [3, rows, columns]."""
  pixels = np.asarray(pixels).transpose(1, 2, 0)
  levels = (pixels * np.array(std) + np.array(mean)) * 255
  assert np.abs(levels - levels.round()).max() < 1e-2
  return levels.round().astype(int)


# timm -------------------------------------------------------------------------

TIMM = [
  {'crop_pct': 0.875, 'crop_mode': 'center', 'interpolation': 'bicubic'},
  {'crop_pct': 0.9, 'crop_mode': 'center', 'interpolation': 'bilinear'},
  {'crop_pct': 1.0, 'crop_mode': 'center', 'interpolation': 'lanczos'},
  {'crop_pct': 0.9, 'crop_mode': 'squash', 'interpolation': 'bicubic'},
  {'crop_pct': 1.0, 'crop_mode': 'squash', 'interpolation': 'bilinear'},
  {'crop_pct': 0.95, 'crop_mode': 'border', 'interpolation': 'bicubic'},
  {'crop_pct': 1.0, 'crop_mode': 'border', 'interpolation': 'bilinear'},
]


def pretrained(row, size, mean, std):
  return {'input_size': (3, *size), 'mean': mean, 'std': std, **row}


def read_timm(folder, config):
  (folder / 'config.json').write_text(
    json.dumps({'architecture': 'vit', 'pretrained_cfg': config})
  )
  return torch_config.read(folder, 'timm')


@pytest.mark.parametrize('size', [(64, 64), (48, 80), (224, 224)])
@pytest.mark.parametrize('row', TIMM)
def test_pixels_are_those_of_timm(row, size, files, tmp_path):
  mean, std = IMAGENET
  config = pretrained(row, size, mean, std)
  told = read_timm(tmp_path, config)
  assert told.image_size == size
  transform = timm.data.create_transform(
    **timm.data.resolve_data_config(pretrained_cfg=config)
  )
  for path in files:
    theirs = transform(Image.open(path).convert('RGB'))
    np.testing.assert_array_equal(
      ours_of(told.preprocessing, size, path),
      levels_of(theirs, mean, std),
      err_msg=path.name,
    )


# transformers -----------------------------------------------------------------

CLIP = {'image_processor_type': 'CLIPImageProcessor', 'image_mean': [0.5] * 3}
PROCESSORS = [
  {},  # As ViTImageProcessor, what there is.
  {'size': 224, 'resample': 3, 'image_mean': IMAGENET[0]},
  {'image_processor_type': 'DeiTImageProcessor', 'image_std': IMAGENET[1]},
  {'feature_extractor_type': 'ViTFeatureExtractor', 'size': 48},
  {'image_processor_type': 'ViTImageProcessorFast', 'size': [48, 80]},
  {**CLIP, 'size': 72, 'crop_size': 64, 'resample': 2},
  {**CLIP, 'size': {'shortest_edge': 64}, 'crop_size': 64, 'resample': 1},
  {
    'image_processor_type': 'DeiTImageProcessor',
    'size': {'height': 60, 'width': 100},
    'crop_size': {'height': 48, 'width': 80},
  },
  {'size': 64, 'rescale_factor': 1 / 127.5, 'image_mean': 1, 'image_std': 1},
  {'size': 64, 'do_normalize': False},
  {'size': 64, 'do_rescale': False, 'image_mean': 127, 'image_std': [9, 8, 7]},
]


@pytest.mark.parametrize('backend', ['pil', 'torchvision'])
@pytest.mark.parametrize('said', PROCESSORS)
def test_pixels_are_those_of_transformers(said, backend, files, tmp_path):
  (tmp_path / 'config.json').write_text('{"model_type": "vit"}')
  (tmp_path / 'preprocessor_config.json').write_text(json.dumps(said))
  told = torch_config.read(tmp_path, 'huggingface')
  processor = transformers.AutoImageProcessor.from_pretrained(
    tmp_path, backend=backend
  )
  prepared = told.preprocessing
  for path in files:
    image = transformers.image_utils.load_image(str(path))
    theirs = processor(image, return_tensors='np')['pixel_values'][0]
    assert theirs.shape[1:] == told.image_size
    ours = ours_of(prepared, told.image_size, path).astype(int)
    theirs = levels_of(theirs, prepared.mean, prepared.std)
    difference = np.abs(ours - theirs)
    if backend == 'pil':
      assert not difference.any(), path.name
    else:
      assert difference.max() <= LEVELS
      assert difference.mean() < 0.3


# From files to labels ---------------------------------------------------------

TINY = {'embed_dim': 32, 'depth': 1, 'num_heads': 2}


@pytest.fixture
def predict(files, tmp_path, capsys):
  """Returns logits and labels by `vit_jax predict`, of all files."""

  def run(checkpoint):
    capsys.readouterr()
    arguments = (
      f'--checkpoint={checkpoint}',
      f'--input={files[0].parent}',
      f'--logits={tmp_path}/logits.npy',
      '--top=1',
    )
    assert main.main(['predict', *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == [str(path) for path in files]
    labels = [line.split('%  ')[1] for line in lines[1::2]]
    return np.load(tmp_path / 'logits.npy'), labels

  return run


def by_timm(folder, files):
  """Returns logits and labels as timm's users get them."""
  model = timm.create_model(f'local-dir:{folder}', pretrained=True).eval()
  config = timm.data.resolve_model_data_config(model)
  transform = timm.data.create_transform(**config)
  images = [transform(Image.open(path).convert('RGB')) for path in files]
  with torch.no_grad():
    logits = model(torch.stack(images)).numpy()
  names = model.pretrained_cfg['label_names']
  return logits, [names[index] for index in logits.argmax(-1)]


def by_transformers(folder, files, backend):
  """Returns logits and labels as transformers' users get them."""
  model = transformers.AutoModelForImageClassification.from_pretrained(folder)
  processor = transformers.AutoImageProcessor.from_pretrained(
    folder, backend=backend
  )
  images = [transformers.image_utils.load_image(str(path)) for path in files]
  with torch.no_grad():
    logits = model.eval()(**processor(images, return_tensors='pt')).logits
  labels = [model.config.id2label[int(index)] for index in logits.argmax(-1)]
  return logits.numpy(), labels


def assert_same(ours, theirs, tolerance=TOLERANCE):
  scale = np.abs(theirs[0]).max()
  assert scale > 0.1
  error = np.abs(ours[0] - theirs[0]).max() / scale
  assert error < tolerance
  # Where two classes are as likely, either is right.
  top = np.sort(theirs[0])[:, -2:]
  is_clear = top[:, 1] - top[:, 0] > 2 * tolerance * scale
  assert is_clear.any()
  for our_label, their_label, clear in zip(ours[1], theirs[1], is_clear):
    assert our_label == their_label or not clear


def save_timm(lab, folder, size, row, mean, std):
  model = timm.create_model(
    'vit_tiny_patch16_224', img_size=size, num_classes=len(NAMES), **TINY
  )
  lab.fill(model)
  data = pretrained(row, size, mean, std)
  timm.models.save_for_hf(
    model,
    folder,
    model_config={'label_names': list(NAMES)},
    safe_serialization=True,
    data_config=data,
  )


@pytest.mark.parametrize(
  ('row', 'size', 'normalization'),
  [
    (TIMM[0], (64, 64), IMAGENET),
    (TIMM[1], (48, 80), IMAGENET),
    (TIMM[3], (64, 64), HALF),
    (TIMM[5], (64, 48), IMAGENET),
  ],
)
def test_a_folder_of_timm(
  row, size, normalization, lab, files, predict, tmp_path
):
  folder, back = tmp_path / 'timm', tmp_path / 'back'
  save_timm(lab, folder, size, row, *normalization)
  theirs = by_timm(folder, files)
  assert_same(predict(folder), theirs)
  convert.run(str(folder), str(tmp_path / 'ours'), 'orbax')
  assert_same(predict(tmp_path / 'ours'), theirs)
  convert.run(str(tmp_path / 'ours'), str(back), 'timm')
  assert_same(by_timm(back, files), theirs)


def save_transformers(lab, folder, size, processor):
  config = transformers.ViTConfig(
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=64,
    image_size=size,
    id2label=dict(enumerate(NAMES)),
  )
  model = transformers.ViTForImageClassification(config)
  lab.fill(model)
  model.save_pretrained(folder)
  processor.save_pretrained(folder)


@pytest.mark.parametrize(
  ('kind', 'size', 'fields'),
  [
    ('ViT', 64, {'size': 64, 'image_mean': IMAGENET[0]}),
    ('ViT', [48, 80], {'size': {'height': 48, 'width': 80}}),
    ('CLIP', 64, {'size': 72, 'crop_size': 64}),
    ('DeiT', 64, {'size': 73, 'crop_size': 64, 'image_std': IMAGENET[1]}),
  ],
)
def test_a_folder_of_transformers(
  kind, size, fields, lab, files, predict, tmp_path
):
  folder, back = tmp_path / 'theirs', tmp_path / 'back'
  processor = getattr(transformers, f'{kind}ImageProcessor')(**fields)
  save_transformers(lab, folder, size, processor)
  theirs = by_transformers(folder, files, 'pil')
  assert_same(predict(folder), theirs)
  assert_same(
    theirs, by_transformers(folder, files, 'torchvision'), TORCHVISION
  )
  convert.run(str(folder), str(back), 'huggingface')
  assert_same(by_transformers(back, files, 'pil'), theirs)


def test_transformers_pipeline_gives_the_same_labels(
  lab, files, predict, tmp_path
):
  processor = transformers.ViTImageProcessor(size=64, image_mean=IMAGENET[0])
  save_transformers(lab, tmp_path / 'theirs', 64, processor)
  classify = transformers.pipeline('image-classification', tmp_path / 'theirs')
  labels = [classify(str(path), top_k=1)[0]['label'] for path in files]
  assert predict(tmp_path / 'theirs')[1] == labels


# Runs of ours -----------------------------------------------------------------

AREA, EXIF, PADDED = 'by area', 'EXIF', 'letterbox'
# {how a run prepares images: what timm and transformers are told not to do}.
RUNS = {
  preprocessing.Preprocessing('central', 'bicubic_antialiased'): ([], [EXIF]),
  preprocessing.Preprocessing(
    'central', 'bilinear_antialiased', 1.0, exif_orientation=True
  ): ([EXIF], []),
  preprocessing.Preprocessing('stretch', 'bicubic_antialiased', 7 / 6): (
    [],
    [EXIF],
  ),
  preprocessing.Preprocessing('letterbox', 'lanczos_antialiased', 1.0): (
    [],
    [PADDED, EXIF],
  ),
  preprocessing.AS_RELEASED: ([AREA], [AREA, EXIF]),
}


def save_run(lab, folder, prepared):
  """Writes a folder of ours whose card says that images are prepared so."""
  processor = transformers.ViTImageProcessor(size=64)
  save_transformers(lab, folder / 'theirs', 64, processor)
  convert.run(str(folder / 'theirs'), str(folder / 'run'), 'orbax')
  card = loading.find(str(folder / 'run')).card
  card = dataclasses.replace(card, preprocessing=prepared)
  cards.write(folder / 'run', card)
  return folder / 'run'


@pytest.mark.parametrize('to', ['timm', 'huggingface'])
@pytest.mark.parametrize('prepared', RUNS, ids=lambda prepared: prepared.crop)
def test_what_we_export(prepared, to, lab, files, predict, tmp_path, capsys):
  run, target = save_run(lab, tmp_path, prepared), tmp_path / to
  capsys.readouterr()
  convert.run(str(run), str(target), to)
  told = capsys.readouterr().err.splitlines()
  told = [line for line in told if 'LayerNorm' not in line]
  expected = RUNS[prepared][to == 'huggingface']
  assert len(told) == len(expected)
  for line, words in zip(told, expected):
    assert line.startswith(f'{target}: images are ') and words in line
  if to == 'timm':
    theirs = by_timm(target, files)
  else:
    theirs = by_transformers(target, files, 'pil')
  ours = predict(target)
  assert_same(ours, theirs)
  if prepared.crop == 'letterbox' and to == 'timm':
    # Nothing is rounded otherwise, and nothing decoded.
    lossless = [i for i, path in enumerate(files) if path.suffix == '.png']
    assert_same(
      [part[lossless[0] : lossless[0] + 1] for part in predict(run)],
      [part[lossless[0] : lossless[0] + 1] for part in theirs],
    )
