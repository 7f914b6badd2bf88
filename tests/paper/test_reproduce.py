"""`vit_jax reproduce`: what needs no data is computed, the rest is told."""

import pathlib
import re

import numpy as np
import PIL.Image
import pytest

import vit_jax
from vit_jax import errors, models, pytrees
from vit_jax.cli import main
from vit_jax.config import schema
from vit_jax.paper import (
  measure,
  methods,
  report,
  reproduce,
  targets,
  vit_tables,
)
from vit_jax.training import sweep
from vit_jax.weights import loading, mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import vit

ROOT = pathlib.Path(vit_jax.__file__).parents[1]


def said(*arguments, **options):
  texts = []
  reproduce.run(*arguments, **options, say=texts.append)
  return '\n'.join(texts)


def rows(text):
  """Returns {(row, column): (paper, ours, difference)} of what was said."""
  found = re.findall(
    r'^\| (.*) \| (.*) \| (.*) \| (.*) \| (.*) \|$', text, re.M
  )
  return {tuple(line[:2]): line[2:] for line in found}


# What needs no data ---------------------------------------------------------


def test_table_1_is_that_of_the_paper_to_a_hundredth():
  found = rows(said('table1'))
  assert len(found) == 15
  for (_, column), (_, ours, difference) in found.items():
    if column == 'Parameters':
      assert abs(float(re.search(r'([-+.\d]+) %', difference)[1])) < 1
    else:
      assert (difference, ours.isdecimal()) == ('0', True)


@pytest.mark.parametrize('name', ['table3', 'table4'])
def test_recipes_have_the_hyperparameters_that_are_printed(name):
  found = rows(said(name))
  assert len(found) == len(targets.TARGETS[name].table.cells)
  assert {difference for _, _, difference in found.values()} == {'0'}


@pytest.mark.parametrize('row', ['B/16, 7', 'L/16, 14', 'H/14, 14'])
def test_the_compute_of_table_6_is_right_to_a_thousandth(row):
  text = said('table6', cells=f'{row}, *')
  (found,) = rows(text).values()
  paper, ours, _ = found
  assert paper == vit_tables.TABLE_6.cells[row, 'exaFLOPs'].text
  # The paper rounds to whole exaFLOPs.
  beyond = max(0, abs(float(ours) - float(paper)) - 0.5)
  assert beyond <= 0.001 * float(paper)
  assert '6 numbers: refused: JFT-300M is not public' in text


def test_a_misprint_is_told_in_its_row():
  found = rows(said('table6', cells='R50+L/16, *, exaFLOPs'))
  short, long = (found[f'R50+L/16, {epochs}', 'exaFLOPs'] for epochs in (7, 14))
  assert float(long[1]) == pytest.approx(2 * float(short[1]), rel=1e-3)
  assert float(long[1]) == pytest.approx(float(long[0]), rel=0.01)
  assert short[2].endswith('that it prints for twice the epochs is 834')
  assert 'a misprint of the paper' in short[2] and 'misprint' not in long[2]


def test_core_days_of_table_2_are_of_the_order_of_the_papers():
  found = rows(said('table2', cells='TPUv3-core-days, *'))
  assert found.keys() == {
    ('TPUv3-core-days', model)
    for model in ('H/14 JFT', 'L/16 JFT', 'L/16 I21k')
  }
  for _, _, difference in found.values():
    assert abs(float(re.search(r'([-+.\d]+) %', difference)[1])) < 20


def test_what_needs_data_is_told_to_need_a_folder():
  found = rows(said('table9', cells='Mean, L/16 I21k'))
  assert found['Mean', 'L/16 I21k'] == (
    '72.7',
    '',
    'ready: give --workdir=FOLDER',
  )


# What there is --------------------------------------------------------------


def test_every_table_and_figure_has_a_row_with_a_state():
  lines = said('all', dry_run=True).splitlines()
  names = [line.split('`')[1] for line in lines if line.startswith('| `')]
  assert names == list(targets.TARGETS)
  wanted = {f'table{number}' for number in range(1, 10)}
  wanted |= {f'figure{number}' for number in range(1, 15)}
  assert set(names) >= wanted | {'augreg-table3'}
  for line in lines[2 : 2 + len(names)]:
    assert re.search(r'reproduced|ready|refused|plotted|drawing', line), line


def test_the_page_shows_what_all_dry_run_prints(capsys):
  assert main.main(['reproduce', 'all', '--dry-run']) == 0
  printed = capsys.readouterr().out.strip()
  page = (ROOT / 'docs/reproduce.md').read_text()
  (shown,) = re.findall(
    r'<!-- reproduce -->\n(.*?)\n<!-- /reproduce -->', page, re.S
  )
  assert shown.strip() == printed, (
    'Put what `vit_jax reproduce all --dry-run` prints between the markers '
    'in docs/reproduce.md.'
  )


def test_every_way_names_what_exists():
  for target in targets.TARGETS.values():
    assert (
      target.table is None or target.methods.keys() == target.table.cells.keys()
    )
    report.runs_of(target)  # Recipes are read, names looked up.


def test_no_number_of_jft_is_called_ready():
  for name, target in targets.VIT.items():
    for (row, column), method in target.methods.items():
      if 'JFT' in f'{row} {column}' and name not in ('table3',):
        is_arithmetic = isinstance(method, methods.Computed)
        assert is_arithmetic or isinstance(method, methods.Refused), (name, row)
        assert is_arithmetic or method.reason.startswith('JFT-300M')


def test_a_dry_run_lists_runs_their_cost_data_and_files():
  text = said('table9', dry_run=True)
  assert text.count('vit_jax sweep --config=configs/finetune/transfer.py') == 19
  assert '40 refused (JFT-300M is not public' in text
  assert '- vtab/dtd: missing; `vit_jax prepare vtab/dtd` gets it' in text
  assert '- gs://vit_models/imagenet21k/ViT-L_16.npz, 1,246 MiB' in text
  assert re.search(r'\| 3 \| 4\.4 \| 3\.1 \| vtab/dtd, gs://', text)


@pytest.mark.parametrize(
  'cells, dataset, others',
  [
    ('I21k CIFAR-10, B/16', 'cifar10', ('cifar100', 'ImageNet', 'L_16')),
    ('I21k Pets, *', 'oxford_iiit_pet', ('cifar', 'pretrain', 'JFT')),
  ],
)
def test_a_dry_run_lists_the_chosen_cells_alone(cells, dataset, others):
  text = said('table5', dry_run=True, cells=cells)
  assert f'transfer.py:dataset={dataset},' in text
  assert f'- {dataset}: missing' in text
  for other in others:
    assert other not in text.partition('\n')[2]
  overview = said('all', dry_run=True, cells=cells)
  assert overview.count('| `') == 1 and dataset in overview


def test_a_dry_run_counts_what_is_overridden_and_says_so(photos):
  cell = {'dry_run': True, 'cells': 'I21k CIFAR-10, B/16'}
  assert '| 7 | 12 |' in said('table5', **cell)
  overrides = ('--config.run.num_steps=10', '--config.mesh.fsdp=2')
  text = said('table5', **cell, overrides=overrides)
  assert '| 7 | 0.012 |' in text and ' '.join(overrides) in text
  told = 'Not the settings of the paper: run.num_steps=10 (its recipe: 10000).'
  assert told in text
  text = said(
    'table5',
    **cell,
    overrides=(
      '--config.data.source=folder',
      f'--config.data.dataset={photos}',
      '--config.init=elsewhere.npz',
    ),
  )
  assert f'- {photos}: yours' in text
  assert 'elsewhere.npz: not a file here' in text and 'ViT-B_16.npz' not in text


def test_vtab_in_full_is_fine_tuned_from_augreg_s_weights():
  found = targets.TARGETS['augreg-table5'].methods
  method = found['KITTI-Dist', 'R26+S/32']
  assert method.recipe.endswith('dataset=vtab_full/kitti,variant=R26+ViT-S/32')
  assert method.start == 'augreg/R26_S_32'
  assert found['Specialized mean', 'B/16'].parts == tuple(
    found[row, 'B/16']
    for row in ('Camelyon', 'EuroSAT', 'Resisc45', 'Retinopathy')
  )
  (run,) = report.costs.runs(method)
  # Four rates at two numbers of steps, and three seeds.
  assert (run.count, run.datasets) == (4 * 2 + 3, ('vtab_full/kitti',))


def test_a_dry_run_of_what_takes_nothing_is_a_line():
  assert said('table7', dry_run=True).endswith(
    'refused (JFT-300M is not public; instead: make miniature)'
  )


@pytest.mark.parametrize(
  'arguments, message',
  [
    (
      ('table10',),
      "What to reproduce='table10' is unknown. Did you mean table1",
    ),
    (('figure',), 'Did you mean figure'),
    (('table1', False, None, 'B/16'), "ROW, COLUMN, such as 'ViT-B, Layers'"),
    (('table1', True, None, 'ViT-B, Width '), 'Did you mean ViT-B, Width'),
    (('table5', True, None, 'I21k CIFAR10, B/16'), 'mean I21k CIFAR-10, B/16'),
    (('all', True, None, 'I21k Flowers'), 'matches none of all'),
    (
      ('augreg-table5', True, None, '*', ('--config.run.num_steps=3',)),
      'num_steps=3 has no effect: each run of the grid sets run.num_steps',
    ),
  ],
)
def test_what_there_is_not_is_told(arguments, message):
  with pytest.raises(errors.UserError, match=message):
    reproduce.run(*arguments)


# What is run ----------------------------------------------------------------

SIZES = {'width': 16, 'depth': 1, 'num_heads': 2, 'mlp_dim': 16}
SIDE, CLASSES = 32, 3


@pytest.fixture
def pretrained(tmp_path):
  """Returns a file with the names of imagenet21k/ViT-B_16, but small."""
  model = schema.default().model
  model.update(name='ViT-B/16', head='pre_logits', **SIZES)
  shapes = pytrees.flatten(
    models.params_of(models.build(model, 7), (2 * SIDE, 2 * SIDE))
  )
  draw = np.random.default_rng(0)
  flat = {
    path: 0.3 * draw.standard_normal(leaf.shape, np.float32)
    for path, leaf in shapes.items()
  }
  npz.save(tmp_path / 'ViT-B_16.npz', mapping.to_theirs(flat, vit.rows()))
  return tmp_path / 'ViT-B_16.npz'


@pytest.fixture
def photos(tmp_path):
  """Returns a folder of images, photos/<split>/<class>/<image>."""
  draw = np.random.default_rng(0)
  for split, count in ('train', 10), ('test', 4):
    for label in range(CLASSES):
      folder = tmp_path / 'photos' / split / f'class_{label}'
      folder.mkdir(parents=True)
      for number in range(count):
        # Dark to bright, but not by much: some are mistaken.
        image = draw.integers(0, 150, (SIDE, SIDE, 3)) + 40 * label
        PIL.Image.fromarray(image.astype(np.uint8)).save(
          folder / f'{number}.png'
        )
  return tmp_path / 'photos'


def accuracy_by_hand(run, photos):
  """Returns the fraction of the test images that a run's model gets right."""
  model, params = loading.load(loading.find(str(run)), (SIDE, SIDE))
  paths = sorted(photos.glob('test/*/*.png'))
  pixels = np.stack([np.asarray(PIL.Image.open(path)) for path in paths])
  images = pixels.astype(np.float32) / 127.5 - 1
  logits = model.apply({'params': params}, images, train=False).logits
  labels = [int(path.parent.name.removeprefix('class_')) for path in paths]
  return float(np.mean(np.argmax(np.asarray(logits), axis=-1) == labels))


def test_table_5_runs_from_released_weights_to_a_number(
  pretrained, photos, tmp_path, capsys, monkeypatch
):
  command = [
    'reproduce',
    'table5',
    f'--workdir={tmp_path / "work"}',
    '--cells=I21k CIFAR-10, B/16',
    f'--config.init={pretrained}',
    '--config.data.source=folder',
    f'--config.data.dataset={photos}',
    f'--config.data.resolution={SIDE}',
    *(f'--config.model.{name}={size}' for name, size in SIZES.items()),
    '--config.run.num_steps=10',
    '--config.optimizer.warmup_steps=1',
    '--config.run.batch_size=8',
  ]
  assert main.main(command) == 0
  (found,) = rows(capsys.readouterr().out).items()
  cell, (paper, ours, difference) = found
  assert cell == ('I21k CIFAR-10', 'B/16') and paper == '98.95'
  mean, _, deviation = ours.partition('±')
  assert 0 <= float(mean) <= 100 and float(deviation) >= 0
  assert float(difference.partition(' ')[0]) == pytest.approx(
    float(mean) - 98.95, abs=0.006
  )
  # Twelve images in three runs: the mean is a multiple of a 36th.
  assert float(mean) * 36 / 100 == pytest.approx(
    round(float(mean) * 36 / 100), abs=0.01
  )

  assert difference.endswith('not the settings of the paper [1]')

  # The three runs, each evaluated here without the project's pipeline.
  accuracies = [
    100 * accuracy_by_hand(folder, photos)
    for folder in (tmp_path / 'work').glob('runs/*/final/*/seed=*')
  ]
  assert len(accuracies) == 3
  assert float(mean) == pytest.approx(sum(accuracies) / 3, abs=0.006)
  assert float(deviation) == pytest.approx(
    np.std(accuracies, ddof=1), abs=0.006
  )

  monkeypatch.setattr(sweep, 'run', None)  # What is done is not done again.
  assert main.main(command) == 0
  page = capsys.readouterr().out
  assert rows(page)[cell] == (paper, ours, difference)
  (note,) = re.findall(r'^\[1\] Does not compare: (.*)\.$', page, re.M)
  changed = dict(
    text.partition(' (its recipe: ')[::2] for text in note.split('; ')
  )
  assert changed['run.num_steps=10'] == '10000)'
  assert changed['data.resolution=(32,)'] == '(384,))'
  assert changed['model.width=16'] == 'None)'
  assert changed[f'data.dataset={photos}'] == 'cifar10)'


def test_what_is_missing_is_told_in_the_cell(tmp_path):
  found = rows(
    said(
      'table5',
      workdir=tmp_path,
      cells='I21k CIFAR-10, B/16',
      overrides=(
        '--config.init=nowhere.npz',
        '--config.data.source=folder',
        f'--config.data.dataset={tmp_path / "photos"}',
      ),
    )
  )
  difference = found['I21k CIFAR-10', 'B/16'][2]
  assert difference.startswith('missing: ') and 'photos' in difference


@pytest.mark.parametrize(
  'arguments, status',
  [
    (['table1'], 0),
    (['table6', '--cells=B/16, *'], 0),  # Refused: nobody can have it.
    (['table9', '--cells=*I21k'], 1),  # Ready, and not there.
    (['figure6', '--workdir=work'], 1),
    (['table9', '--dry-run'], 0),
    (['table5', '--cells=I21k CIFAR-10, X/16'], 2),
  ],
)
def test_the_status_tells_whether_a_number_is_missing(
  arguments, status, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert main.main(['reproduce', *arguments]) == status


def test_a_figure_without_some_of_its_images_is_not_whole(
  tmp_path, monkeypatch
):
  context = measure.Context(tmp_path, images='photos')
  method = methods.Drawn('rollout', 'imagenet21k/ViT-L_16', images=1)
  for status, is_missing in (0, False), (1, True):
    monkeypatch.setattr(
      measure.analyze, 'run', lambda *_, status=status: status
    )
    found = measure.measure(method, context)
    assert found.is_missing is is_missing and 'plotted in' in found.text


def test_a_figure_of_images_asks_for_them(tmp_path):
  found = rows(said('figure6', workdir=tmp_path))
  assert found['rollout', ''][2] == 'missing: --input=IMAGES'


def test_a_mean_is_that_of_its_parts_and_lacks_what_one_of_them_lacks():
  parts = tuple(
    methods.Computed(lambda value=value: value) for value in (1.0, 4.0)
  )
  context = measure.Context(pathlib.Path('nowhere'))
  assert measure.measure(methods.Averaged(parts), context).value == 2.5
  lacking = methods.Averaged((*parts, methods.Refused('it is gone')))
  assert measure.measure(lacking, context).text == 'refused: it is gone'


def test_a_mean_of_changed_settings_is_marked(monkeypatch):
  results = iter(
    [
      measure.Result(1.0, changed=('a=1', 'b=1')),
      measure.Result(2.0, changed=('a=1',)),
      measure.Result(3.0),
    ]
  )
  monkeypatch.setattr(measure, 'measure', lambda *_: next(results))
  averaged = methods.Averaged((None, None, None))
  found = measure._averaged(averaged, measure.Context())
  assert found == measure.Result(2.0, changed=('a=1', 'b=1'))


def test_results_are_kept_by_all_that_they_depend_on(tmp_path, monkeypatch):
  monkeypatch.setattr(
    sweep, 'run', lambda *_, **__: [{'accuracy': 0.5, 'accuracy_std': 0.1}]
  )
  method = targets.TARGETS['table5'].methods['I21k Pets', 'B/32']

  def go(*overrides):
    data = ('--config.data.source=synthetic', '--config.data.num_classes=37')
    measure.measure(method, measure.Context(tmp_path, (*data, *overrides)))
    return len((tmp_path / measure.FILE).read_text().splitlines())

  assert go() == 1
  assert go() == 1
  assert go('--config.mesh.fsdp=2') == 1  # Computes the same.
  assert go('--config.run.num_steps=7') == 2
