"""The 52,268 files of AugReg (Steiner et al., 2022), by name or by their index.

A name says what was trained, on what and how, and on what it was fine-tuned.
"""

import csv
import re

from vit_jax import errors
from vit_jax.weights.catalog import entry as catalog_entry

ADDRESS = 'gs://vit_models/augreg'
INDEX = f'{ADDRESS}/index.csv'

_FILE = re.compile(
  r'(?P<model>\w+)-(?P<data>i1k|i21k|i21k_30)-[^/]*?'
  r'(--(?P<task>\w+)-steps_\w+-lr_[\d.]+-res_(?P<resolution>\d+))?'
)
CLASSES = {
  'i1k': 1000,
  'i21k': 21_843,
  'i21k_30': 21_843,
  'imagenet2012': 1000,
  'cifar100': 100,
  'kitti': 4,
  'oxford_iiit_pet': 37,
  'resisc45': 45,
}
# Recommended for transfer: of the highest `final_val` in index.csv.
RECOMMENDED = {
  'Ti_16': 'none-wd_0.03-do_0.0-sd_0.0',
  'S_16': 'light1-wd_0.03-do_0.0-sd_0.0',
  'S_32': 'none-wd_0.1-do_0.0-sd_0.0',
  'B_8': 'medium2-wd_0.1-do_0.0-sd_0.0',
  'B_16': 'medium1-wd_0.1-do_0.0-sd_0.0',
  'B_32': 'light1-wd_0.1-do_0.0-sd_0.0',
  'L_16': 'strong1-wd_0.1-do_0.0-sd_0.0',
  'R_Ti_16': 'none-wd_0.03-do_0.0-sd_0.0',
  'R26_S_32': 'light1-wd_0.1-do_0.0-sd_0.0',
  'R50_L_32': 'medium1-wd_0.1-do_0.1-sd_0.1',
}
# Fine-tuned on ImageNet for 20,000 steps: model, data of the pre-training,
# augmentation and regularisation, learning rate, resolution; top-1 by timm.
_FINE_TUNED = {
  ('Ti_16', 'i21k', 'none-wd_0.03-do_0.0-sd_0.0', 0.03, 224): 75.45,
  ('Ti_16', 'i21k', 'none-wd_0.03-do_0.0-sd_0.0', 0.03, 384): 78.44,
  ('S_32', 'i21k', 'light1-wd_0.03-do_0.0-sd_0.0', 0.03, 224): 76.01,
  ('S_32', 'i21k', 'light1-wd_0.03-do_0.0-sd_0.0', 0.03, 384): 80.48,
  ('S_16', 'i21k', 'light1-wd_0.03-do_0.0-sd_0.0', 0.03, 224): 81.40,
  ('S_16', 'i21k', 'light1-wd_0.03-do_0.0-sd_0.0', 0.03, 384): 83.81,
  ('B_32', 'i21k', 'medium1-wd_0.03-do_0.0-sd_0.0', 0.03, 224): 80.73,
  ('B_32', 'i21k', 'light1-wd_0.1-do_0.0-sd_0.0', 0.03, 384): 83.36,
  ('B_16', 'i21k', 'medium1-wd_0.1-do_0.0-sd_0.0', 0.01, 224): 84.53,
  ('B_16', 'i21k', 'medium1-wd_0.1-do_0.0-sd_0.0', 0.01, 384): 86.01,
  ('B_8', 'i21k', 'medium1-wd_0.1-do_0.0-sd_0.0', 0.01, 224): 85.84,
  ('L_16', 'i21k', 'medium1-wd_0.1-do_0.1-sd_0.1', 0.01, 224): 85.86,
  ('L_16', 'i21k', 'medium1-wd_0.1-do_0.1-sd_0.1', 0.01, 384): 87.10,
  ('R_Ti_16', 'i21k', 'none-wd_0.03-do_0.0-sd_0.0', 0.03, 224): 71.80,
  ('R_Ti_16', 'i21k', 'none-wd_0.03-do_0.0-sd_0.0', 0.03, 384): 75.96,
  ('R26_S_32', 'i21k', 'light0-wd_0.03-do_0.1-sd_0.1', 0.03, 224): 81.86,
  ('R26_S_32', 'i21k', 'medium2-wd_0.03-do_0.0-sd_0.0', 0.03, 384): 84.07,
  ('R50_L_32', 'i21k', 'medium1-wd_0.1-do_0.1-sd_0.1', 0.01, 224): 84.43,
  ('R50_L_32', 'i21k', 'medium2-wd_0.1-do_0.0-sd_0.0', 0.01, 384): 86.19,
  ('S_16', 'i1k', 'medium2-wd_0.1-do_0.0-sd_0.0', 0.01, 224): 78.84,
  ('S_16', 'i1k', 'medium2-wd_0.1-do_0.0-sd_0.0', 0.01, 384): 81.13,
  ('B_32', 'i1k', 'medium2-wd_0.1-do_0.1-sd_0.1', 0.01, 224): 74.91,
  ('B_32', 'i1k', 'medium2-wd_0.1-do_0.1-sd_0.1', 0.01, 384): 78.75,
  ('B_16', 'i1k', 'strong2-wd_0.1-do_0.1-sd_0.1', 0.01, 224): 79.15,
  ('B_16', 'i1k', 'strong2-wd_0.1-do_0.1-sd_0.1', 0.01, 384): 81.10,
}


def entry(file, name=None, accuracy=None):
  """Returns the `Entry` of any of AugReg's 52,268 files, by its name.

  Raises:
    UserError: no file can be called so.
  """
  match = _FILE.fullmatch(file)
  if not match or match['model'] not in RECOMMENDED:
    raise errors.UserError(
      f'{file} is no file of AugReg. They are called MODEL-DATA-300ep-..., '
      f'with one of the models {", ".join(RECOMMENDED)}.'
    )
  task = match['task'] or match['data']
  num_classes = errors.choose('The data set of AugReg', task, CLASSES)
  resolution = int(match['resolution'] or 224)
  model = name_of_model(match['model'])
  return catalog_entry.Entry(
    name or f'augreg/{file}',
    f'{ADDRESS}/{file}.npz',
    model,
    'google',
    resolution,
    num_classes,
    accuracy=accuracy,
  )


def name_of_model(text):
  """Returns the model that AugReg calls R26_S_32, say: R26+ViT-S/32."""
  *resnet, size, patch_size = text.split('_')
  return f'{"".join(resnet)}{"+" if resnet else ""}ViT-{size}/{patch_size}'


def entries():
  """Yields the files that are recommended, or known to timm."""
  for model, rest in RECOMMENDED.items():
    yield entry(f'{model}-i21k-300ep-lr_0.001-aug_{rest}', f'augreg/{model}')
  for (model, data, rest, rate, resolution), accuracy in _FINE_TUNED.items():
    yield entry(
      f'{model}-{data}-300ep-lr_0.001-aug_{rest}--imagenet2012-steps_20k-'
      f'lr_{rate}-res_{resolution}',
      f'augreg/{model}-{data}-imagenet2012-{resolution}',
      accuracy,
    )


def pick(index_path, model, data='i21k', task=None, resolution=None):
  """Returns the `Entry` that validates best, as index.csv says.

  Args:
    index_path: of the downloaded index.csv.
    model: a key of RECOMMENDED.
    data: i1k, i21k or i21k_30, what it was pre-trained on; of these files the
      one of the highest `final_val` is picked.
    task: what it was fine-tuned on, as imagenet2012; None: only pre-trained.
    resolution: of fine-tuning, in pixels; None: any. Of files for a task the
      one of the highest `adapt_final_val` is picked.

  Raises:
    UserError: the file is no such index, or none of its rows fits.
  """
  errors.choose('The model of AugReg', model, RECOMMENDED)
  score = 'adapt_final_val' if task else 'final_val'
  file = 'adapt_filename' if task else 'filename'
  try:
    scored = [
      (float(row[score]), row[file])
      for row in rows(index_path)
      if model_of(row) == model
      and row['ds'] == data
      and (not task or row['adapt_ds'] == task)
      and (not task or not resolution or _side(row) == resolution)
    ]
  except errors.UserError:
    raise
  except (KeyError, ValueError, TypeError, AttributeError) as error:
    raise _no_index(index_path, error) from error
  if not scored:
    raise errors.UserError(
      f'index.csv has no {model} trained on {data}'
      + (f' and fine-tuned on {task}.' if task else '.')
    )
  return entry(max(scored)[1].rpartition('/')[2].removesuffix('.npz'))


def rows(index_path):
  """Yields the rows of index.csv as {column: text}, one per fine-tuned file.

  What was trained: name, ds, epochs, lr, aug, wd, do, sd; how well it did:
  best_val, final_val, final_test; the same of its fine-tuning behind adapt_;
  and the URLs, filename and adapt_filename.

  Args:
    index_path: of the downloaded index.csv.

  Raises:
    UserError: it can't be read, or is no table.
  """
  try:
    with open(index_path, newline='') as lines:
      yield from csv.DictReader(lines)
  except (OSError, ValueError, csv.Error) as error:
    raise _no_index(index_path, error) from error


def model_of(row):
  """Returns the model of a row, a key of RECOMMENDED: R26_S_32, say."""
  return re.sub(r'[+/]', '_', row['name'].partition('-')[0])


def _no_index(path, error):
  return errors.UserError(
    f"{path} is not AugReg's index.csv ({error!r}); fetch {INDEX} anew."
  )


def _side(row):
  return int(float(row['adapt_resolution']))
