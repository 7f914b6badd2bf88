"""The notebooks run from the first cell to the last, on small input.

A cell is run as Jupyter would: what its last line amounts to is shown.
"""

import ast
import csv
import json
import pathlib

import numpy as np
import pytest
from matplotlib import pyplot

from vit_jax import models, pytrees
from vit_jax.config import schema
from vit_jax.weights import mapping
from vit_jax.weights.catalog import augreg
from vit_jax.weights.files import npz
from vit_jax.weights.tables import vit

FOLDER = pathlib.Path(__file__).parents[1] / 'notebooks'
NAMES = sorted(path.stem for path in FOLDER.glob('*.ipynb'))


def cells(name, kind='code'):
  """Returns [(source, tags)] of the cells of a kind."""
  notebook = json.loads((FOLDER / f'{name}.ipynb').read_text())
  return [
    (''.join(cell['source']), cell['metadata'].get('tags', []))
    for cell in notebook['cells']
    if cell['cell_type'] == kind
  ]


def run(name, **parameters):
  """Runs a notebook with other parameters; returns what its cells show."""
  scope, shown = {'__name__': '__main__'}, []
  for source, tags in cells(name):
    tree = ast.parse(source, name)
    last = None
    if isinstance(tree.body[-1], ast.Expr) and not source.endswith(';'):
      last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, name, 'exec'), scope)
    if last is not None:
      value = eval(compile(last, name, 'eval'), scope)
      shown += [] if value is None else [value]
    if 'parameters' in tags:
      assert parameters.keys() <= scope.keys()
      scope.update(parameters)
  return shown


def save(path, name, num_classes, side):
  """Writes a small random model with released names."""
  config = schema.default()
  config.model.update(name=name, width=16, depth=2, num_heads=2, mlp_dim=32)
  model = models.build(config.model, num_classes)
  shapes = pytrees.flatten(models.params_of(model, (side, side)))
  noise = np.random.default_rng(0)
  flat = {
    path: 0.2 * noise.standard_normal(leaf.shape, np.float32)
    for path, leaf in shapes.items()
  }
  npz.save(path, mapping.to_theirs(flat, vit.rows()))
  return str(path)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
  """Runs in an empty folder, and leaves no picture behind."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('MPLBACKEND', 'agg')
  yield
  pyplot.close('all')


def are_pictures(shown):
  return [getattr(item, 'width', 0) > 300 for item in shown]


def test_quickstart_classifies_and_fine_tunes(tmp_path, capsys):
  shown = run(
    'quickstart',
    CLASSIFIER=save(tmp_path / 'a.npz', 'ViT-B/32', 1000, 64),
    START=save(tmp_path / 'b.npz', 'ViT-Ti/4', 7, 32),
    NUM_DIGITS=150,
    RESOLUTION=16,
    NUM_STEPS=20,
    WORKDIR=str(tmp_path / 'workdir'),
  )
  output = capsys.readouterr().out
  assert are_pictures(shown) == [True] * 3  # A photograph and those of a run.
  assert 'china.jpg' in output and 'logits (1, 1000)' in output
  assert '% of the test images are right' in output
  assert (tmp_path / 'workdir/digits/test/9/0149.png').exists()


def test_look_inside_draws_the_figures(tmp_path, capsys):
  shown = run(
    'look_inside',
    CHECKPOINT=save(tmp_path / 'a.npz', 'ViT-B/16', 7, 64),
    RESOLUTION=(48, 64),
    WORKDIR=str(tmp_path / 'workdir'),
  )
  output = capsys.readouterr().out
  assert are_pictures(shown) == [True] * 4
  assert 'layer  2: heads look' in output
  assert 'china.jpg (3, 4)' in output


def write_index(path):
  """Writes an index.csv like AugReg's; upstream, 0.1 of weight decay wins."""
  columns = (
    *('name', 'ds', 'epochs', 'lr', 'aug', 'wd', 'do', 'sd', 'final_val'),
    *('adapt_ds', 'adapt_lr', 'adapt_steps', 'adapt_resolution'),
    *('adapt_final_val', 'adapt_final_test', 'infer_samples_per_sec'),
    *('filename', 'adapt_filename'),
  )
  with open(path, 'w', newline='') as file:
    table = csv.DictWriter(file, columns)
    table.writeheader()
    for number, model in enumerate(('R26_S_32', 'B_16')):
      for data in 'i1k', 'i21k':
        for decay in 0.03, 0.1:
          for side in 224, 384:
            row = _index_row(model, data, decay, side, 0.4 + 0.1 * number)
            table.writerow(row)
  return str(path)


def _index_row(model, data, decay, side, score):
  file = f'{model}-{data}-300ep-lr_0.001-aug_light1-wd_{decay}-do_0.0-sd_0.0'
  tuned = f'{file}--imagenet2012-steps_20k-lr_0.01-res_{side}'
  return {
    'name': model.replace('_S_', '+S/'),
    'ds': data,
    'epochs': 300,
    'lr': 0.001,
    'aug': 'light1',
    'wd': decay,
    'do': 0.0,
    'sd': 0.0,
    'final_val': score + decay,
    'adapt_ds': 'imagenet2012',
    'adapt_lr': 0.01,
    'adapt_steps': 20_000,
    'adapt_resolution': side,
    'adapt_final_val': 0.8 + decay,
    'adapt_final_test': 0.79 + decay,
    'infer_samples_per_sec': 1e5 / side,
    'filename': f'{augreg.ADDRESS}/{file}.npz',
    'adapt_filename': f'{augreg.ADDRESS}/{tuned}.npz',
  }


def test_augreg_is_explored_by_its_index(tmp_path, capsys):
  run('augreg', INDEX=write_index(tmp_path / 'index.csv'))
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == '16 fine-tuned models of 8 pre-trained ones'
  assert 'B_16      60.0%  aug light1, wd 0.1, do 0.0' in lines
  assert 'R26_S_32  50.0%  aug light1, wd 0.1, do 0.0' in lines
  assert 'advised 90.00%, the best of all 90.00%' in lines
  assert lines[-2:] == ['ViT-B/16', '1000']
  assert lines[-4].startswith(
    'augreg/B_16-i21k-300ep-lr_0.001-aug_light1-wd_0.1'
  )
  assert lines[-4].endswith('-res_384')
  assert len(pyplot.get_fignums()) == 3


def test_tables_are_made_again(capsys):
  overview, sizes, compute, plan, transfer, figure = run(
    'tables',
    OVERVIEW='table4',
    PLAN='figure7',
    COMPUTE='B/32, 7, exaFLOPs',
    TRANSFER='I21k ImageNet, B/32',
  )
  assert overview.startswith('## table4')
  assert '| ViT-B | Width | 768 | 768 | 0 |' in sizes._repr_markdown_()
  assert '| B/32, 7 | exaFLOPs | 55 | 56' in compute
  assert 'gs://vit_models/imagenet21k/ViT-L_32.npz' in plan
  for waiting in transfer, figure:
    assert 'ready: give --workdir=FOLDER' in waiting
  assert len(pyplot.get_fignums()) == 1


@pytest.mark.parametrize('name', NAMES)
def test_no_output_is_kept(name):
  notebook = json.loads((FOLDER / f'{name}.ipynb').read_text())
  for cell in notebook['cells']:
    if cell['cell_type'] == 'code':
      assert cell['outputs'] == []
      assert cell['execution_count'] is None


@pytest.mark.parametrize('name', NAMES)
def test_parameters_come_first_and_once(name):
  tags = [tags for _, tags in cells(name)]
  assert tags == [['parameters'], *([[]] * (len(tags) - 1))]


@pytest.mark.parametrize('name', NAMES)
def test_links_lead_to_notebooks_that_exist(name):
  for text, _ in cells(name, 'markdown'):
    for target in text.split('](')[1:]:
      target = target.partition(')')[0]
      assert target.startswith('https://') or (FOLDER / target).exists()
