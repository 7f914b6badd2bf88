import ml_collections
import pytest

from vit_jax import errors
from vit_jax.config import overrides, schema

DEFAULTS = overrides.flatten(schema.default())


def overridden(*arguments):
  config = schema.default()
  for argument in arguments:
    overrides.override(config, argument)
  return config


def test_flatten_gives_what_lookup_gives():
  config = schema.default()
  for field, value in overrides.flatten(config).items():
    assert schema.lookup(config, field) == value


def test_unflatten_undoes_flatten():
  config = overridden('--config.run.num_steps=7', '--config.data.flip=false')
  again = overrides.unflatten(overrides.flatten(config), 'test')
  assert again == config
  assert again.is_locked and again.run.is_locked


def test_lists_become_tuples_at_every_depth():
  flat = {**DEFAULTS, 'optimizer.decay_rules': [['head/.*', 1], ['.*', 0.0]]}
  config = overrides.unflatten(flat, 'test')
  assert config.optimizer.decay_rules == (('head/.*', 1.0), ('.*', 0.0))


@pytest.mark.parametrize(
  'argument, field, value',
  [
    ('--config.seed=-3', 'seed', -3),
    ('--config.optimizer.learning_rate=1', 'optimizer.learning_rate', 1.0),
    ('--config.optimizer.learning_rate=3e-4', 'optimizer.learning_rate', 3e-4),
    ('--config.data.flip=false', 'data.flip', False),
    ('--noconfig.data.flip', 'data.flip', False),
    ('--config.data.flip', 'data.flip', True),
    ('--config.data.resolution=384', 'data.resolution', (384,)),
    ('--config.data.resolution=(384,192)', 'data.resolution', (384, 192)),
    ('--config.data.train_split=train[:9%]', 'data.train_split', 'train[:9%]'),
    ('--config.data.dataset=a=b', 'data.dataset', 'a=b'),
    ('--config.model.name=None', 'model.name', 'None'),
    ('--config.run.num_steps=7', 'run.num_steps', 7),
    (
      "--config.optimizer.trainable_rules=(('head/.*',True),('.*',False))",
      'optimizer.trainable_rules',
      (('head/.*', True), ('.*', False)),
    ),
  ],
)
def test_an_override_sets_its_field_only(argument, field, value):
  got = overrides.flatten(overridden(argument))
  assert got[field] == value
  assert type(got[field]) is type(value)
  assert {**got, field: DEFAULTS[field]} == DEFAULTS


def test_none_takes_a_value_back_where_the_default_is_none():
  config = overridden(
    '--config.run.num_epochs=3', '--config.run.num_epochs=none'
  )
  assert config.run.num_epochs is None


def test_of_a_repeated_override_the_last_counts():
  config = overridden(
    '--config.data.resolution=64', '--config.data.resolution=32'
  )
  assert config.data.resolution == (32,)


@pytest.mark.parametrize(
  'argument, message',
  [
    ('--config.run.num_step=1', r'run\.num_step is not .* mean run\.num_steps'),
    ('--config.run.dropout=0.1', r'Did you mean model\.dropout'),
    ('--config.rum.num_steps=1', r'Did you mean run\.num_steps'),
    ('--config.modle=1', 'Did you mean model'),
    ('--config.xyzw=1', 'xyzw is not a field. It can be: data, init, mesh'),
    ('--config.run=1', r'It is a group of fields: run\.batch_size, '),
    ('--config.seed.x=1', r'seed\.x is not a field'),
    ('--config.seed=a', 'seed=a does not fit; seed is an int'),
    ('--config.seed=1.5', 'seed is an int'),
    ('--config.seed=none', 'seed is an int'),
    ('--config.seed', '--config.seed does not fit; seed is an int'),
    ('--noconfig.seed', 'seed is an int'),
    ('--config.run.num_steps=x', 'is an int, or none'),
    (
      '--config.optimizer.eps=nan',
      'eps=nan does not fit; it is a finite float',
    ),
    ('--config.optimizer.eps=fast', 'eps is a finite float'),
    ('--config.data.flip=maybe', 'flip is true or false'),
    (
      '--config.data.resolution=big',
      r'resolution=\(.big.,\) .* a tuple such as',
    ),
    ('--config.data.resolution=a b', 'resolution is a tuple such as'),
    ('--config.data.resolution=(2.5,)', 'a tuple such as'),
    ('--config.data.resolution=(True,)', 'a tuple such as'),
    ("--config.optimizer.decay_rules=('.*',1)", 'a tuple such as'),
    ("--config.optimizer.decay_rules=(('.*',),)", 'a tuple such as'),
    ('--confg.seed=1', 'write --config.FIELD=VALUE'),
  ],
)
def test_an_override_that_does_not_fit_is_explained(argument, message):
  with pytest.raises(errors.UserError, match=message) as info:
    overridden(argument)
  assert '\n' not in str(info.value)


def test_an_unknown_field_is_refused():
  with pytest.raises(
    errors.UserError, match=r'here: sead is not a field\. .*seed'
  ):
    overrides.unflatten({**DEFAULTS, 'sead': 1}, 'here')


def test_a_missing_field_is_named():
  flat = {
    name: value for name, value in DEFAULTS.items() if name != 'mesh.fsdp'
  }
  with pytest.raises(errors.UserError, match=r'here lacks mesh\.fsdp'):
    overrides.unflatten(flat, 'here')


def test_a_number_too_large_for_a_float_is_refused():
  flat = {**DEFAULTS, 'model.dropout': 10**400}
  with pytest.raises(errors.UserError, match='does not fit; it is a finite'):
    overrides.unflatten(flat, 'here')


def test_every_field_has_a_kind_and_fits_itself():
  kinds = {name: overrides.kind(name) for name in DEFAULTS}
  assert kinds['run.num_epochs'] == 'a finite float, or none'
  assert kinds['model.name'] == 'a str'
  assert overrides.unflatten(DEFAULTS, 'test') == schema.default()


def test_flatten_takes_plain_dicts_too():
  nested = {'a': {'b': {'c': 1}}, 'd': ml_collections.ConfigDict({'e': 2})}
  assert overrides.flatten(nested) == {'a.b.c': 1, 'd.e': 2}
