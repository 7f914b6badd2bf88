"""Changed files: by what their grammar allows, and byte by byte.

A mutant is known by its seed and number alone, and so can be made again.
"""

import contextlib
import io
import json
import zipfile

import numpy as np

VALUES = (
  *(0, 1, -1, 2, 7, 255, 65_536, 1 << 31, 1 << 33, 1 << 62, 1 << 70),
  *(0.5, -0.0, 1e-300, 1e308, float('nan'), float('inf')),
  *(True, False, None, '', 'a', '\0', '..', '../../etc/passwd', '/etc/passwd'),
  *('\x1b[2J', '\ud800', '猫', '1', '-1', '1e9', 'nan', 'x' * 5000),
  *('antigravity.Image', 'float32', 'object', '(a+)+$', '{SPLIT:>99999999}'),
  *([], {}, [[]], [0] * 300, {'a': {}}, [None], [1, 2, 3], ['a', 'b']),
)
TOKENS = (
  *(b'{', b'}', b'[', b']', b'"', b',', b':', b'\n', b'\r', b'\0', b'\xff'),
  *(b'\xef\xbb\xbf', b'\xff\xfe', b'NaN', b'-Infinity', b'1e999', b'null'),
  *(b'\\ud800', b'[' * 3000, b'{"a":' * 3000, b'9' * 5000, b'a' * 3000),
  *(b'../', b'\x1b[2J', b'"a":1,"a":2', b'\xe2\x80\xa8', b'\x00\x00\x00\x80'),
  *(b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'PK\x05\x06', b'\xff\xda'),
)


def mutate(data, grammar, rng):
  """Returns other bytes of about the same kind.

  Args:
    data: bytes of a file.
    grammar: of `readers.Reader`.
    rng: a NumPy generator.
  """
  changes = _CHANGES[grammar]
  for _ in range(1 + rng.geometric(0.6)):
    change = changes[rng.integers(len(changes))]
    # What another change has broken may be of no grammar any more.
    with contextlib.suppress(Exception):
      data = change(data, rng)
  return data


def _pick(items, rng):
  return items[int(rng.integers(len(items)))]


# Bytes ------------------------------------------------------------------------


def _flip(data, rng):
  data = bytearray(data)
  for _ in range(rng.geometric(0.4)):
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
  return bytes(data)


def _overwrite(data, rng):
  data = bytearray(data)
  place, token = int(rng.integers(len(data))), _pick(TOKENS, rng)[:64]
  data[place : place + len(token)] = token
  return bytes(data)


def _insert(data, rng):
  place = int(rng.integers(len(data) + 1))
  return data[:place] + _pick(TOKENS, rng) + data[place:]


def _cut(data, rng):
  return data[: int(rng.integers(len(data) + 1))]


def _drop(data, rng):
  start, end = sorted(int(n) for n in rng.integers(len(data) + 1, size=2))
  return data[:start] + data[min(end, start + 64) :]


def _repeat(data, rng):
  start, end = sorted(int(n) for n in rng.integers(len(data) + 1, size=2))
  return data[:end] + data[start:end] * int(rng.integers(1, 8)) + data[end:]


def _number(data, rng):
  """Puts an extreme number into some bytes, as of a length or a size."""
  width = int(_pick((1, 2, 4, 8), rng))
  value = _pick((0, 1, 1 << 8 * width - 1, (1 << 8 * width) - 1, 1 << 7), rng)
  raw = value.to_bytes(width, _pick(('little', 'big'), rng))
  place = int(rng.integers(max(1, len(data) - width)))
  return data[:place] + raw + data[place + width :]


_BYTES = (_flip, _flip, _overwrite, _insert, _cut, _drop, _repeat, _number)


# JSON -------------------------------------------------------------------------


def _places(node, found):
  items = ()
  if isinstance(node, dict):
    items = list(node.items())
  elif isinstance(node, list):
    items = list(enumerate(node))
  for key, value in items:
    found.append((node, key))
    _places(value, found)
  return found


def change_json(node, rng):
  """Returns a value of JSON with one place of it changed."""
  found = _places(node, [])
  if not found:
    return _pick(VALUES, rng)
  inner, key = _pick(found, rng)
  kind = int(rng.integers(6))
  if kind == 0:
    del inner[key]
  elif kind == 1 and isinstance(inner, dict):
    inner[str(_pick(VALUES, rng))] = inner.pop(key)
  elif kind == 2:  # What belongs elsewhere.
    other, place = _pick(found, rng)
    inner[key] = json.loads(json.dumps(other[place]))
  elif kind == 3:
    for _ in range(int(rng.integers(1, 60))):
      inner[key] = [inner[key]] if rng.integers(2) else {'a': inner[key]}
  elif kind == 4 and isinstance(inner[key], int | float | str):
    try:
      inner[key] = int(inner[key]) * int(_pick((-1, 0, 2, 1000, 1 << 40), rng))
    except ValueError:
      inner[key] = str(inner[key]) * int(rng.integers(2, 500))
  else:
    inner[key] = _pick(VALUES, rng)
  return node


def _json(data, rng):
  return json.dumps(change_json(json.loads(data), rng)).encode()


def _twice(data, rng):
  """Says one name of an object twice."""
  text = data.decode()
  starts = [i for i, letter in enumerate(text) if letter == '"']
  start = _pick(starts, rng)
  return f'{text[:start]}"a": 1, "a": 2, {text[start:]}'.encode()


def _lines(data, rng):
  lines = data.split(b'\n')
  number = int(rng.integers(len(lines)))
  kind = int(rng.integers(5))
  if kind == 0:
    lines.insert(number, lines[int(rng.integers(len(lines)))])
  elif kind == 1:
    del lines[number]
  elif kind == 2:
    lines[number] = lines[number].replace(b',', _pick(TOKENS, rng))
  elif kind == 3:
    lines = lines * int(rng.integers(2, 50))
  else:
    lines[number] = _json(lines[number], rng)
  return b'\n'.join(lines)


def _safetensors(data, rng):
  """Changes the header and keeps its length true."""
  length = int.from_bytes(data[:8], 'little')
  header = _json(data[8 : 8 + length], rng)
  return len(header).to_bytes(8, 'little') + header + data[8 + length :]


# Zip --------------------------------------------------------------------------

_NAMES = ('../a.npy', '/a.npy', 'a\0.npy', '', 'a', 'x' * 3000 + '.npy', 'a/')


def _zip(data, rng):
  """Writes the archive anew, with a member of another name, size or kind."""
  with zipfile.ZipFile(io.BytesIO(data)) as archive:
    members = [(info.filename, archive.read(info)) for info in archive.filelist]
  number = int(rng.integers(len(members)))
  name, content = members[number]
  kind = int(rng.integers(6))
  method = _pick((0, 8, 8, 12, 14), rng)  # 12: bzip2, 14: LZMA.
  if kind == 0:
    members[number] = _pick(_NAMES, rng), content
  elif kind == 1:
    members.append(members[number])
  elif kind == 2:
    members[number] = name, _npy(content, rng)
  elif kind == 3:
    del members[number]
  elif kind == 4:
    members[number] = name, bytes(int(rng.integers(1 << 22)))
  else:
    members[number] = name, _pick(_BYTES, rng)(content, rng)
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, 'w', method) as archive:
    for each, raw in members:
      archive.writestr(zipfile.ZipInfo(each), raw, method)
  return stream.getvalue()


def _npy(content, rng):
  """Changes what the header of an array claims."""
  end = content.index(b'\n') + 1
  header = content[10:end].decode('latin1')
  before, after = _pick(
    (
      ("'<f4'", "'|O'"),
      ("'<f4'", "'<f8'"),
      ("'|u1'", "'<U100000000'"),
      ("'|u1'", "'|V4000000000'"),
      ('(', '(9999999999, '),
      ('(', '(-1, '),
      ('(', '(0, '),
      ('False', 'True'),
      ('}', '}' + ' ' * 3000),
      ("'shape'", "'shape': (1,), 'shape'"),
    ),
    rng,
  )
  header = header.replace(before, after, 1).encode('latin1')
  length = len(header).to_bytes(2, 'little')
  return content[:8] + length + header + content[end:]


def _zip_fields(data, rng):
  """Changes flags, methods or sizes in the directory of the archive."""
  data = bytearray(data)
  start = data.find(_pick((b'PK\x01\x02', b'PK\x03\x04', b'PK\x05\x06'), rng))
  offset = start + int(_pick((6, 8, 10, 12, 16, 20, 24, 28, 42), rng))
  value = _pick((0, 1, 12, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF), rng)
  data[offset : offset + 4] = int(value).to_bytes(4, 'little')
  return bytes(data)


_CHANGES = {
  'bytes': _BYTES,
  'json': (_json, _json, _json, _json, _twice, *_BYTES),
  'lines': (_lines, _lines, _lines, *_BYTES),
  'zip': (_zip, _zip, _zip, _zip_fields, *_BYTES),
  'safetensors': (_safetensors, _safetensors, *_BYTES),
}


def generator(seed, number):
  return np.random.default_rng([seed, number])
