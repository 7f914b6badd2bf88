"""Arguments in every order and way of writing; mistakes in one line."""

import pytest

from vit_jax import errors
from vit_jax.cli import commands, flags, parsing
from vit_jax.data.datasets import suites
from vit_jax.evaluation import registry
from vit_jax.weights import convert, resizing


def given(argv, *names):
  args = parsing.parse(argv[0], argv[1:])
  return tuple(getattr(args, name) for name in names)


@pytest.mark.parametrize(
  'argv',
  [
    ['a', 'b.jpg', 'c d.jpg'],
    ['a', 'b.jpg', 'c d.jpg', '--top=3'],
    ['--top', '3', 'a', 'b.jpg', 'c d.jpg'],
    ['a', '--top', '3', 'b.jpg', '--model=M', 'c d.jpg'],
    ['--checkpoint=a', 'b.jpg', 'c d.jpg'],
    ['a', '--input=b.jpg', '--input', 'c d.jpg'],
    ['--input=b.jpg', '--checkpoint', 'a', '--input=c d.jpg'],
    ['--', 'a', 'b.jpg', 'c d.jpg'],
    ['a', '--json', 'b.jpg', '--', 'c d.jpg'],
  ],
)
def test_positions_and_flags_say_the_same(argv):
  if argv[0] == '--checkpoint=a':  # The position that is given is left out.
    with pytest.raises(errors.UserError, match='stands for --checkpoint'):
      given(['predict', *argv], 'checkpoint')
    argv = [*argv[:1], *(f'--input={path}' for path in argv[1:])]
  found = given(['predict', *argv], 'checkpoint', 'input')
  assert found == ('a', ['b.jpg', 'c d.jpg'])


@pytest.mark.parametrize(
  ('argv', 'names', 'values'),
  [
    ('train r.py w', ('config', 'workdir'), ('r.py', 'w')),
    ('sweep r.py w --list', ('config', 'workdir'), ('r.py', 'w')),
    ('inspect r.py', ('config',), ('r.py',)),
    ('plan r.py --topology=1', ('config', 'topology'), ('r.py', '1')),
    ('preview r.py o.png', ('config', 'output'), ('r.py', 'o.png')),
    ('verify w', ('workdir',), ('w',)),
    ('convert a b --to=timm', ('source', 'target'), ('a', 'b')),
    ('prepare cifar10', ('dataset',), ('cifar10',)),
    ('checkpoints a*', ('pattern',), ('a*',)),
    (
      'analyze rollout c a.png b.png --output=o',
      ('analysis', 'checkpoint', 'input'),
      ('rollout', 'c', ['a.png', 'b.png']),
    ),
  ],
)
def test_what_a_person_would_type_is_understood(argv, names, values):
  assert given(argv.split(), *names) == values


def test_a_folder_of_a_run_is_told_from_weights(tmp_path):
  run = tmp_path / 'run'
  (run / 'checkpoints').mkdir(parents=True)
  (tmp_path / 'exported').mkdir()
  names = 'workdir', 'checkpoint'
  for text in str(run), f'{run}:best':
    assert given(['evaluate', text], *names) == (text, None)
  for text in (
    *('augreg/B_16', str(tmp_path / 'exported'), 'model.npz'),
    *('https://example.com/a.npz', 'hf://owner/name'),
  ):
    assert given(['evaluate', text], *names) == (None, text)


@pytest.mark.parametrize(
  ('argv', 'overrides'),
  [
    ('r.py w --config.seed=-3', ['--config.seed=-3']),
    ('--config.seed -3 r.py w', ['--config.seed=-3']),
    # A switch takes no path as its value,
    ('--config.data.flip r.py w', ['--config.data.flip']),
    ('--noconfig.data.flip r.py w', ['--noconfig.data.flip']),
    # but true or false, and other fields do.
    ('--config.data.flip False r.py w', ['--config.data.flip=False']),
    ('--config.init a.npz r.py w', ['--config.init=a.npz']),
  ],
)
def test_overrides_stand_among_positions(argv, overrides):
  found = given(['train', *argv.split()], 'config', 'workdir', 'overrides')
  assert found == ('r.py', 'w', overrides)


def test_behind_two_dashes_nothing_is_a_flag():
  argv = ['predict', 'a', '--', '--help', '-x.jpg', '--', '--config.seed=1']
  assert not parsing.asks_for_help(argv[1:])
  assert given(argv, 'input') == (argv[3:],)


def test_values_may_start_with_a_dash_behind_an_equals_sign():
  assert given(['predict', '-', '--input=-x.jpg'], 'checkpoint', 'input') == (
    '-',
    ['-x.jpg'],
  )


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    ('train r.py w x', 'has no x. It is called vit_jax train RECIPE FOLDER'),
    ('train r.py w --workdir=v', 'w stands for --workdir, which is given'),
    ('evaluate a b', r'has no b. It is called vit_jax evaluate \[FOLDER\|WEI'),
    ('convert a b --to=tim', r"--to='tim' is unknown. Did you mean timm"),
    ('analyze rolout c', 'Did you mean rollout'),
    ('predict a b -t', 'vit_jax predict has no -t'),
    ('predict a --format=xml', r"--format='xml' is unknown. It can be: csv"),
    ('inspect r.py --devices', '--devices: expected one argument'),
    ('reproduce table1 --dry-run=1', 'ignored explicit argument'),
    ('checkpoints a b', 'vit_jax checkpoints has no b'),
  ],
)
def test_mistakes_are_told_in_one_line(argv, message):
  with pytest.raises(errors.UserError, match=message) as info:
    given(argv.split())
  assert '\n' not in str(info.value)


@pytest.mark.parametrize(
  ('argv', 'format'),
  [('', None), ('--json', 'json'), ('--format=csv', 'csv')],
)
def test_json_is_short_for_a_format(argv, format):
  assert given(['models', *argv.split()], 'format') == (format,)


def test_choices_of_flags_are_those_of_the_tables():
  from vit_jax.analysis import analyze
  from vit_jax.inference import export

  for flag, table in {
    'analysis': analyze.ANALYSES,
    'evaluators': registry.EVALUATORS,
    'position_resize': resizing.METHODS,
    'suite': suites.SUITES,
    'to': [*convert.FORMATS, *export.FORMATS],
  }.items():
    assert set(flags.FLAGS[flag].choices) == set(table), flag


def test_the_tables_go_together():
  for name, row in commands.COMMANDS.items():
    places = [
      flag
      for place in row.bare
      for flag in (getattr(place, 'flags', None) or [place])
    ]
    assert {*places, *row.required} <= {*row.flags} <= {*flags.FLAGS}, name
    assert not any(flags.FLAGS[flag].repeats for flag in places[:-1])
    assert len(set(row.flags)) == len(row.flags)
