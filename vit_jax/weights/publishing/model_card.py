"""README.md beside published weights: the Hub's model card.

It says what `card.Card` knows, in the words of the Hub's metadata where there
are such, and nothing else: no licence, data set or accuracy is guessed.
"""

import json
import pathlib
import re
from typing import NamedTuple

import vit_jax
from vit_jax import errors, files
from vit_jax.data import names as spelling
from vit_jax.weights import card as cards
from vit_jax.weights.files import hub, weights_file

FILE = 'README.md'
# {format: (what the Hub calls its library, the project)}.
LIBRARIES = {
  'timm': ('timm', 'timm'),
  'huggingface': ('transformers', 'transformers'),
}

_MAX_NAMES = 20  # Classes that are named.
# Our names of data sets: the Hub's.
_DATASETS = {
  'imagenet2012': 'ILSVRC/imagenet-1k',
  'cifar10': 'uoft-cs/cifar10',
  'cifar100': 'uoft-cs/cifar100',
}
# The licences among those of the Hub that weights are released under.
_LICENCES = (
  *('apache-2.0', 'mit', 'bsd-2-clause', 'bsd-3-clause', 'cc0-1.0'),
  *('cc-by-4.0', 'cc-by-sa-4.0', 'cc-by-nc-4.0', 'cc-by-nc-sa-4.0'),
  *('gpl-3.0', 'openrail', 'unknown'),
)
_BARE = re.compile(r'[A-Za-z][\w./-]*', re.ASCII)  # Text that needs no quotes.
_NO_TEXT = ('true', 'false', 'yes', 'no', 'on', 'off', 'null', 'y', 'n')
_USAGE = {
  'timm': """import timm
from PIL import Image

model = timm.create_model({name!r}, pretrained=True).eval()
prepare = timm.data.create_transform(
    **timm.data.resolve_model_data_config(model), is_training=False)
output = model(prepare(Image.open('image.jpg').convert('RGB'))[None])""",
  'huggingface': """from PIL import Image
from transformers import AutoImageProcessor, {kind}

processor = AutoImageProcessor.from_pretrained({name!r})
model = {kind}.from_pretrained({name!r})
output = model(**processor(Image.open('image.jpg'), return_tensors='pt'))""",
}


class Published(NamedTuple):
  """Weights as they are written.

  Attributes:
    card: a `card.Card` with an image size.
    format: a key of `LIBRARIES`.
    num_parameters: how many numbers they are.
    where: the folder they are in.
    untold: sentences: what the format can not say of them.
    repo: 'OWNER/NAME' on the Hub, or ''.
  """

  card: cards.Card
  format: str
  num_parameters: int
  where: str
  untold: tuple[str, ...] = ()
  repo: str = ''


def write(published):
  """Writes the model card into the folder of the weights.

  Raises:
    UserError: it can't be written.
  """
  path = files.path(published.where) / FILE
  with weights_file.replacing(path) as file:
    file.write(text(published).encode())


def text(published):
  """Returns the model card of `Published` weights."""
  metadata = '\n'.join(_yaml(_metadata(published)))
  title = published.repo.rpartition('/')[2] or published.card.model.name
  parts = [
    f'---\n{metadata}\n---\n\n# {title}',
    _summary(published),
    _section('Origin', _origin(published.card.source)),
    _section('Accuracy', _accuracy(published.card)),
    _section('Preprocessing', _preprocessing(published.card)),
    _section('Not said by the files', published.untold),
    _usage(published),
  ]
  return '\n\n'.join(part for part in parts if part) + '\n'


def results(card):
  """Returns the accuracies that are known of weights.

  Returns:
    [(name of the data set, per cent, what is known of it)].
  """
  source, found = card.source, []
  if not card.num_classes:
    return []
  if _is_number(source.get('accuracy')):
    found.append(('imagenet2012', source['accuracy'], 'as published'))
  evaluated = source.get('evaluated')
  if isinstance(evaluated, dict) and source.get('dataset'):
    accuracy = evaluated.get('accuracy')
    if _is_number(accuracy) and evaluated.get('step') == source.get('step'):
      count = evaluated.get('num_examples')
      of = f', on {count:,} images' if isinstance(count, int) else ''
      found.append(
        (
          _public(source['dataset']),
          100 * accuracy,
          f'measured after training, on the evaluation split{of}',
        )
      )
  return found


# Metadata ---------------------------------------------------------------------


def _metadata(published):
  card, source = published.card, published.card.source
  library, _ = LIBRARIES[published.format]
  task = (
    'image-classification' if card.num_classes else ('image-feature-extraction')
  )
  said = {'library_name': library, **_licence(source.get('licence'))}
  said |= {'pipeline_tag': task, 'tags': [task, library, 'vit_jax']}
  dataset = _DATASETS.get(str(source.get('dataset')))
  if dataset:
    said['datasets'] = [dataset]
  if base := _base_model(source.get('init')):
    said['base_model'] = base
  known = results(card)
  if known:
    said['metrics'] = ['accuracy']
    said['model-index'] = [_model_index(published, known)]
  return said


def _licence(licence):
  """Returns the fields of a licence; {} where none is known."""
  if not licence or not isinstance(licence, str):
    return {}
  if licence.lower() in _LICENCES:
    return {'license': licence.lower()}
  name = re.sub(r'[^a-z0-9.]+', '-', licence.lower()).strip('-.')
  return {'license': 'other', **({'license_name': name} if name else {})}


def _base_model(init):
  """Returns the repository that a training started from, or None."""
  if not isinstance(init, str):
    return None
  address = init if hub.is_address(init) else hub.of_timm(init)
  try:
    return hub.parse(address).repo if address else None
  except hub.HubError:
    return None


def _model_index(published, known):
  name = published.repo.rpartition('/')[2] or published.card.model.name
  return {
    'name': name,
    'results': [
      {
        'task': {'type': 'image-classification'},
        'dataset': {
          'name': dataset,
          'type': _DATASETS.get(dataset, dataset),
        },
        'metrics': [{'type': 'accuracy', 'value': round(accuracy, 2)}],
      }
      for dataset, accuracy, _ in known
    ],
  }


def _yaml(value, indent=''):
  """Returns the lines of YAML in which a table of ours is written."""
  if isinstance(value, dict):
    lines = []
    for key, inner in value.items():
      if isinstance(inner, dict | list):
        deeper = indent if isinstance(inner, list) else f'{indent}  '
        lines += [f'{indent}{key}:', *_yaml(inner, deeper)]
      else:
        lines.append(f'{indent}{key}: {_scalar(inner)}')
    return lines
  lines = []
  for inner in value:
    if isinstance(inner, dict):
      first, *rest = _yaml(inner, f'{indent}  ')
      lines += [f'{indent}- {first.lstrip()}', *rest]
    else:
      lines.append(f'{indent}- {_scalar(inner)}')
  return lines


def _scalar(value):
  if not isinstance(value, str):
    return json.dumps(value)
  value = spelling.shown(value)
  if _BARE.fullmatch(value) and value.lower() not in _NO_TEXT:
    return value
  return json.dumps(value, ensure_ascii=False)


# Text -------------------------------------------------------------------------


def _summary(published):
  card = published.card
  rows, columns = card.image_size
  _, project = LIBRARIES[published.format]
  what = f'classifies images into {card.num_classes:,} classes'
  if not card.num_classes:
    what = 'gives features of images; it has no classes'
  lines = [
    f'{card.model.name}: {what}. It has {published.num_parameters:,} '
    f'parameters and takes {rows} x {columns} pixels.',
  ]
  if card.class_names:
    shown = card.names()
    more = len(shown) - _MAX_NAMES
    listed = ', '.join(map(_code, shown[:_MAX_NAMES]))
    lines.append(
      f'Classes: {listed}{f" and {more:,} more" if more > 0 else ""}.'
    )
  lines.append(
    f'Written by vit_jax {vit_jax.__version__} for {project}; its files are '
    'JSON and safetensors, which run no code.'
  )
  return '\n\n'.join(lines)


def _origin(source):
  lines = []
  if source.get('repository'):
    lines.append(
      f'Converted from {_code(source["repository"])} on the Hugging Face Hub, '
      f'commit {_code(source.get("commit"))}.'
    )
  if source.get('name'):
    lines.append(f'Released as {_code(_public(source["name"]))}.')
  if source.get('dataset'):
    split, count = source.get('train_split'), source.get('num_examples')
    line = f'Trained with vit_jax on {_code(_public(source["dataset"]))}'
    line += f', split {_code(split)}' if split else ''
    line += f', {count:,} images' if isinstance(count, int) else ''
    line += f', up to step {source["step"]:,}' if source.get('step') else ''
    lines.append(f'{line}.')
  if source.get('init'):
    lines.append(f'The training started from {_code(_public(source["init"]))}.')
  if source.get('licence'):
    lines.append(f'Licence: {_code(source["licence"])}.')
  return lines


def _accuracy(card):
  return [
    f'Top-1 on {_code(dataset)}, {how}: {accuracy:.2f} %.'
    for dataset, accuracy, how in results(card)
  ]


def _preprocessing(card):
  prepared = card.preprocessing
  rows, columns = card.image_size
  crop = {
    'central': f'resized to cover {prepared.scale:.4g} times the input, of '
    'which the centre is taken',
    'stretch': 'resized to the input, whatever its shape',
    'letterbox': 'resized to fit into the input and padded',
  }[prepared.crop]
  numbers = {'mean': prepared.mean, 'standard deviation': prepared.std}
  turned = 'are' if prepared.exif_orientation else 'are not'
  return [
    f'Input: {rows} x {columns} pixels, RGB in [0, 1].',
    f'The image is {crop} (crop {prepared.crop}, filter {prepared.resize}).',
    *(
      f'The {name} of each channel: {", ".join(f"{x:.6g}" for x in values)}.'
      for name, values in numbers.items()
    ),
    f'Images {turned} turned as their EXIF orientation says.',
  ]


def _usage(published):
  folder = pathlib.PurePosixPath(str(published.where)).name
  names = {'timm': f'local-dir:{folder}', 'huggingface': f'./{folder}'}
  here, extra = folder, ''
  if published.repo:
    names = {'timm': f'hf-hub:{published.repo}', 'huggingface': published.repo}
    here, extra = f'{hub.SCHEME}{published.repo}', '[hub]'
  classifies = published.card.num_classes
  code = _USAGE[published.format].format(
    name=names[published.format],
    kind='AutoModelForImageClassification' if classifies else 'AutoModel',
  )
  _, project = LIBRARIES[published.format]
  return (
    f'## Usage\n\nIn {project}:\n\n```python\n{code}\n```\n\nIn vit_jax:\n\n'
    f"```sh\npip install 'vit_jax{extra}'\n"
    f'vit_jax predict --checkpoint={here} --input=image.jpg'
    f'{"" if classifies else " --features=features.npy"}\n```'
  )


def _section(title, lines):
  """Returns a section; '' where there is nothing to say."""
  if not lines:
    return ''
  return f'## {title}\n\n' + '\n'.join(f'- {line}' for line in lines)


def _code(value):
  """Returns a stranger's text as code, which Markdown leaves as it is."""
  shown = errors.shown(spelling.shown(value)).replace('`', "'")
  return f'`{shown}`'


def _public(name):
  """Returns a name; of a path, only its last part is for others to see."""
  name = str(name)
  is_path = name.startswith(('/', '~', '.')) or files.is_remote(name)
  if not is_path or hub.is_address(name):
    return name
  return name.rstrip('/').rpartition('/')[2]


def _is_number(value):
  return type(value) in (int, float)
