"""Small data sets as people have them, and what is to come of each.

A picture is of one colour, which its class determines: whoever reads it can
tell whether its label is right.
"""

import dataclasses
import functools
import io
import json
import os
import unicodedata
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

CONFIG = {'config.json': '{}', 'metrics.jsonl': '', 'predictions.png': 'plot'}
HEIC = b'\0\0\0\x18ftypheic\0\0\0\0mif1heic'


def colour(name):
  """Returns the colour of a class, uint8 [3]."""
  key = unicodedata.normalize('NFC', name).strip()
  digits = zlib.crc32(key.encode('utf-8', 'surrogateescape'))
  return np.array([digits >> shift & 0xF0 for shift in (0, 8, 16)], np.uint8)


@functools.cache
def picture(name, format='PNG'):
  """Returns the bytes of a picture of a class."""
  file = io.BytesIO()
  pixels = np.broadcast_to(colour(name), (8, 8, 3)).copy()
  Image.fromarray(pixels).save(file, format)
  return file.getvalue()


def write(root, files):
  """Writes {path: bytes, text, or the `Picture` of a class}."""
  for path, content in files.items():
    path = root / path
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
      content = content.encode()
    path.write_bytes(content)


def split(name, counts, ending='png', format='PNG'):
  """Returns the files of a split, {class: number of pictures}."""
  return {
    os.path.join(name, label, f'{number}.{ending}'): picture(label, format)
    for label, count in counts.items()
    for number in range(count)
  }


def photos(*labels):
  """Returns {path: picture} of photos/0.png and so on, of these classes."""
  return {f'photos/{i}.png': picture(label) for i, label in enumerate(labels)}


def table(*labels, first=0, head='image,label', between=','):
  """Returns the text of a list of `photos` with what stands for each label."""
  rows = [
    f'photos/{first + i}.png{between}{label}' for i, label in enumerate(labels)
  ]
  return '\n'.join([head, *rows]) + '\n'


def lines(*labels, first=0):
  """Returns the text of a JSONL list of `photos`."""
  return ''.join(
    json.dumps({'image': f'photos/{first + i}.png', 'label': label}) + '\n'
    for i, label in enumerate(labels)
  )


TRAIN = split('train', {'cat': 3, 'dog': 2})
TEST = split('test', {'cat': 1, 'dog': 1})
BOTH = {**TRAIN, **TEST}
GRÜN = unicodedata.normalize('NFC', 'grün')
GRUEN = unicodedata.normalize('NFD', 'grün')
CAT_DOG = ('cat', 'dog')
SIX = photos('cat', 'dog', 'cat', 'dog', 'cat', 'dog')


@dataclasses.dataclass(frozen=True)
class Case:
  """A data set.

  Attributes:
    name: says what it is about.
    files: {path: content}.
    classes: their names, in the order of their indices; None: numbers.
    counts: number of images to train and to evaluate on.
    says: parts of what a run says of it at the start.
    error: of building it, as a regular expression; None: there is none.
    splits: to train and to evaluate on.
    num_classes: their number, where it is not that of `classes`.
    data: other fields of the configuration.
    finish: what else is done to the folder.
  """

  name: str
  files: dict
  classes: tuple | None = CAT_DOG
  counts: tuple = (5, 2)
  says: tuple = ()
  error: str | None = None
  splits: tuple = ('train', 'test')
  num_classes: int | None = None
  data: dict = dataclasses.field(default_factory=dict)
  finish: Callable = lambda root: None


def loop(root):
  (root / 'train/cat/loop').symlink_to(root / 'train')
  (root / 'train/dog/gone.png').symlink_to(root / 'nowhere.png')


def pipe(root):
  os.mkfifo(root / 'train/cat/pipe.png')


def linked(root):
  (root / 'test').rename(root / 'elsewhere')
  (root / 'test').symlink_to(root / 'elsewhere')


# Folders ---------------------------------------------------------------------

FOLDERS = (
  Case('splits and classes', BOTH),
  Case(
    'validation is called val',
    {**TRAIN, **split('val', {'cat': 1, 'dog': 1})},
    splits=('train', 'validation'),
    says=("split 'validation': ", 'val is taken for it'),
  ),
  Case(
    'validation is called valid, test is there too',
    {**BOTH, **split('valid', {'cat': 2, 'dog': 2})},
    splits=('train', 'validation'),
    counts=(5, 4),
  ),
  Case(
    'only test stands for validation',
    BOTH,
    splits=('train', 'validation'),
    says=('test is taken for it',),
  ),
  Case(
    'capital letters',
    {
      **split('Train', {'cat': 3, 'dog': 2}),
      **split('TEST', {'cat': 1, 'dog': 1}),
    },
    says=('Train is taken for it', 'TEST is taken for it'),
  ),
  Case(
    'two folders may be validation',
    {**TRAIN, **split('val', {'cat': 1}), **split('valid', {'cat': 1})},
    splits=('train', 'validation'),
    error=r".* has no split 'validation', and val and valid may be meant",
  ),
  Case(
    'train alone',
    split('train', {'cat': 40, 'dog': 40}),
    splits=('train', 'validation'),
    counts=(63, 17),
    says=('a fifth of its images, chosen by their names, is held out',),
  ),
  Case(
    'classes without splits',
    split('', {'cat': 40, 'dog': 40}),
    splits=('train', 'val'),
    counts=(64, 16),
    says=('its folders are the classes (cat, dog)', 'is held out'),
  ),
  Case(
    'classes of one image, without splits',
    split('', {'cat': 1, 'dog': 1}),
    error=r'.* has one image of each class, and so none to hold out',
  ),
  Case(
    'slices of classes without splits',
    split('', {'cat': 10, 'dog': 10}),
    splits=('train[:75%]', 'train[75%:]'),
    counts=(15, 5),
  ),
  Case(
    'classes and a folder without images',
    {
      **split('', {'cat': 4, 'dog': 4}),
      'docs/readme.txt': 'Hello',
      'labels.csv': 'not,used\n',
      'README.md': 'Hello',
    },
    splits=('train', 'train'),
    counts=(8, 8),
    says=('(cat, dog); without images: docs',),
  ),
  Case(
    'a class that test lacks',
    {**TRAIN, **split('test', {'dog': 2})},
  ),
  Case(
    'a class that train lacks',
    {**BOTH, **split('test', {'ant': 1})},
    classes=('ant', 'cat', 'dog'),
    counts=(5, 3),
    says=('1 class without training images: ant',),
  ),
  Case(
    'no class in common',
    {**TRAIN, **split('test', {'unknown': 3})},
    error=r'.*test has none of the classes of train: unknown, and cat, dog',
  ),
  Case(
    'a split that is not used shares no class',
    {**BOTH, **split('validation', {'unknown': 3})},
  ),
  Case(
    'classes.txt',
    {**BOTH, 'classes.txt': '\ufeffdog\r\n\r\n cat \r\nemu\r\n'},
    classes=('dog', 'cat', 'emu'),
    says=('1 class without training images: emu',),
  ),
  Case(
    'classes.txt lacks a class',
    {**BOTH, 'classes.txt': 'cat\ndgo\n'},
    error=r".*train/dog: class 'dog' is not in classes.txt. .* dgo\?",
  ),
  Case(
    'classes.txt names a class twice',
    {**BOTH, 'classes.txt': f'{GRÜN}\ncat\n{GRUEN}\n'},
    error=r'.*classes.txt names .* twice, in lines 1 and 3',
  ),
  Case(
    'classes.txt is Latin 1',
    {**BOTH, 'classes.txt': 'cat\ngrün\n'.encode('latin1')},
    error=r'.*classes.txt, line 2, byte 6: fc is not UTF-8',
  ),
  Case(
    'classes 0 to 11',
    {
      **split('train', {str(i): 1 for i in range(12)}),
      **split('test', {'3': 1, '11': 1}),
    },
    classes=tuple(map(str, range(12))),
    counts=(12, 2),
  ),
  Case(
    'classes are years',
    {
      **split('train', {'1999': 2, '2023': 2}),
      **split('test', {'2023': 1}),
    },
    classes=('1999', '2023'),
    counts=(4, 1),
  ),
  Case(
    'letters and accents apart in one split',
    {
      **split('train', {GRÜN: 2, 'rot': 1}),
      **split('test', {GRUEN: 2, 'rot': 1}),
    },
    classes=(GRÜN, 'rot'),
    counts=(3, 3),
  ),
  Case(
    'spaces around a name',
    {**TRAIN, **split('test', {' cat ': 1, 'dog': 1})},
  ),
  Case(
    'classes that differ in case',
    {
      **split('train', {'Cat': 1, 'cat': 1}),
      **split('test', {'cat': 1}),
    },
    classes=('Cat', 'cat'),
    counts=(2, 1),
    says=('the classes Cat and cat differ in upper and lower case only',),
  ),
  Case(
    'one class',
    {**split('train', {'cat': 2}), **split('test', {'cat': 1})},
    classes=('cat',),
    counts=(2, 1),
    says=('there is one class only',),
  ),
  Case(
    'subfolders of classes',
    {
      **BOTH,
      'train/cat/2021/may/1.png': picture('cat'),
      'train/dog/2021/1.png': picture('dog'),
    },
    counts=(7, 2),
  ),
  Case(
    'a folder too many',
    {
      **split('train/images', {'cat': 2, 'dog': 2}),
      **split('test/images', {'cat': 2, 'dog': 2}),
    },
    error=r".*train holds only the folder 'images', and that only folders",
  ),
  Case(
    'a folder around all',
    split('flowers/train', {'cat': 1, 'dog': 1}),
    error=r".*holds only the folder 'flowers'; is data.dataset=.*/flowers",
  ),
  Case(
    'splits within classes',
    {**split('cat', {'train': 1, 'test': 1}), **split('dog', {'train': 1})},
    error=r'.*: are cat, dog splits or classes\?',
  ),
  Case(
    'breeds within classes',
    {**split('cat', {'siamese': 1}), **split('dog', {'beagle': 1, 'pug': 1})},
    error=r'.*: are cat, dog splits or classes\?',
  ),
  Case(
    'breeds within classes that are listed',
    {
      'cat/siamese/1.png': picture('cat'),
      'dog/beagle/1.png': picture('dog'),
      'dog/pug/1.png': picture('dog'),
      'classes.txt': 'cat\ndog\n',
    },
    splits=('train', 'train'),
    counts=(3, 3),
  ),
  Case(
    'listed classes with the names of splits',
    {
      **split('', {'dev': 2, 'prod': 2, 'test': 2}),
      'classes.txt': 'prod\ntest\ndev\n',
    },
    classes=('prod', 'test', 'dev'),
    splits=('train', 'train'),
    counts=(6, 6),
  ),
  Case(
    'a listed class with the name of a split',
    {
      **split('train', {'car': 20, 'train': 20}),
      'classes.txt': 'train\ncar\n',
    },
    classes=('train', 'car'),
    splits=('train', 'train'),
    counts=(40, 40),
  ),
  Case(
    'splits of any name',
    {
      **split('2023', {'cat': 2, 'dog': 1}),
      **split('2024', {'cat': 1, 'dog': 1}),
    },
    splits=('2023', '2024'),
    counts=(3, 2),
  ),
  Case(
    'what programs leave',
    {
      **BOTH,
      '__MACOSX/train/cat/._0.png': b'\0\5\x16\7',
      'train/._cat': b'\0\5\x16\7',
      'train/cat/._0.png': b'\0\5\x16\7',
      'train/cat/.DS_Store': b'\0\0\0\1Bud1',
      'test/.DS_Store': b'\0\0\0\1Bud1',
      'train/dog/Thumbs.db': b'\xd0\xcf\x11\xe0',
      'train/dog/desktop.ini': '[.ShellClassInfo]',
      'train/.ipynb_checkpoints/0.png': picture('cat'),
    },
    says=('5 images of 2 classes (train), 2 (test)',),
  ),
  Case(
    'runs inside',
    {
      **split('', {'cat': 4, 'dog': 4}),
      **{f'run1/{name}': text for name, text in CONFIG.items()},
      'run1/checkpoints/400/x.png': picture('cat'),
      'run2/config.json': '{}',
      'run2/checkpoints/1/x': '',
      'run2/predictions.png': picture('cat'),
    },
    splits=('train', 'train'),
    counts=(8, 8),
  ),
  Case(
    'other files',
    {
      **BOTH,
      'train/cat/a.heic': HEIC,
      'train/cat/b.HEIC': HEIC,
      'train/cat/note.txt': 'hello',
      'train/dog/film.mp4': b'\0\0\0\x20ftypisom',
      'train/dog/drawing.svg': '<svg/>',
      'train/dog/scan.pdf': '%PDF-1.7',
      'train/dog/drawing.eps': '%!PS-Adobe-3.0 EPSF-3.0',
    },
    says=('left out: 7 files (.heic: 2, .eps: 1, .mp4: 1, .pdf: 1, .svg: 1',),
  ),
  Case(
    'images beside class folders',
    {**BOTH, 'train/9.png': picture('cat'), 'train/list.txt': ''},
    says=('2 files (.txt: 1, images beside the class folders: 1)',),
  ),
  Case(
    'names without extensions, and of other formats',
    {
      **BOTH,
      'train/cat/jpeg': picture('cat', 'JPEG'),
      'train/cat/download (1)': picture('cat', 'WEBP'),
      'train/cat/a.jfif': picture('cat', 'JPEG'),
      'train/dog/b.avif': picture('dog', 'AVIF'),
      'train/dog/b.image': picture('dog', 'AVIF'),
      'train/dog/c.PPM': picture('dog', 'PPM'),
      'train/dog/d.data': picture('dog', 'JPEG2000'),
      'train/dog/e.bin': picture('dog', 'TIFF'),
      'train/dog/f.tmp': picture('dog', 'BMP'),
      'train/dog/g.x': picture('dog', 'GIF'),
      'train/dog/h.y': picture('dog', 'PPM'),
      'train/dog/i.png': picture('dog', 'JPEG'),
      'train/dog/notes.md': 'BM is what a bitmap begins with, and P1 a map.',
      'train/dog/P1 is no bitmap': 'P1 is no bitmap',
    },
    counts=(17, 2),
    says=('left out: 2 files (.md: 1, no extension: 1)',),
  ),
  Case(
    'names that are not UTF-8',
    {
      **split('train', {'cat': 3, os.fsdecode(b'gr\xfcn'): 2}),
      **split('test', {'cat': 1}),
      os.fsdecode(b'test/gr\xfcn/\xff\xfe 1.png'): picture(
        os.fsdecode(b'gr\xfcn')
      ),
    },
    classes=('cat', 'gr\ufffdn'),
  ),
  Case(
    'odd names',
    {
      **split(
        'train', {'-rf $HOME': 1, '50%': 1, '🐱': 1, 'a\nb': 1, '"q"': 1}
      ),
      **split('test', {'🐱': 1}),
    },
    classes=('"q"', '-rf $HOME', '50%', 'a\ufffdb', '🐱'),
    counts=(5, 1),
  ),
  Case('links that lead back, and to nowhere', BOTH, finish=loop),
  Case('a pipe', BOTH, says=('left out: 1 file (.png: 1)',), finish=pipe),
  Case('a link to a split', BOTH, finish=linked),
  Case(
    'images without classes',
    {'train/1.png': picture('cat'), 'train/a/2.png': '', **TEST},
    classes=CAT_DOG,
    error=None,
    splits=('test', 'test'),
    counts=(2, 2),
  ),
  Case(
    'no labels at all',
    {
      **{f'train/{i}.png': picture('cat') for i in range(3)},
      **{f'test/{i}.png': picture('cat') for i in range(2)},
    },
    classes=None,
    counts=(3, 2),
    num_classes=1,
    says=('3 images without labels (train), 2 (test)',),
  ),
  Case(
    'a class without images',
    {**BOTH, 'train/emu/readme.txt': 'none yet'},
    error=r'.*train/emu has no images: it holds only 1 file \(.txt: 1\)',
  ),
  Case(
    'nothing', {'readme.txt': ''}, error=r".* has no split 'train'.*folders"
  ),
)

# Lists -----------------------------------------------------------------------

FOUR, TWO = ('cat', 'dog', 'cat', 'dog'), ('cat', 'dog')


def lists(train, test, **more):
  return {**SIX, 'train.csv': train, 'test.csv': test, **more}


def numbered(*numbers):
  """Returns two lists of photos: of these classes, and of the first again."""
  own = photos(*(number.strip().removesuffix('.0') for number in numbers))
  return {**own, 'train.csv': table(*numbers), 'test.csv': table(numbers[0])}


LISTS = (
  Case('two lists', lists(table(*FOUR), table(*TWO, first=4)), counts=(4, 2)),
  Case(
    'a list to train on, folders to test on',
    {
      **photos('emu', 'dog', 'cat'),
      'train.csv': table('emu', 'dog', 'cat'),
      **TEST,
    },
    classes=('cat', 'dog', 'emu'),
    counts=(3, 2),
  ),
  Case(
    'folders to train on, a list of JSON to test on',
    {**TRAIN, **SIX, 'test.jsonl': lines(*TWO, *TWO)},
    counts=(5, 4),
  ),
  Case(
    'a list alone',
    {
      **photos(*CAT_DOG * 30),
      'train.csv': table(*CAT_DOG * 30),
      'sample_submission.csv': 'id,prediction\n1,\n',
      'logs.csv': b'\xff\xfe\xff',
    },
    splits=('train', 'validation'),
    counts=(48, 12),
    says=('is held out for it',),
  ),
  Case(
    'indices as spreadsheets write them',
    {
      **numbered('0.0', ' 1', '2.0 ', '1'),
      'test.csv': table('0', '-1', '2', '"1"'),
    },
    classes=None,
    num_classes=3,
    counts=(4, 4),
    says=('4 (test), 1 of them without a label',),
  ),
  Case(
    'some without labels',
    {
      **SIX,
      'train.jsonl': lines('cat', None, '', 'dog'),
      'test.csv': table('cat', '-1', first=4),
    },
    counts=(4, 2),
    says=('4 images of 2 classes (train), 2 of them without a label',),
  ),
  Case(
    'numbers and names',
    lists(table('cat', 'dog', '3', 'cat'), table(*TWO)),
    error=r".*train.csv, line 4: the label '3' is a number, and 'cat' "
    r'\(.*train.csv, line 2\) a name',
  ),
  Case(
    'numbers to train on, names to test on',
    lists(table('0', '1', '0', '1'), table(*TWO)),
    error=r".*train.csv, line 2: the label '0' is a number, and 'cat' \(.*test",
  ),
  Case(
    'numbers of listed classes',
    lists(
      table('1', '0', '1', '0'),
      table(*TWO, first=4),
      **{'classes.txt': 'dog\ncat\n'},
    ),
    classes=('dog', 'cat'),
    counts=(4, 2),
  ),
  Case(
    'numbers of folders with zeros before them',
    {
      **photos('001', '002', '001'),
      'train.csv': table('1', '2', '001'),
      **split('test', {'001': 1, '002': 2}),
    },
    classes=('001', '002'),
    counts=(3, 3),
  ),
  Case(
    'years',
    numbered('1999', '2010', '2023', '2010'),
    classes=('1999', '2010', '2023'),
    counts=(4, 1),
    says=('3 numbers from 1999 to 2023: they are taken as names',),
  ),
  Case(
    'identifiers',
    numbered('2023110003', '2023110001', '17', '17'),
    classes=('17', '2023110001', '2023110003'),
    counts=(4, 1),
    says=('they are taken as names; data.num_classes makes them indices',),
  ),
  Case(
    'a few of a hundred indices, whose number is given',
    numbered('98', '0', '3', '3'),
    classes=None,
    num_classes=100,
    data={'num_classes': 100},
    counts=(4, 1),
  ),
  Case(
    'fractions',
    lists(table('0.5', '0.25', '1', '0'), table('0')),
    error=r".*train.csv, line 2: the label '0.5' is neither a name nor an",
  ),
  Case(
    'semicolons, capitals and a mark, as Excel writes',
    {
      **SIX,
      'train.csv': '\ufeff'
      + table(*FOUR, head='Image;Label', between=';').replace('\n', '\r\n'),
      'Test.CSV': table(*TWO, first=4, head='IMAGE\tLABEL', between='\t'),
    },
    counts=(4, 2),
  ),
  Case(
    'UTF-16',
    lists(table(*FOUR).encode('utf-16'), table(*TWO, first=4)),
    counts=(4, 2),
  ),
  Case(
    'Latin 1',
    lists(table('cat', 'grün').encode('latin1'), table('cat')),
    error=r'.*train.csv, line 3, byte 44: fc is not UTF-8; save it as UTF-8',
  ),
  Case(
    'UTF-16 without a mark',
    lists(table(*FOUR).encode('utf-16-le'), table('cat')),
    error=r'.*train.csv, line 1, byte 1: a zero character',
  ),
  Case(
    'JSON in Latin 1',
    {**SIX, 'train.jsonl': '{"image": "ü"}'.encode('latin1'), **TEST},
    error=r'.*train.jsonl, line 1, byte 11: fc is not UTF-8',
  ),
  Case(
    'names within the folder that is called like the list',
    {
      **{f'train/{i}.png': picture(FOUR[i]) for i in range(4)},
      'train.csv': table(*FOUR).replace('photos/', ''),
      **{f'test/{i}.png': picture(TWO[i]) for i in range(2)},
      'test.csv': table(*TWO).replace('photos/', ''),
    },
    counts=(4, 2),
  ),
  Case(
    'images to train and to test on',
    lists(table(*FOUR), table(*TWO)),
    counts=(4, 2),
    says=('2 images in both train and test',),
  ),
  Case(
    'an image that is not there',
    lists(table(*FOUR, *TWO, 'cat'), table(*TWO)),
    error=r'.*train.csv, line 8: there is no file .photos/6.png. .*\(1 of 7 ',
  ),
  Case(
    'an image with two labels',
    lists(table(*FOUR) + 'photos/0.png,dog\n', table(*TWO)),
    error=r".*train.csv, line 6: 'photos/0.png' has .*'dog', and in line 2 'ca",
  ),
  Case(
    'a comma in a name',
    lists('image,label\nphotos/0, b.png,cat\n', table(*TWO)),
    error=r'.*train.csv, line 2, has 3 cells, and there are 2 columns',
  ),
  Case(
    'no header',
    lists('photos/0.png,cat\n', table(*TWO)),
    error=r'.*train.csv has the columns photos/0.png, cat; it must have image',
  ),
  Case(
    'two lists of one split',
    lists(table(*FOUR), table(*TWO), **{'train.jsonl': lines(*FOUR)}),
    error=r".*train.* and train.* both list the split 'train'; keep one",
  ),
  Case(
    'classes of lists in other spellings',
    lists(
      table(f' {GRÜN} ', 'rot', 'rot', 'rot'),
      table(GRUEN, '"rot "'),
      **photos(GRÜN, 'rot', 'rot', 'rot'),
    ),
    classes=(GRÜN, 'rot'),
    counts=(4, 2),
  ),
)

CASES = FOLDERS + LISTS
