"""Data that programs read: JSON lines and CSV, whatever is in them."""

import csv
import io
import json
import math
import os
import subprocess
import sys

import pytest

from vit_jax.cli import main, output

ODD = os.fsdecode(b'a\nb \xff,".png')  # Neither one line nor UTF-8.
ROWS = [
  {'name': ODD, 'accuracy': math.nan, 'choices': ('a', 'b'), 'is_on': True},
  {'name': 'b', 'accuracy': 0.5, 'choices': None, 'is_on': False},
]


def test_json_has_an_object_per_line_and_only_finite_numbers(capsys):
  output.write(ROWS, 'json')
  first, second = capsys.readouterr().out.splitlines()
  assert first.isascii() and 'NaN' not in first
  assert json.loads(first) == {
    'name': ODD,
    'accuracy': None,
    'choices': ['a', 'b'],
    'is_on': True,
  }
  assert json.loads(second)['accuracy'] == 0.5


def test_infinite_numbers_inside_of_others_are_null_too():
  line = output.json_line({'values': {'loss': [math.inf, 1.0]}})
  assert line == '{"values": {"loss": [null, 1.0]}}'


def test_csv_holds_the_very_bytes_of_a_name(capfdbinary):
  output.write(ROWS, 'csv')
  text = capfdbinary.readouterr().out.decode('utf-8', 'surrogateescape')
  first, second = csv.DictReader(io.StringIO(text, newline=''))
  assert first['name'] == ODD
  assert (first['accuracy'], second['accuracy']) == ('', '0.5')
  assert json.loads(first['choices']) == ['a', 'b']
  assert (first['is_on'], second['is_on']) == ('true', 'false')


def test_text_is_a_table_of_lines(capsys):
  output.write(ROWS, hidden=('choices',))
  head, *lines = capsys.readouterr().out.splitlines()
  assert head.split() == ['name', 'accuracy', 'is_on']
  assert lines[-1].split() == ['b', '0.5', 'false']


def test_predictions_are_told_image_by_image(capfdbinary):
  told = [
    (ODD, [('cat', 0.75), ('dog', 0.25)], None),
    ('b.png', [], 'it is empty'),
  ]
  for format in 'json', 'csv':
    tell = output.prediction(format)
    for each in told:
      tell(*each)
    sys.stdout.flush()
    out = capfdbinary.readouterr().out.decode('utf-8', 'surrogateescape')
    if format == 'json':
      first, second = map(json.loads, out.splitlines())
      assert first['file'] == ODD and first['problem'] is None
      assert first['classes'][0] == {'class': 'cat', 'probability': 0.75}
      assert second['classes'] == [] and second['problem'] == 'it is empty'
    else:
      rows = [*csv.DictReader(io.StringIO(out, newline=''))]
      assert [row['file'] for row in rows] == [ODD, ODD, 'b.png']
      assert [row['rank'] for row in rows] == ['1', '2', '']
      assert rows[1]['class'] == 'dog' and rows[1]['probability'] == '0.25'
      assert rows[2]['problem'] == 'it is empty'


def test_notes_are_not_among_the_data(capsys):
  assert main.main(['models', 'Mixer*', '--json']) == 0
  captured = capsys.readouterr()
  names = [json.loads(line)['name'] for line in captured.out.splitlines()]
  assert 'Mixer-B/16' in names
  assert 'any patch size' in captured.err


def test_the_configuration_of_a_recipe_is_data(capsys):
  argv = ['config', 'run.*', '--config=quickstart.py', '--json']
  assert main.main([*argv, '--config.run.log_every=7']) == 0
  lines = capsys.readouterr().out.splitlines()
  rows = {row['field']: row for row in map(json.loads, lines)}
  row = rows['run.log_every']
  assert (row['value'], row['default'], row['is_default']) == (7, 50, False)
  assert rows['run.patience']['is_default']
  assert (row['min'], row['type']) == (1, 'an int')
  assert main.main(argv[:-1]) == 0
  out = capsys.readouterr().out
  assert '* run.num_epochs = 120.0  (default: None)' in out
  assert '  run.patience = None' in out.splitlines()


@pytest.mark.skipif(os.name != 'posix', reason='of pipes as POSIX has them')
def test_a_reader_that_stops_ends_the_command_quietly():
  command = (
    f'set -o pipefail; {sys.executable} -u -m vit_jax.cli checkpoints '
    '--json | head -n 1; echo "${PIPESTATUS[0]}"'
  )
  done = subprocess.run(
    ['bash', '-c', command], capture_output=True, text=True, check=False
  )
  assert done.stdout.splitlines()[-1] in ('0', '141')
  assert done.stderr == ''
