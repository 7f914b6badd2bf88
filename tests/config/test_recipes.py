import json
import pathlib
import random
import re
import shutil
import textwrap

import pytest

from vit_jax import errors
from vit_jax.config import overrides as config_overrides
from vit_jax.config import recipes, schema, versions

RECIPE = """
  from vit_jax.config import schema


  def get_config({knobs}):
    config = schema.default()
    config.run.num_steps = 20
    {body}
    return config
"""


SPLIT = object()  # Not one value.


@pytest.fixture
def recipe(tmp_path):
  """Returns a function that writes a recipe and gives its path."""

  def write(body='', knobs=''):
    text = textwrap.dedent(RECIPE).format(body=body, knobs=knobs)
    (tmp_path / 'recipe.py').write_text(text)
    return str(tmp_path / 'recipe.py')

  return write


def test_a_recipe_states_what_differs(recipe):
  config = recipes.load(recipe('config.model.name = "ViT-S/16"'))
  assert config.model.name == 'ViT-S/16'
  assert config.is_locked and config.model.is_locked
  default = config_overrides.flatten(schema.default())
  changed = {'model.name': 'ViT-S/16', 'run.num_steps': 20}
  assert config_overrides.flatten(config) == {**default, **changed}


def test_overrides_come_after_the_recipe(recipe):
  overrides = ['--config.run.num_steps=none', '--config.run.num_epochs=2']
  config = recipes.load(recipe(), overrides)
  assert config.run.num_steps is None
  assert config.run.num_epochs == 2.0


def test_an_edited_recipe_is_read_anew(recipe):
  assert recipes.load(recipe('config.seed = 1')).seed == 1
  assert recipes.load(recipe('config.seed = 2')).seed == 2


def test_knobs_take_the_type_of_their_default(recipe):
  path = recipe(
    'config.model.name, config.seed, config.model.dropout, config.data.flip,'
    ' config.data.dataset = name, size, rate, fast, text',
    knobs='name, size=3, rate=0.1, fast=False, text=None',
  )
  config = recipes.load(f'{path}:name=B/16,size=4,rate=2,fast=TRUE,text=1=2')
  assert config.model.name == 'B/16'
  assert config.seed == 4
  assert config.model.dropout == 2.0
  assert config.data.flip is True
  assert config.data.dataset == '1=2'


@pytest.mark.parametrize(
  'knobs, message',
  [
    ('sise=4', "knob='sise' is unknown. Did you mean size"),
    ('size=big', 'size=big does not fit: the knob is int, by default 3'),
    ('fast=yes', 'fast=yes does not fit: the knob is bool, by default False'),
    ('fast', "name=value, separated by commas; given: 'fast'"),
    ('size=4,', 'name=value, separated by commas'),
  ],
)
def test_a_knob_that_does_not_fit_is_explained(recipe, knobs, message):
  path = recipe(knobs='size=3, fast=False')
  with pytest.raises(errors.UserError, match=message):
    recipes.load(f'{path}:{knobs}')


@pytest.mark.parametrize(
  'typed, value',
  [
    ('gs://bucket/x.npz', 'gs://bucket/x.npz'),
    ('https://host:8080/x.npz?a=b&c=d#sha256=0', None),
    ('runs/a=1,b=2/x.npz', SPLIT),
    ("'runs/a=1,b=2/x.npz'", 'runs/a=1,b=2/x.npz'),
    ('"gs://bucket/a,b:img"', 'gs://bucket/a,b:img'),
    ("'it''s, b.npz'", "it's, b.npz"),
    ("it's.npz", "it's.npz"),
    ("'open, b.npz", SPLIT),
    ('RUN:best', 'RUN:best'),
    ('', ''),
  ],
)
def test_the_value_of_a_knob_may_be_a_url_or_a_path(recipe, typed, value):
  path = recipe(
    body='config.init, config.data.dataset = init, dataset',
    knobs='init="", dataset=""',
  )
  value = typed if value is None else value
  for spec in (
    f'{path}:init={typed},dataset=cifar10',
    f'{path}:dataset=cifar10,init={typed}',
  ):
    if value is SPLIT:
      with pytest.raises(errors.UserError, match=r"knobs are written|knob='b"):
        recipes.load(spec)
      continue
    config = recipes.load(spec)
    assert (config.init, config.data.dataset) == (value, 'cifar10')


@pytest.mark.parametrize(
  'value', ['gs://b/x.npz', 'a,b', "a,'b'", "'a'", '(a', 'a=b', 'it"s, so']
)
def test_a_knob_that_is_set_by_us_stays_one(recipe, value):
  path = recipe(body='config.init = init', knobs='init="", other=""')
  for spec in path, f'{path}:other=x':
    spec = recipes.with_knob(spec, 'init', value)
    assert recipes.load(spec).init == value
    spec = recipes.with_knob(spec, 'init', 'last')
    assert recipes.load(spec).init == 'last'


def test_a_recipe_without_knobs_refuses_them(recipe):
  with pytest.raises(errors.UserError, match='has no knobs; given: size=4'):
    recipes.load(f'{recipe()}:size=4')


def test_a_knob_without_default_must_be_given(recipe):
  with pytest.raises(errors.UserError, match=r'recipe\.py:name=\.\.\.'):
    recipes.load(recipe(knobs='name'))


@pytest.mark.parametrize(
  'body, message',
  [
    ('config.model.widht = 3', r'model\.widht is not a field. .*model\.width'),
    ('config.modle.width = 3', 'modle is not a field. Did you mean model'),
    ('m = config.model; m.widht = 3', r'Did you mean model\.width'),
    ('config.update({"model": {"dropuot": 0.1}})', r'mean model\.dropout'),
    ('config.model.width = "3"', r'line 8, .*: .* model\.width is an int'),
    ('config.seed = 1.5', 'seed is an int'),
    ('config.seed = True', 'seed=True does not fit; it is an int'),
    ('config.run = 3', 'run is a group of fields'),
    ('config.data.resolution = ("a",)', r'resolution=.* a tuple such as'),
    ('config.unlock(); config.foo = 1', 'foo is not a field'),
    ('config.unlock(); del config.seed', 'lacks seed'),
    ('config = 3', 'get_config of .* returns int'),
  ],
)
def test_a_field_that_a_recipe_gets_wrong_is_named(recipe, body, message):
  with pytest.raises(errors.UserError, match=message):
    recipes.load(recipe(body))


def test_another_mistake_of_a_recipe_keeps_its_traceback(recipe):
  with pytest.raises(TypeError, match='unsupported operand'):
    recipes.load(recipe('config.seed = 1 + None'))
  with pytest.raises(KeyError, match='sise'):
    recipes.load(recipe('config.seed = dict()["sise"]'))


def test_a_file_without_get_config_is_refused(tmp_path):
  (tmp_path / 'empty.py').write_text('')
  with pytest.raises(errors.UserError, match='no function get_config'):
    recipes.load(str(tmp_path / 'empty.py'))


def test_a_missing_file_is_told_with_its_neighbours(tmp_path, recipe):
  recipe()
  with pytest.raises(errors.UserError, match=r'mean .*recipe\.py\?'):
    recipes.load(str(tmp_path / 'recipes.py'))
  with pytest.raises(errors.UserError, match=r'no folder .*nowhere'):
    recipes.load(str(tmp_path / 'nowhere' / 'recipe.py'))
  (tmp_path / 'bare').mkdir()
  with pytest.raises(errors.UserError, match='bare holds no recipe'):
    recipes.load(str(tmp_path / 'bare' / 'recipe.py'))


@pytest.mark.parametrize('prefix', ['', 'configs/'])
def test_a_recipe_goes_by_its_name_in_any_folder(tmp_path, monkeypatch, prefix):
  monkeypatch.chdir(tmp_path)
  config = recipes.load(f'{prefix}finetune/transfer.py:dataset=cifar10')
  assert config.data.dataset == 'cifar10'
  assert recipes.grid(f'{prefix}finetune/transfer.py') == recipes.grid(
    str(recipes.FOLDER / 'finetune/transfer.py')
  )


def test_a_file_wins_over_a_recipe_of_its_name(tmp_path, monkeypatch, recipe):
  (tmp_path / 'configs').mkdir()
  shutil.move(recipe('config.seed = 12345'), tmp_path / 'configs/quickstart.py')
  monkeypatch.chdir(tmp_path)
  assert recipes.load('configs/quickstart.py').seed == 12345
  assert recipes.load('quickstart.py').seed != 12345
  # But not where a recipe of this project is meant.
  spec = recipes.from_folder('configs/quickstart.py:num_epochs=3')
  config = recipes.load(spec)
  assert (config.run.num_epochs, config.data.dataset) == (3, 'digits')


@pytest.mark.parametrize(
  'spec, nearest',
  [
    ('quickstrat.py', r'mean quickstart\.py'),
    ('configs/quickstrat.py', r'mean configs/quickstart\.py'),
    ('transfer.py:dataset=cifar10', r'mean finetune/transfer\.py'),
    ('finetune/trnasfer.py', r'mean finetune/transfer\.py'),
    ('recip.py', r'mean recipe\.py\?'),
    ('./quickstart.py', r'mean quickstart\.py'),  # That is a path.
    ('../configs/quickstart.py', r'mean .*quickstart\.py'),
  ],
)
def test_a_name_that_no_recipe_has_is_told_with_the_nearest(
  tmp_path, monkeypatch, recipe, spec, nearest
):
  recipe()
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match=f'nor a recipe .*{nearest}'):
    recipes.load(spec)


def test_only_recipes_are_looked_up_by_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match=r'There is no file README\.json'):
    recipes.load('README.json')
  with pytest.raises(errors.UserError, match='neither a recipe'):
    recipes.load('README.md')


def test_recipes_import_no_recipe():
  # Installed, they are no package of that name.
  for path in recipes.FOLDER.rglob('*.py'):
    assert not re.search(r'^(from|import) configs', path.read_text(), re.M)


@pytest.mark.parametrize(
  'spec, message',
  [
    ('https://example.org/recipe.py', 'is a URL; .* local file only'),
    ('gs://bucket/recipe.py', 'is a URL; .* local file only'),
    ('hdfs://host/config.json', 'hdfs:// is not supported'),
    ('https://example.org/recipe.py:init=gs://a/b', 'is a URL; .* local file'),
    ('https://a.py:80/recipe.py', 'is a URL; .* local file only'),
    ('configs/quickstart', 'neither a recipe .* nor the config.json'),
    ('recipe.txt', 'neither a recipe'),
    ('', 'neither a recipe'),
    ('run/config.json:size=3', 'is data and has no knobs; given: size=3'),
  ],
)
def test_only_local_recipes_and_configs_are_read(spec, message):
  with pytest.raises(errors.UserError, match=message):
    recipes.load(spec)


# Disk ----------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path, recipe):
  """Returns a configuration and the workdir that it was saved to."""
  config = recipes.load(recipe(), ['--config.data.resolution=(64,32)'])
  workdir = tmp_path / 'deep' / 'run'
  recipes.save(config, workdir)
  return config, workdir


def test_what_was_saved_is_loaded_with_its_types(saved):
  config, workdir = saved
  again = recipes.load(str(workdir / 'config.json'))
  assert again == config
  assert again.data.resolution == (64, 32)
  assert isinstance(again.optimizer.decay_rules[0], tuple)
  assert again.run.num_epochs is None
  assert [path.name for path in workdir.iterdir()] == ['config.json']


def test_a_saved_config_has_a_line_per_field(saved):
  lines = (saved[1] / 'config.json').read_text().splitlines()
  assert '    "resolution": [64, 32],' in lines
  assert '  "seed": 0' in lines


def test_a_saved_config_takes_overrides(saved):
  spec = str(saved[1] / 'config.json')
  assert recipes.load(spec, ['--config.seed=3']).seed == 3


@pytest.mark.parametrize(
  'text, message',
  [
    ('', 'is not the config.json of a run'),
    ('[1]', 'is not the config.json of a run'),
    ('{"seed": ', 'is not the config.json of a run'),
    ('[' * 100_000, 'is not the config.json of a run'),
    ('{"a":' * 100_000, 'is not the config.json of a run'),
    ('{"seed": 0}', r'lacks .*run\.batch_size'),
    ('{"seed": [0]}', 'seed=.* does not fit; it is an int'),
    ('{"seed": null}', 'seed=None does not fit; it is an int'),
    ('{"model": {"dropout": NaN}}', r'model\.dropout=nan does not fit'),
    ('{"sead": 0}', 'sead is not a field. Did you mean seed'),
    ('{"model": 0}', 'model is not a field. It is a group of fields'),
  ],
)
def test_a_broken_config_is_a_mistake_told(tmp_path, text, message):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(errors.UserError, match=message):
    recipes.load(str(tmp_path / 'config.json'))


def test_a_damaged_config_never_breaks_out(saved):
  path = saved[1] / 'config.json'
  whole = path.read_bytes()
  draw = random.Random(0)
  for _ in range(100):
    damaged = bytearray(whole)
    for _ in range(draw.randint(1, 4)):
      damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    path.write_bytes(damaged)
    try:
      recipes.load(str(path))
    except errors.UserError:
      continue


def test_a_run_is_continued_only_with_its_configuration(saved):
  config, workdir = saved
  recipes.check_same(config, workdir)
  config.seed = 7
  config.run.num_steps = None
  with pytest.raises(errors.UserError) as info:
    recipes.check_same(config, workdir)
  message = str(info.value)
  assert '! run.num_steps: 20 (wanted: null)' in message
  assert '! seed: 0 (wanted: 7)' in message
  assert f'--config={workdir}/config.json' in message
  assert 'batch_size' not in message


def test_what_does_not_change_the_result_may_change(saved):
  config, workdir = saved
  flat = config_overrides.flatten(config)
  assert set(recipes.MAY_CHANGE) <= set(flat)
  config.mesh.data = 4
  config.data.num_threads = 9
  recipes.check_same(config, workdir)


def test_a_config_of_another_version_is_told_apart(saved):
  config, workdir = saved
  stored = json.loads((workdir / 'config.json').read_text())
  stored['mood'] = 'good'
  (workdir / 'config.json').write_text(json.dumps(stored))
  with pytest.raises(errors.UserError, match=r'- mood: "good" \(not wanted\)'):
    recipes.check_same(config, workdir)


GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'run'


def test_a_config_of_an_older_version_did_what_fields_added_since_say(capsys):
  config = recipes.load(str(GOLDEN / recipes.FILE))
  assert config.model.attention == 'xla' and config.optimizer.ema_decay is None
  (line,) = capsys.readouterr().err.splitlines()
  for told in 'older version', 'model.scan=False', 'optimizer.ema_decay=None':
    assert told in line
  recipes.load(str(GOLDEN / recipes.FILE), ['--config.seed=1'])
  assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_field_is_in_the_oldest_config_or_among_those_added_since():
  oldest = config_overrides.flatten(
    json.loads((GOLDEN / recipes.FILE).read_text())
  )
  known = config_overrides.flatten(schema.default())
  assert versions.upgrade(oldest).keys() == known.keys(), (
    'A new field goes into versions.ADDED, with the value that means as before.'
  )
  assert not oldest.keys() & versions.ADDED.keys()


def test_a_config_of_this_version_is_read_without_a_word(saved, capsys):
  recipes.load(str(saved[1] / recipes.FILE))
  assert not capsys.readouterr().err


def test_a_run_of_an_older_version_is_continued_only_as_it_was(tmp_path):
  shutil.copy(GOLDEN / recipes.FILE, tmp_path)
  spec = str(tmp_path / recipes.FILE)
  recipes.check_same(recipes.load(spec), tmp_path)
  # Computes the same.
  recipes.check_same(recipes.load(spec, ['--config.model.scan=true']), tmp_path)
  averaging = recipes.load(spec, ['--config.optimizer.ema_decay=0.9'])
  with pytest.raises(
    errors.UserError, match=r'! optimizer\.ema_decay: null \(wanted: 0\.9\)'
  ):
    recipes.check_same(averaging, tmp_path)


def test_a_new_workdir_is_created(tmp_path):
  recipes.check_same(schema.default(), tmp_path / 'new' / 'run')
  assert (tmp_path / 'new' / 'run').is_dir()


@pytest.mark.parametrize('use', [recipes.check_same, recipes.save])
def test_a_workdir_that_cannot_be_written_is_named(tmp_path, use):
  (tmp_path / 'file').write_text('')
  for workdir in tmp_path / 'file', tmp_path / 'file' / 'run':
    with pytest.raises(errors.UserError, match=r'file.* cannot be written'):
      use(schema.default(), workdir)
  with pytest.raises(errors.UserError, match='hdfs:// is not supported'):
    use(schema.default(), 'hdfs://b/run')


def test_a_config_json_does_not_say_what_lists_may_name(tmp_path):
  config = recipes.load(str(recipes.FOLDER / 'quickstart.py'))
  config.data.allow_outside = True
  recipes.save(config, tmp_path)
  path = str(tmp_path / recipes.FILE)
  assert not recipes.load(path).data.allow_outside
  given = recipes.load(path, ['--config.data.allow_outside=true'])
  assert given.data.allow_outside
