"""What is imported is declared, and what is declared is imported."""

import ast
import importlib.metadata
import pathlib
import re
import subprocess
import sys

from packaging import requirements

import vit_jax

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = pathlib.Path(vit_jax.__file__).parent
# Distributions that are called otherwise than what one imports.
IMPORTED_AS = {
  'absl-py': 'absl',
  'fonttools': 'fontTools',
  'google-auth': 'google.auth',
  'google-cloud-storage': 'google.cloud',
  'google-crc32c': 'google_crc32c',
  'huggingface-hub': 'huggingface_hub',
  'ml-collections': 'ml_collections',
  'ml-dtypes': 'ml_dtypes',
  'opencv-python-headless': 'cv2',
  'orbax-checkpoint': 'orbax',
  'orbax-export': 'orbax',
  'pillow': 'PIL',
  'pyyaml': 'yaml',
  'scikit-learn': 'sklearn',
  'tensorboardx': 'tensorboardX',
}
# Declared for others that import them without saying so, or by name:
# each with a comment where it is declared.
NOT_IMPORTED = {'importlib_resources'}
# Of extras: what fsspec and orbax import for a scheme, what brings a plugin,
# what jax.export and jax2onnx import.
OF_EXTRAS = {'gcsfs', 's3fs', 'google.cloud', 'jax', 'flatbuffers', 'onnx'}
# JAX and moto never come without these; where boto3 is asked for by itself, pip
# tries each of its daily releases against what others want of it.
WITH_OTHERS = {'boto3', 'jaxlib'}


def imported(folder):
  """Returns the packages of others that the code in a folder imports."""
  found = set()
  for path in folder.rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        names = [f'{node.module}.{alias.name}' for alias in node.names]
      else:
        continue
      for name in names:
        parts = name.split('.')
        found.add('.'.join(parts[: 2 if parts[0] == 'google' else 1]))
  return found - sys.stdlib_module_names - {'vit_jax'}


def lines():
  text = (ROOT / 'requirements.txt').read_text()
  return [line for line in text.splitlines() if line.strip()]


def declared(texts):
  """Returns {what one imports: requirement}."""
  found = {}
  for text in texts:
    each = requirements.Requirement(text.partition('#')[0].strip())
    name = re.sub('[-_.]+', '-', each.name).lower()
    found[IMPORTED_AS.get(name, name.replace('-', '_'))] = each
  return found


def extras():
  """Returns {extra: its requirements} as setup.py has them."""
  tree = ast.parse((ROOT / 'setup.py').read_text())
  (found,) = [
    keyword.value
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
    for keyword in node.keywords
    if keyword.arg == 'extras_require'
  ]
  return ast.literal_eval(found)


CORE = declared(lines())
OF_USERS = {
  name: declared(texts)
  for name, texts in extras().items()
  if name not in ('test', 'parity', 'docs', 'notebooks')
}


def test_everything_that_is_imported_is_declared():
  known = {*CORE}.union(*OF_USERS.values())
  assert imported(PACKAGE) - known == set()


def test_everything_that_is_declared_is_imported_or_says_why_not():
  found = imported(PACKAGE)
  assert CORE.keys() - found == NOT_IMPORTED
  for line in lines():
    if re.match('[a-z_]+', line)[0] in NOT_IMPORTED:
      assert '#' in line
  for name, each in OF_USERS.items():
    assert each.keys() - found - OF_EXTRAS == set(), name


def test_every_requirement_has_a_lower_bound_that_is_met_here():
  for each in CORE.values():
    assert any(spec.operator == '>=' for spec in each.specifier), each
    installed = importlib.metadata.version(each.name)
    assert each.specifier.contains(installed, prereleases=True), each


def test_extras_of_the_tests_hold_what_the_tests_import():
  known = {*CORE, *WITH_OTHERS, '_pytest'}
  for texts in extras().values():
    known |= declared(texts).keys()
  own = {path.stem for path in (ROOT / 'tests').rglob('*.py')}
  own |= {path.name for path in ROOT.iterdir()}
  own |= {path.stem for path in (ROOT / 'benchmarks').glob('*.py')}
  assert imported(ROOT / 'tests') - known - own == set()


SLOW = ('tensorflow', 'tensorflow_datasets', 'pyarrow', 'sklearn')
USED = (
  *('api.loading', 'api.training', 'training.train', 'evaluation.evaluate'),
  *('weights.convert', 'inference.predict', 'paper.reproduce'),
)


def test_what_few_use_is_imported_once_it_is_used():
  code = (
    f'import sys; import {", ".join(f"vit_jax.{name}" for name in USED)}; '
    f'print([name for name in {SLOW} if name in sys.modules])'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout == '[]\n'
