"""The report of a run in a store."""

import json

from vit_jax import files
from vit_jax.analysis import pages, report_page
from vit_jax.config import recipes, schema
from vit_jax.training.runtime import lock


def leave_behind(folder):
  """Writes what a run of two steps would have."""
  stamp = '2026-05-17T09:30:00.000+00:00 host process'
  metrics = [
    {'step': step, 'split': split, 'loss': 1 / step, 'accuracy': step / 4}
    for step in (1, 2)
    for split in ('train', 'eval')
  ]
  timings = [
    {'event': 'start', 'time': 100.0},
    {'event': 'train', 'step': 2, 'time': 110.0, 'useful_seconds': 5.0},
  ]
  bad = [{'index': 1, 'where': 'a.png', 'problem': 'broken'}]
  config = schema.default()
  config.run.num_steps = 20_000
  config.data.update(source='synthetic', num_classes=4, num_examples=8)
  recipes.save(config, folder)
  for name, rows in {
    'metrics.jsonl': metrics,
    'timings.jsonl': timings,
    'bad_examples-1.jsonl': bad,
  }.items():
    text = '\n'.join(map(json.dumps, rows))
    files.write_text(folder / name, f'{text}\n')
  for number in 0, 1:
    path = folder / f'logs/process_{number}.log'
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f'{stamp} {number}: vit_jax 0.1.0\n{stamp} {number}: ERROR: a: b\n'
    files.write_text(path, text)


def test_it_is_that_of_the_same_run_on_a_disk(folder, tmp_path):
  leave_behind(folder)
  leave_behind(tmp_path / folder.name)
  found, wanted = (
    report_page.collect(place) for place in (folder, tmp_path / folder.name)
  )
  assert found.pop('path') == str(folder)
  reason = found['classes'].pop('reason')
  assert 'has no checkpoint yet' in reason
  for name in 'path', 'classes':
    wanted.pop(name)
  found.pop('classes')
  for content in found, wanted:
    content.pop('made')
  assert pages.embedded(found) == pages.embedded(wanted)
  assert len(found['warnings']['rows']) == 1 and found['time']['total'] == 10
  path = report_page.run(folder, evaluate=False)
  assert path == folder / report_page.FILE and path.is_file()


def test_whether_it_is_running_is_seen(folder):
  leave_behind(folder)
  with lock.hold(folder):
    assert lock.is_held(folder)
    found = report_page.collect(folder, evaluate=False)
    assert found['state']['kind'] == 'running'
  assert not lock.is_held(folder)
