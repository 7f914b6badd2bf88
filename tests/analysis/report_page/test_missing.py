"""What a run has not is left out or said, and what is damaged is told."""

import json
import shutil

import numpy as np
import pytest

from vit_jax import errors
from vit_jax.analysis import report_page
from vit_jax.analysis.report_page import history, logs
from vit_jax.config import recipes
from vit_jax.training.runtime import lock, metrics_file, process_log, timings

STAMP = '2026-05-17T09:30:00.000+00:00 host process 0: '


def test_a_run_of_which_nothing_is_there_yet(bare, browser_page, capsys):
  workdir = bare()
  page = browser_page(report_page.run(workdir))
  text = page.locator('main').text_content()
  assert 'No metrics have been logged yet' in text
  assert 'has no checkpoint yet' in text
  assert 'no timings.jsonl' in text and 'no logs' in text
  assert page.locator('#confusion, #mistakes, #bad, .tiles').count() == 0


def test_no_folder_of_a_run_is_one_line(tmp_path):
  with pytest.raises(errors.UserError, match=r'holds no run.*config\.json'):
    report_page.run(tmp_path)


def test_without_an_evaluation_it_says_so(run):
  found = report_page.collect(run, evaluate=False)
  assert found['classes'] == {'reason': 'The evaluation was left out.'}
  assert found['confusion'] is found['mistakes'] is None
  assert len(found['curves']) >= 4


def test_a_sample_is_said_to_be_one(run):
  found = report_page.collect(run, num_images=7)
  assert '7 labelled images of 15' in found['classes']['told']
  assert 'drawn at random' in found['classes']['told']
  assert sum(found['confusion']['totals']) == 7


def test_masked_patches_have_no_classes(bare):
  found = report_page.collect(bare(objective__name='masked_patches'))
  assert 'masked_patches' in found['classes']['reason']


def test_data_that_have_moved_are_told_and_the_rest_is_there(run, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(run, workdir)
  text = (workdir / recipes.FILE).read_text()
  data = json.loads(text)['data']['dataset']
  (workdir / recipes.FILE).write_text(text.replace(data, '/gone/data'))
  found = report_page.collect(workdir)
  assert '/gone/data' in found['classes']['reason']
  assert any('/gone/data' in each for each in found['data']['problems'])
  assert found['curves'] and found['environment']


def test_damaged_files_are_told_and_the_good_lines_drawn(run, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(run, workdir)
  for name in metrics_file.FILE, timings.FILE:
    lines = (workdir / name).read_text().splitlines()
    lines.insert(1, '{"step": 1, "split": "tr')
    (workdir / name).write_text('\n'.join(lines) + '\n')
  (workdir / 'card.json').write_text('{')
  found = report_page.collect(workdir)
  first, second = found['problems']
  assert 'metrics.jsonl, line 2 is not a line of metrics' in first
  assert 'timings.jsonl: 1 line(s)' in second
  assert 'card.json' in found['classes']['reason']
  whole = report_page.collect(run, evaluate=False)
  assert json.dumps(found['curves']) == json.dumps(whole['curves'])


def test_a_damaged_configuration_is_told(bare):
  workdir = bare()
  (workdir / recipes.FILE).write_text('{"run": ')
  found = report_page.collect(workdir)
  assert 'is not the config.json of a run' in found['problems'][0]
  assert found['config'] == []


@pytest.mark.parametrize(
  'ending, kind',
  [
    ([], 'stopped'),
    (['end: Stopped after step 3 of 10.'], 'stopped'),
    (['end: done'], 'finished'),
  ],
)
def test_the_state_of_a_run(bare, ending, kind):
  workdir = bare()
  (workdir / process_log.FOLDER).mkdir()
  lines = ['vit_jax 0.1.0, jax 0.10', *ending]
  text = ''.join(f'{STAMP}{line}\n' for line in lines)
  process_log.path(workdir, 0).write_text(text)
  said = logs.read(workdir)
  past = history.read(workdir, said)
  found = history.state(workdir, past, said)
  assert found['kind'] == kind
  assert found.get('note', 'done') in [line[5:] for line in ending] + ['done']
  with lock.hold(workdir):
    assert history.state(workdir, past, said)['kind'] == 'running'
  assert history.state(workdir, past, said)['kind'] == kind


def test_long_curves_keep_their_extremes(bare):
  rng = np.random.default_rng(0)
  values = rng.normal(size=20_001) + 5
  values[[7, 9_000]] = 50.0, -50.0
  records = [
    {'step': step, 'split': 'train', 'loss': value}
    for step, value in enumerate(values.tolist(), 1)
  ]
  records[123]['loss'] = None
  found = report_page.collect(bare(records), evaluate=False)
  (series,) = found['curves'][0]['series']
  assert len(series['steps']) <= history.MAX_POINTS < series['total'] == 20_001
  assert series['steps'][0] == 1 and series['steps'][-1] == 20_001
  assert list(series['steps']) == sorted(set(series['steps']))
  assert {50.0, -50.0} <= set(series['values'])
  for step, value in zip(series['steps'], series['values']):
    assert value == values[step - 1]


def timed(event, step, time, useful, **values):
  record = {'event': event, 'step': step, 'time': time}
  return {**record, 'useful_seconds': useful, **values}


def test_time_adds_up_and_lost_steps_do_not_count(bare):
  rows = [
    {'event': 'start', 'time': 100.0},
    timed('train', 5, 110.0, 5.0, data_wait=1.0, images_per_second=8.0),
    timed('save', 5, 111.0, 5.0),
    timed('train', 10, 120.0, 9.0, data_wait=2.0, evaluation=3.0),
    {'event': 'start', 'time': 200.0},  # It was killed, and resumed at 5.
    timed('train', 10, 210.0, 10.0, data_wait=0.5, evaluation=4.0),
    timed('end', 10, 220.0, 10.0, save=2.0, data_wait=0.0),
  ]
  found = report_page.collect(bare(timed=rows), evaluate=False)['time']
  parts = {part['name']: part['seconds'] for part in found['parts']}
  assert found['total'] == 120.0 == sum(parts.values())
  assert parts == {
    'Training steps': 8.5,
    'Steps waiting for data': 1.5,
    'Evaluations': 4.0,
    'Saving checkpoints': 2.0,
    'Start-up, compilation, lost steps, pauses': 104.0,
  }


def test_many_warnings_are_counted_and_bounded(bare):
  workdir = bare()
  (workdir / process_log.FOLDER).mkdir()
  said = ['vit_jax 0.1.0', *(['UserWarning: again (a.py:1)'] * 3)]
  said += [f'WARNING: a: number {n}' for n in range(logs.MAX_WARNINGS + 5)]
  lines = [
    STAMP.replace('09:30:00', f'09:{n // 60:02}:{n % 60:02}') + text
    for n, text in enumerate(said)
  ]
  process_log.path(workdir, 0).write_text('\n'.join(lines))
  process_log.path(workdir, 7).write_text(
    STAMP.replace('process 0', 'process 7').replace('09:', '10:')
    + 'end: an error, as above'
  )
  found = logs.warnings(logs.read(workdir))
  assert len(found['rows']) == logs.MAX_WARNINGS
  assert found['num_left_out'] == 7
  assert found['rows'][0]['process'] == 7
  assert found['rows'][1]['text'].endswith(f'number {logs.MAX_WARNINGS + 4}')


def test_ten_thousand_classes_fit(run, monkeypatch):
  """And of the matrix, the most confused are shown."""
  from vit_jax.analysis.report_page import classes
  from vit_jax.evaluation import per_class, predictions

  rng = np.random.default_rng(0)
  label, predicted = rng.integers(0, 10_000, (2, 50_000), np.int32)
  found = predictions.Predictions(
    np.arange(50_000), label, predicted, *rng.uniform(size=(2, 50_000))
  )
  source = type('Source', (), {'where': lambda self, i: f'{i}.png'})()
  source.__class__.__getitem__ = lambda self, i: {'image': None}
  names = tuple(f'class number {index} <b>' for index in range(10_000))
  confusion = per_class.Confusion.of(found, 10_000)
  measured = classes.Measured(
    classes.Found(found, confusion, names, source, (), 5, 'test', 50_000)
  )
  monkeypatch.setattr(classes, '_picture', lambda *_: None)
  table, matrix = classes.table(measured), classes.confusion(measured)
  assert len(table['count']) == 10_000 and table['count'].sum() == 50_000
  assert matrix['counts'].shape == (25, 26)
  assert len(classes.mistakes(measured)['rows']) == classes.MAX_MISTAKES
