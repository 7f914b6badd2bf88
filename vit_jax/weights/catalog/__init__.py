"""Every released file: where it is, what it is of, and what to expect of it.

A name is `family/file`. Names, sizes and accuracies are those of the projects
that released the files (vision_transformer, big_vision, big_transfer) and of
timm's results on ImageNet's validation set; all files take pixels in [-1, 1].
"""

from vit_jax import errors
from vit_jax.config import model_names
from vit_jax.weights.catalog import augreg
from vit_jax.weights.catalog import entry as catalog_entry

Entry = catalog_entry.Entry
CENTRAL = catalog_entry.CENTRAL
LICENCE = 'Apache-2.0'  # Of all three projects.


def get(name):
  """Returns the `Entry` of a name; for any file of AugReg, that of its name.

  Raises:
    UserError: no released file is called so; it names the nearest.
  """
  if name.startswith('augreg/') and name not in ENTRIES:
    return augreg.entry(name.removeprefix('augreg/'))
  return errors.choose('The name of a released file', name, ENTRIES)


def matching(pattern='*'):
  """Returns the entries whose names fit a pattern, as 'augreg/*384*'.

  Of AugReg's files, those that are recommended or known to timm.

  Raises:
    UserError: there are none; it names the nearest.
  """
  names = errors.matching('released file', pattern, ENTRIES)
  return [ENTRIES[name] for name in names]


def table(pattern='*'):
  """Returns the entries that fit a pattern as dicts of what JSON can hold.

  A size counts the numbers in the file, at 4 bytes each.

  Raises:
    UserError: as `matching`.
  """
  rows = []
  for entry in matching(pattern):
    size = entry.num_bytes
    rows.append(
      {
        'name': entry.name,
        'model': entry.model,
        'parameters': entry.num_parameters,
        'MB': size and round(size / 1e6),
        'resolution': entry.resolution,
        'classes': entry.num_classes,
        'accuracy': entry.accuracy,
        'note': entry.note,
        'url': entry.address,
        'licence': LICENCE,
      }
    )
  return rows


def has_family_of(name):
  """Returns whether `name` is meant as one of the catalogue."""
  return name.partition('/')[0] in {
    known.partition('/')[0] for known in ENTRIES
  }


# ViT paper and its successors: gs://vit_models ------------------------------

_VIT = 'gs://vit_models'
_PRE_LOGITS = (('head', 'pre_logits'),)
_AVERAGE = (('pooling', 'average'),)
_HEAD = 'its head is known not to classify; use it for fine-tuning'


def _imagenet21k():
  for file in (
    *('ViT-B_8', 'ViT-B_16', 'ViT-B_32', 'ViT-L_16', 'ViT-L_32', 'ViT-H_14'),
    *('R26+ViT-B_32', 'R50+ViT-B_16', 'R50+ViT-L_32'),
  ):
    model = model_names.of_file(file)
    yield Entry(
      f'imagenet21k/{file}',
      f'{_VIT}/imagenet21k/{file}.npz',
      model,
      'google',
      num_classes=21_843,
      fields=_PRE_LOGITS,
      note=_HEAD,
    )


# Fine-tuned on ImageNet at 384 pixels but for those called -224; accuracies
# from timm, else from the ViT paper, table 5, or from the release notes.
_FINE_TUNED = {
  'ViT-B_8': None,
  'ViT-B_16': 84.21,
  'ViT-B_32': 81.28,
  'ViT-L_16': 85.15,
  'ViT-L_32': 81.51,
  'R50+ViT-B_16': 84.99,
  'ViT-B_16-224': 81.78,
  'ViT-L_16-224': 82.7,
}


def _imagenet2012():
  for file, accuracy in _FINE_TUNED.items():
    model = model_names.of_file(file.removesuffix('-224'))
    resolution = 224 if file.endswith('-224') else 384
    yield Entry(
      f'imagenet21k+imagenet2012/{file}',
      f'{_VIT}/imagenet21k+imagenet2012/{file}.npz',
      model,
      'google',
      resolution,
      accuracy=accuracy,
    )


# Chen et al. (2022) and Zhuang et al. (2022), ImageNet only.
_SAM = {
  'ViT-S_16': None,
  'ViT-B_16': 80.25,
  'ViT-B_32': 73.70,
  'ViT-L_16': None,
  'ViT-L_32': None,
}


def _sam():
  for file, accuracy in _SAM.items():
    model = model_names.of_file(file)
    # The file of S/16 has Adam's two moments, too.
    copies = 3 if file == 'ViT-S_16' else 1
    yield Entry(
      f'sam/{file}',
      f'{_VIT}/sam/{file}.npz',
      model,
      'google',
      copies=copies,
      accuracy=accuracy,
    )
  for file in 'ViT-S_16', 'ViT-S_32', 'ViT-B_16', 'ViT-B_32':
    model = model_names.of_file(file)
    yield Entry(
      f'gsam/{file}',
      f'{_VIT}/gsam/{file}.npz',
      model,
      'google',
      fields=_AVERAGE,
      note='pooled by averaging; others measured a low accuracy',
    )


# Mixers, BiT, two towers --------------------------------------------------


def _mixer():
  for data, files in {
    'imagenet1k': {'Mixer-B_16': 76.62, 'Mixer-L_16': 72.08},
    'imagenet21k': {'Mixer-B_16': None, 'Mixer-L_16': None},
    'sam': dict.fromkeys(('Mixer-B_16', 'Mixer-B_32')),
    'gsam': dict.fromkeys(
      ('Mixer-B_16', 'Mixer-B_32', 'Mixer-S_16', 'Mixer-S_32', 'Mixer-S_8')
    ),
  }.items():
    for file, accuracy in files.items():
      num_classes = 21_843 if data == 'imagenet21k' else 1000
      yield Entry(
        f'mixer/{data}/{file}',
        f'gs://mixer_models/{data}/{file}.npz',
        model_names.of_file(file),
        'mixer',
        num_classes=num_classes,
        accuracy=accuracy,
      )


def _bit():
  for model in 'R50x1', 'R101x1', 'R50x3', 'R101x3', 'R152x2', 'R152x4':
    for kind, classes, resolution in (
      ('S-{}', 1000, 224),
      ('M-{}', 21_843, 224),
      ('M-{}-ILSVRC2012', 1000, 480),
    ):
      file = f'BiT-{kind.format(model)}'
      yield Entry(
        f'bit/{file}',
        f'gs://bit_models/{file}.npz',
        f'BiT-{model}',
        'bit',
        resolution,
        classes,
        scale=512 / 480 if resolution == 480 else CENTRAL,
      )
  for resolution, accuracy in ((160, 80.5), (224, 82.8)):
    yield Entry(
      f'bit/R50x1_{resolution}',
      f'gs://bit_models/distill/R50x1_{resolution}.npz',
      'BiT-R50x1',
      'bit',
      resolution,
      accuracy=accuracy,
    )


# Zhai et al. (2022); both towers together.
_LIT = {
  'LiT-B16B': ('ViT-B/16', 195_871_489),
  'LiT-B16B_2': ('ViT-B/16', 195_280_897),
  'LiT-L16L': ('ViT-L/16', 638_443_521),
  'LiT-L16S': ('ViT-L/16', 331_140_353),
  'LiT-L16Ti': ('ViT-L/16', 311_913_089),
}
# Zhai et al. (2023); the numbers are part of the file's name.
_SIGLIP = {
  'en_b16_224_63724782': ('ViT-B/16', 224),
  'en_b16_256_60500360': ('ViT-B/16', 256),
  'en_b16_384_68578854': ('ViT-B/16', 384),
  'en_b16_512_68580893': ('ViT-B/16', 512),
  'en_l16_256_60552751': ('ViT-L/16', 256),
  'en_l16_384_63634585': ('ViT-L/16', 384),
  'en_so400m_224_57633886': ('ViT-So400m/14', 224),
  'en_so400m_384_58765454': ('ViT-So400m/14', 384),
  'i18n_b16_256_66117334': ('ViT-B/16', 256),
}
_SIGLIP2 = {  # Tschannen et al. (2025).
  'b32': ('ViT-B/32', (256,)),
  'b16': ('ViT-B/16', (224, 256, 384, 512)),
  'l16': ('ViT-L/16', (256, 384, 512)),
  'so400m14': ('ViT-So400m/14', (224, 384)),
  'so400m16': ('ViT-So400m/16', (256, 384, 512)),
  'g-opt16': ('ViT-gopt/16', (256, 384)),
}


def _covered(resolution, model):
  """Returns the pixels that whole patches cover: 378 of 384, if of 14."""
  return resolution - resolution % model_names.patch_size(model)


_NO_HEAD = 'the image tower only; it has no classes'


def _towers():
  for file, (model, count) in _LIT.items():
    yield Entry(
      f'lit/{file}',
      f'{_VIT}/lit/{file}.npz:img',
      model,
      'google',
      num_classes=0,
      total=count,
      note=_NO_HEAD,
    )
  for file, (model, resolution) in _SIGLIP.items():
    yield Entry(
      f'siglip/{file.rpartition("_")[0]}',
      f'gs://big_vision/siglip/webli_{file}.npz:img',
      model,
      'big_vision',
      _covered(resolution, model),
      num_classes=0,
      scale=1.0,
      note=_NO_HEAD,
    )
  for file, (model, resolutions) in _SIGLIP2.items():
    for resolution in resolutions:
      yield Entry(
        f'siglip2/{file}_{resolution}',
        f'gs://big_vision/siglip2/siglip2_{file}_{resolution}.npz:img',
        model,
        'big_vision',
        _covered(resolution, model),
        num_classes=0,
        scale=1.0,
        note=_NO_HEAD,
      )


# big_vision's own -------------------------------------------------------------

_BIG_VISION = 'gs://big_vision'


def _baselines():
  """Better plain ViT baselines (Beyer et al., 2022): sines and cosines."""
  sines = ('position_embedding', 'sincos_2d')
  for epochs, accuracy in ((90, 76.5), (150, 78.5), (300, 80.0)):
    yield Entry(
      f'big_vision/vit_s16_i1k_{epochs}ep',
      f'{_BIG_VISION}/vit_s16_i1k_{epochs}ep.npz',
      'ViT-S/16',
      'google',
      fields=(*_AVERAGE, *_PRE_LOGITS, sines),
      accuracy=accuracy,
    )


# Touvron et al. (2022); for pixels in [-1, 1], which is not how they trained.
_DEIT3 = {'small': 'ViT-S/16', 'base': 'ViT-B/16', 'large': 'ViT-L/16'}
_DEIT3_ACCURACY = {'small': 81.38, 'base': 83.80, 'large': 84.77}


def _deit3():
  for size, model in _DEIT3.items():
    for resolution in 224, 384:
      for data in '1k', '21k':
        at_224 = resolution == 224 and data == '1k'
        yield Entry(
          f'deit3/{size}_{resolution}_{data}',
          f'{_BIG_VISION}/zoo/deit3/bv_deit_3_{size}_{resolution}_{data}.npz',
          model,
          'big_vision',
          resolution,
          scale=1.0,
          accuracy=_DEIT3_ACCURACY[size] if at_224 else None,
          position_resize='bicubic',
        )


# Beyer et al. (2023): one file for all patch sizes, as kernels of 32 pixels and
# a grid of 7 x 7. Data and epochs, by size.
_FLEXIVIT = {
  'S': ('i1k', 'i1k_600ep', 'i1k_300ep', 'i1k_90ep'),
  'B': (
    *('i1k', 'i1k_600ep', 'i1k_300ep', 'i1k_90ep'),
    *('i21k_1000ep', 'i21k_300ep', 'i21k_90ep'),
  ),
  'L': ('i1k', 'i1k_600ep', 'i1k_300ep', 'i1k_90ep'),
}


def _flexivit():
  for size, runs in _FLEXIVIT.items():
    for run in runs:
      file = f'flexivit_{size.lower()}_{run}'
      num_classes = 21_843 if 'i21k' in run else 1000
      yield Entry(
        f'flexivit/{file.removeprefix("flexivit_")}',
        f'{_BIG_VISION}/flexivit/{file}.npz',
        f'ViT-{size}/16',
        'big_vision',
        240,
        num_classes,
        scale=1 / 0.95,
        flexible=True,
      )
  for pixels in 16, 30:
    yield Entry(
      f'flexivit/vit_b{pixels}_i21k_300ep',
      f'{_BIG_VISION}/flexivit/vit_b{pixels}_i21k_300ep.npz',
      f'ViT-B/{pixels}',
      'big_vision',
      240,
      21_843,
      scale=1 / 0.95,
    )


ENTRIES = {
  entry.name: entry
  for entries in (
    *(_imagenet21k, _imagenet2012, _sam, augreg.entries),
    *(_mixer, _bit, _towers, _baselines, _deit3, _flexivit),
  )
  for entry in entries()
}
