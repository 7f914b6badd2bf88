import pytest

from vit_jax import errors
from vit_jax.config import grids, schema


def test_values_have_the_types_of_their_fields():
  grid = grids.parse(
    ['optimizer.learning_rate=1e-3,3', 'data.mixup=none,0.5', 'seed=4']
  )
  assert grid == {
    'optimizer.learning_rate': (0.001, 3.0),
    'data.mixup': (None, 0.5),
    'seed': (4,),
  }
  assert isinstance(grid['optimizer.learning_rate'][1], float)


def test_all_combinations_come_the_last_field_fastest():
  grid = {'seed': (1, 2), 'data.flip': (True, False)}
  assert [tuple(each.values()) for each in grids.combinations(grid)] == [
    (1, True),
    (1, False),
    (2, True),
    (2, False),
  ]
  assert grids.combinations({}) == [{}]


def test_fields_that_go_together_are_one_entry():
  grid = grids.parse(
    ['seed=1,2', 'run.num_steps:optimizer.warmup_steps=500:100,2500:200']
  )
  together = 'run.num_steps:optimizer.warmup_steps'
  assert grid == {'seed': (1, 2), together: ((500, 100), (2500, 200))}
  settings = grids.combinations(grid)
  assert len(settings) == 4
  assert settings[1] == {
    'seed': 1,
    'run.num_steps': 2500,
    'optimizer.warmup_steps': 200,
  }
  config = grids.apply(schema.default(), settings[2])
  assert (config.seed, config.run.num_steps) == (2, 500)
  assert config.optimizer.warmup_steps == 100


def test_a_value_with_a_colon_is_left_alone_where_a_field_is_alone():
  assert grids.parse(['data.dataset=cifar10:3.*.*,dtd']) == {
    'data.dataset': ('cifar10:3.*.*', 'dtd')
  }


def test_values_may_be_urls_paths_and_tuples():
  grid = grids.parse(
    [
      "init=gs://b/x.npz,'runs/a,b:best',\"it's.npz\",it's.npz",
      'data.resolution=(32,48),64',
      "data.dataset:run.num_steps='ds/c:1.0.0':5,dtd:6",
    ]
  )
  assert grid == {
    'init': ('gs://b/x.npz', 'runs/a,b:best', "it's.npz", "it's.npz"),
    'data.resolution': ((32, 48), (64,)),
    'data.dataset:run.num_steps': (('ds/c:1.0.0', 5), ('dtd', 6)),
  }


def test_a_long_value_still_names_a_folder(tmp_path):
  names = [
    grids.name({'init': f'https://{"é" * 300}/{end}'}) for end in ('a', 'b')
  ]
  assert len({*names}) == 2
  for name in names:
    (tmp_path / name).mkdir()


def test_a_recipe_s_fields_take_as_many_values_as_they_are():
  for wrong in (500,), 500:
    with pytest.raises(errors.UserError, match=r'seed:run.* are 2 fields'):
      grids.combinations({'seed:run.num_steps': (wrong,)})


@pytest.mark.parametrize(
  'entry, override',
  [
    ('optimizer.learning_rate', '--config.optimizer.learning_rate=0.1'),
    ('run.num_steps:seed', '--config.seed=3'),
    ('data.flip:seed', '--noconfig.data.flip'),
  ],
)
def test_what_a_grid_would_undo_is_refused(entry, override):
  others = ('--config.run.batch_size=8', '--config.model.name=seed')
  grids.check_overrides({entry: ()}, others)
  with pytest.raises(errors.UserError, match=f'^{override} has no effect'):
    grids.check_overrides({entry: ()}, (*others, override))


def test_a_setting_is_applied_to_a_copy_and_names_a_folder():
  config = schema.default()
  setting = {'optimizer.learning_rate': 0.03, 'model.name': 'ViT-S/16'}
  changed = grids.apply(config, setting)
  assert changed.optimizer.learning_rate == 0.03
  assert changed.model.name == 'ViT-S/16' and changed.is_locked
  assert config.optimizer.learning_rate == 1e-3
  assert grids.name(setting) == (
    'optimizer.learning_rate=0.03,model.name=ViT-S_16'
  )


@pytest.mark.parametrize(
  'texts, message',
  [
    (['optimizer.learning_rate'], r'write --sweep=FIELD=VALUE'),
    (['seed='], r'write --sweep=FIELD=VALUE'),
    (['optimizer.learning_rat=1'], r'not a field.*learning_rate'),
    (['seed=1.5'], r'does not fit; seed is an int'),
    (['seed=1', 'seed=2'], r'values of seed twice'),
    (['seed=1', 'run.num_steps:seed=1:2'], r'values of seed twice'),
    (['seed:run.num_steps=1'], r'are 2 fields, .* as many values; .*1'),
    (['seed:run.num_steps=1:2:3'], r'are 2 fields, .* as many values; .*3'),
    (['seed:run.num_stops=1:2'], r'not a field.*num_steps'),
  ],
)
def test_what_does_not_fit_is_told(texts, message):
  with pytest.raises(errors.UserError, match=message):
    grids.parse(texts)


def test_a_recipe_s_value_that_does_not_fit_is_told():
  with pytest.raises(errors.UserError, match=r'the grid: seed=0\.5 does not'):
    grids.apply(schema.default(), {'seed': 0.5})
