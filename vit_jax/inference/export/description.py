"""The card of an exported model: all that another program has to know."""

import dataclasses
import hashlib
import importlib.metadata
import json

import vit_jax
from vit_jax import files
from vit_jax.inference.export import program as programs

SUFFIX = '.json'  # Behind the path of the model.

_RESIZE = {
  'area': 'averaging the pixels that a new one covers (OpenCV INTER_AREA; '
  'INTER_LINEAR where a side does not shrink)',
  'bilinear': 'bilinear without antialiasing (OpenCV INTER_LINEAR)',
  'bicubic': 'bicubic, a = -1/2, without antialiasing (as tf.image.resize)',
  'bilinear_antialiased': 'bilinear with antialiasing (Pillow BILINEAR)',
  'bicubic_antialiased': 'bicubic with antialiasing (Pillow BICUBIC)',
  'lanczos_antialiased': 'Lanczos with antialiasing (Pillow LANCZOS)',
}
_CROP = {
  'central': 'Resize the image, keeping its aspect ratio, so that it just '
  'covers {tall:g} x {wide:g} pixels (rows x columns, {scale:.6g} times the '
  "input's size): {resize}. Take the {rows} x {columns} pixels at its centre.",
  'stretch': 'Resize the image to {tall:g} x {wide:g} pixels (rows x columns), '
  'ignoring its aspect ratio: {resize}. Take the {rows} x {columns} pixels at '
  'its centre.',
  'letterbox': 'Resize the image, keeping its aspect ratio, so that it just '
  'fits into {tall:g} x {wide:g} pixels (rows x columns): {resize}. Put it at '
  'the centre of {rows} x {columns} pixels of the colour {padding}, and cut '
  'off what is outside.',
}
_ROUNDING = {
  'nearest': 'Sides are rounded to the nearest integer (halves to even); of '
  'an odd excess the larger part is cut off at the bottom and the right.',
  'timm': "Sides and the crop's place are rounded as torchvision's Resize and "
  'CenterCrop do.',
  'transformers': "Sides and the crop's place are rounded as transformers' "
  'image processors do.',
}
_PIXELS = {
  'uint8': 'Give these bytes to the model, which maps them to [-1, 1] itself.',
  'float32': 'Map bytes x to x / 127.5 - 1, float32 in [-1, 1].',
}


def describe(program, card, format_name, digests, checked):
  """Returns the content of the card, as JSON has it.

  Args:
    program: the `program.Program` that was written.
    card: the model's `card.Card`.
    format_name: how it was written.
    digests: as `digest_all` returns them.
    checked: as `checking.difference` returns it.
  """
  differs, num_images = checked
  return {
    'format': format_name,
    'files': digests,
    'model': card.model.name,
    'computes_in': program.dtype,
    'input': _input(program),
    'output': _output(program),
    'classes': list(card.names()) if program.output != 'features' else None,
    'preprocessing': _preprocessing(program, card.preprocessing),
    'largest_difference': {
      'from_the_model': differs,
      'of': program.output,
      'images': num_images,
    },
    'configuration': card.model.to_dict(),
    'source': card.source,
    'versions': {
      'vit_jax': vit_jax.__version__,
      'jax': importlib.metadata.version('jax'),
    },
  }


def write(path, content):
  """Writes the card of the model at `path` beside it."""
  text = json.dumps(content, indent=1, allow_nan=False)
  with files.saving(beside(path)) as file:
    file.write(text.encode() + b'\n')


def beside(path):
  """Returns the path of the card of the model at `path`."""
  path = files.path(path)
  return path.with_name(path.name + SUFFIX)


def digest_all(paths):
  """Returns {name: its bytes and SHA-256} of {name: local path}."""
  found = {}
  for name, path in paths.items():
    with open(path, 'rb') as file:
      digest = hashlib.file_digest(file, 'sha256').hexdigest()
    found[name] = {'bytes': path.stat().st_size, 'sha256': digest}
  return found


def _input(program):
  return {
    'name': programs.INPUT,
    'shape': ['batch', *program.image_size, 3],
    'axes': ['image', 'row', 'column', 'channel (red, green, blue)'],
    'dtype': program.pixels,
    'range': list(programs.PIXELS[program.pixels]),
  }


def _output(program):
  is_probability = program.output == 'probabilities'
  return {
    'name': program.output,
    'shape': ['batch', program.width],
    'dtype': 'float32',
    'range': [0, 1] if is_probability else None,
    'activation': program.activation if is_probability else None,
  }


def _preprocessing(program, prepared):
  rows, columns = program.image_size
  crop = _CROP[prepared.crop].format(
    rows=rows,
    columns=columns,
    tall=prepared.scale * rows,
    wide=prepared.scale * columns,
    scale=prepared.scale,
    resize=_RESIZE[prepared.resize],
    padding=prepared.padding,
  )
  turned = 'Turn' if prepared.exif_orientation else 'Do not turn'
  dct = 'accurate' if prepared.exact_jpeg else 'fast'
  words = [
    'Decode the image to 8 bits of red, green and blue; a JPEG with '
    f"libjpeg-turbo's {dct} inverse DCT. Drop transparency. {turned} the image "
    'as its EXIF orientation says.',
    crop,
    _ROUNDING[prepared.rounding],
    _PIXELS[program.pixels],
  ]
  values = dataclasses.asdict(prepared)
  # They are part of the parameters: the model takes [-1, 1].
  del values['mean'], values['std']
  if prepared.crop == 'letterbox':
    values['padding'] = prepared.padding
  return {'steps': words, **values}
