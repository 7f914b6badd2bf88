"""Self-contained HTML pages: one file that works offline, from a disk.

A page is a template and data. The template is a folder with `body.html`,
`style.css` and `script.js`; what all pages share stands beside this module.
Styles and scripts are inlined, the data are JSON in the page, and a content
security policy in it forbids everything that would be loaded, and every script
but this one: whatever the data hold, whoever named the classes and files.

In the script, `page` (see shared.js) has the data and builds elements; texts
become text nodes and never markup.
"""

import base64
import dataclasses
import hashlib
import html
import json
import math
import pathlib
from typing import Any

import cv2
import numpy as np

from vit_jax import files

MAX_BYTES = 8 << 20  # Of a page, which a phone has to hold.
_HERE = pathlib.Path(__file__).parent
_POLICY = (
  "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
  "script-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
)
# What would end the element that holds the data, or open a comment in it.
_ESCAPED = {
  ord(letter): f'\\u{ord(letter):04x}' for letter in '<>&\u2028\u2029'
}


@dataclasses.dataclass(frozen=True)
class Blob:
  """An array that the page gets as bytes; `page.array(data.name)` reads it.

  array: float32, int32, uint32, uint16, int16, uint8 or int8.
  """

  array: np.ndarray

  def json(self):
    array = np.ascontiguousarray(self.array)
    kind = array.dtype.newbyteorder('<')
    return {
      'dtype': kind.name,
      'shape': list(array.shape),
      'base64': base64.b64encode(array.astype(kind).tobytes()).decode(),
    }


def write(path, template, title, data):
  """Writes a page.

  Args:
    path: of the HTML file, which may be in a store.
    template: `pathlib.Path` of the folder of its body, style and script.
    title: text.
    data: {name: JSON value, NumPy array or number, or `Blob`}, which the script
      has as `page.data`; numbers that are not finite are null.

  Returns:
    The path.

  Raises:
    UserError: the file can't be written.
    ValueError: it would be larger than `MAX_BYTES`.
  """
  whole = render(template, title, data).encode()
  if len(whole) > MAX_BYTES:
    raise ValueError(f'a page of {len(whole):,} bytes; {MAX_BYTES:,} at most')
  path = files.path(path)
  with files.saving(path) as file:
    file.write(whole)
  return path


def render(template, title, data):
  """Returns the text of a page; see `write`."""
  script = _joined(template, 'script.js')
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  policy = _POLICY.format(digest)
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n'
    f'<title>{html.escape(title)}</title>\n'
    f'<style>\n{_joined(template, "style.css")}</style>\n'
    f'</head>\n<body>\n{(template / "body.html").read_text()}'
    '<script type="application/json" id="page-data">'
    f'{embedded(data)}</script>\n'
    f'<script>{script}</script>\n</body>\n</html>\n'
  )


def embedded(data):
  """Returns data as JSON that can stand inside of a script element."""
  text = json.dumps(_plain(data), allow_nan=False, separators=(',', ':'))
  return text.translate(_ESCAPED)


def picture(image, max_side=None, quality=85):
  """Returns the data URI of an image, for `src` of an <img>.

  Args:
    image: uint8 [rows, columns, 3], RGB.
    max_side: in pixels, to which a larger one is shrunk; None: as it is.
    quality: of JPEG, for images above 64 x 64; smaller ones are PNG.
  """
  image = np.asarray(image, np.uint8)
  rows, columns = image.shape[:2]
  scale = max_side / max(rows, columns) if max_side else 1
  if scale < 1:
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
  is_small = max(image.shape[:2]) <= 64
  ending, kind = ('.png', 'png') if is_small else ('.jpg', 'jpeg')
  options = [] if is_small else [cv2.IMWRITE_JPEG_QUALITY, quality]
  _, coded = cv2.imencode(ending, image[..., ::-1], options)
  text = base64.b64encode(coded.tobytes()).decode()
  return f'data:image/{kind};base64,{text}'


def _joined(template, name):
  """Returns what all pages share of a kind of file, and this template's own."""
  shared = _HERE / f'shared{pathlib.Path(name).suffix}'
  return f'{shared.read_text()}\n{(template / name).read_text()}'


def _plain(value) -> Any:
  """Returns a value as JSON has it."""
  if isinstance(value, Blob):
    return value.json()
  if isinstance(value, dict):
    return {str(name): _plain(each) for name, each in value.items()}
  if isinstance(value, np.ndarray | np.generic):
    return _plain(value.tolist())
  if isinstance(value, list | tuple):
    return [_plain(each) for each in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  if isinstance(value, str):  # Bytes of a file name that were not UTF-8.
    return value.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
  return value
