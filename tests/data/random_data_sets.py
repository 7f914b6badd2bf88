"""Random small data folders, whose right labels or whose fault is known."""

import csv
import dataclasses
import io
import json
import os
import pathlib
import runpy
import unicodedata

import numpy as np

SMALL = runpy.run_path(
  str(pathlib.Path(__file__).with_name('small_data_sets.py'))
)

NAMES = (
  *('cat', 'Dog', 'a b', 'grün', 'Čaj', '犬', '🐱', '-rf', '50%', '$HOME'),
  *('new\nline', 'comma, name', "it's", '"q"', 'semi;colon', 'a\tb', 'x' * 99),
)
NUMBERS = ('0', '1', '2', '3', '007', '12', '1999')
NOT_UTF8 = (os.fsdecode(b'gr\xfcn'), os.fsdecode(b'\x83\x41'))
FORMATS = {
  **{'.png': 'PNG', '.PNG': 'PNG', '.jpg': 'JPEG', '.JPEG': 'JPEG'},
  **{'.jfif': 'JPEG', '.webp': 'WEBP', '.bmp': 'BMP', '.gif': 'GIF'},
  **{'.tiff': 'TIFF', '.ppm': 'PPM', '.avif': 'AVIF', '.jp2': 'JPEG2000'},
  **{'': 'JPEG', '.img': 'PNG', '.heic': 'WEBP', ' (1)': 'AVIF'},
}
JUNK = {
  '.DS_Store': b'\0\0\0\1Bud1',
  '._0.png': b'\0\5\x16\7',
  'Thumbs.db': b'\xd0\xcf\x11\xe0',
  'desktop.ini': b'[.ShellClassInfo]',
}
OTHERS = {
  'note.txt': b'hello',
  'a.heic': SMALL['HEIC'],
  'film.mp4': b'\0\0\0\x20ftypisom',
  'empty': b'',
  'script.py': b'print(1)',
  os.fsdecode(b'caf\xe9.doc'): b'\xd0\xcf\x11\xe0',
}
BESIDE = {
  'sample_submission.csv': b'id,prediction\n1,2\n',
  'logs.csv': b'\xff\xfe\xff',
  'README.md': b'# Data',
  '__MACOSX/train/cat/._0.png': b'\0\5\x16\7',
  'run/config.json': b'{}',
  'run/metrics.jsonl': b'',
  'run/predictions.png': SMALL['picture']('plot'),
  'run/checkpoints/1/x.png': SMALL['picture']('plot'),
}


@dataclasses.dataclass
class DataSet:
  """A data set.

  Attributes:
    files: {path: bytes}.
    splits: to train and to evaluate on.
    images: number of images of all splits.
    unlabelled: number of these that have no label.
    left_out: number of files that are left out.
    is_faulty: whether it must be refused.
  """

  files: dict
  splits: tuple
  images: int = 0
  unlabelled: int = 0
  left_out: int = 0
  is_faulty: bool = False


class Generator:
  """Makes data sets of a seed."""

  def __init__(self, seed):
    self._rng = np.random.default_rng(seed)
    self._set = DataSet({}, ('train', 'validation'))

  def make(self):
    layout = self._choose(
      ('splits', 'classes', 'train', 'lists', 'list and folders', 'flat')
    )
    numbered = layout != 'flat' and self._happens(0.2)
    pool = NUMBERS if numbered else NAMES
    if layout in ('splits', 'classes', 'train') and not numbered:
      pool = (*pool, *NOT_UTF8)
    classes = [str(c) for c in self._rng.permutation(pool)]
    classes = classes[: self._rng.integers(2, 5)]
    evaluated = self._choose(('validation', 'val', 'valid', 'test', 'Test'))
    if layout == 'splits':
      self._folders('train', classes)
      self._folders(evaluated, classes)
    elif layout == 'classes':
      self._folders('', classes)
    elif layout == 'train':
      self._folders(self._choose(('train', 'Train')), classes)
    elif layout == 'flat':
      self._flat('train')
      self._flat(evaluated)
    else:
      self._list('train', classes)
      if layout == 'lists':
        self._list(evaluated, classes)
      else:
        self._folders(evaluated, classes)
    if self._happens(0.3) and layout != 'flat':
      self._list_classes(classes)
    for path, content in BESIDE.items():
      if self._happens(0.4):
        self._set.files.setdefault(path, content)
    if 'run/predictions.png' in self._set.files:  # Else it is no run.
      self._set.files['run/config.json'] = b'{}'
      self._set.files['run/metrics.jsonl'] = b''
    if 'run/checkpoints/1/x.png' in self._set.files:
      self._set.files['run/config.json'] = b'{}'
    return self._set

  def _folders(self, split, classes):
    for label in classes:
      spelling = self._choose(('NFC', 'NFD'))
      folder = os.path.join(split, unicodedata.normalize(spelling, label))
      for number in range(self._rng.integers(2, 5)):
        below = self._choose(('', '', '', 'sub/', 'a/b c/'))
        below = below if number else ''  # Else folders may be splits.
        self._image(f'{folder}/{below}{number}', label)
      for name in JUNK:
        if self._happens(0.1):
          self._set.files[f'{folder}/{name}'] = JUNK[name]
      self._leave_out(folder)

  def _list_classes(self, classes):
    """Adds classes.txt, which has more classes, or may lack one."""
    listed = [label for label in classes if label not in NOT_UTF8]
    listed += ['emu', 'yak']
    if self._happens(0.1):
      listed = listed[1:]
    text = '\r\n\n'.join(f' {label}' for label in listed)
    is_clear = not any('\n' in label for label in listed)
    self._set.files['classes.txt'] = text.encode('utf-16')
    lacks = set(classes) - set(listed)
    self._set.is_faulty |= bool(lacks) or not is_clear

  def _flat(self, split):
    for number in range(self._rng.integers(1, 5)):
      self._image(f'{split}/{number}', 'any')
      self._set.unlabelled += 1
    self._leave_out(split)

  def _leave_out(self, folder):
    for name, content in OTHERS.items():
      if self._happens(0.1):
        self._set.files[f'{folder}/{name}'] = content
        self._set.left_out += 1

  def _image(self, path, label):
    """Adds a picture, and returns its path."""
    ending = self._choose(tuple(FORMATS))
    stem = self._choose(('', '-', 'ü ', '50% ', '$(x) ', '🐱'))
    folder, _, base = path.rpartition('/')
    path = f'{folder}/{stem}{base}{ending}'
    self._set.files[path] = SMALL['picture'](label, FORMATS[ending])
    self._set.images += 1
    return path

  def _list(self, split, classes):
    """Adds a list and its images."""
    rows = []
    for label in classes:
      for number in range(self._rng.integers(1, 5)):
        path = self._image(f'photos {split}/{label[:9]}{number}', label)
        if self._happens(0.05):
          self._set.unlabelled += 1
          label_cell = self._choose(('', '-1', None))
        else:
          label_cell = label + self._choose(('', ' ', '.0', '.0'))
          if not label.isdecimal() or label == '007':
            label_cell = label_cell.removesuffix('.0')
        rows.append([path, label_cell])
    self._spoil(rows, classes)
    if self._happens(0.4):
      text = ''.join(
        json.dumps({'image': path, 'label': label}, ensure_ascii=False) + '\n'
        for path, label in rows
      )
      ending = 'jsonl'
    else:
      file = io.StringIO()
      header = self._choose((('image', 'label'), ('Image', ' LABEL')))
      delimiter = self._choose((',', ';', '\t'))
      csv.writer(file, delimiter=delimiter).writerows([header, *rows])
      text, ending = file.getvalue(), self._choose(('csv', 'CSV'))
    encoding = self._choose(('utf-8', 'utf-8-sig', 'utf-16'))
    self._set.files[f'{split}.{ending}'] = text.encode(encoding)
    if self._happens(0.05):
      self._set.files[f'{split}.{ending}'] += b'\xe9\xff\n'
      self._set.is_faulty = True

  def _spoil(self, rows, classes):
    """Makes a fault, now and then."""
    fault = self._choose(('missing', 'twice', 'number', *(None,) * 12))
    if fault is None:
      return
    self._set.is_faulty = True
    if fault == 'missing':
      rows.append(['photos/gone.png', classes[0]])
    elif fault == 'twice':
      rows.append([rows[0][0], 'another' if rows[0][1] else classes[0]])
    else:
      is_number = classes[0].isdecimal()
      rows.append([rows[0][0], None])
      self._image('photos/mixed', classes[0])
      path = list(self._set.files)[-1]
      rows[-1] = [path, 'a name' if is_number else '7']

  def _choose(self, options):
    return options[self._rng.integers(len(options))]

  def _happens(self, probability):
    return self._rng.random() < probability
