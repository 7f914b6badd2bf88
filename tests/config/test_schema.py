import ast
import inspect
import io
import tokenize

import pytest

from vit_jax import errors
from vit_jax.config import overrides, schema, validation
from vit_jax.training import assembly

SOURCE = inspect.getsource(schema)


def config(**values):
  """Returns a valid configuration of 100 steps, with fields set by name."""
  result = schema.default()
  values = {
    'run.num_steps': 100,
    'run.batch_size': 8,
    'optimizer.warmup_steps': 10,
    **values,
  }
  for field, value in values.items():
    *group, leaf = field.split('.')
    schema.lookup(result, '.'.join(group))[leaf] = value
  return result


# The page --------------------------------------------------------------------


def test_the_configuration_is_locked():
  default = schema.default()
  with pytest.raises(AttributeError, match='widht'):
    default.model.widht = 3
  with pytest.raises(AttributeError, match='sead'):
    default.sead = 3


def is_group(value):
  """Tells `config.model = _model()` from the line of a field."""
  return isinstance(value, ast.Call) and isinstance(value.func, ast.Name)


def test_every_field_has_a_comment_on_its_line():
  commented = {
    token.start[0]
    for token in tokenize.generate_tokens(io.StringIO(SOURCE).readline)
    if token.type == tokenize.COMMENT
  }
  lines = {
    f'{node.targets[0].value.id}.{node.targets[0].attr}': node.lineno
    for node in ast.walk(ast.parse(SOURCE))
    if isinstance(node, ast.Assign)
    and isinstance(node.targets[0], ast.Attribute)
    and not is_group(node.value)
  }
  assert len(lines) == len(overrides.flatten(schema.default()))
  assert [name for name, line in lines.items() if line not in commented] == []


def test_each_call_gives_a_configuration_of_its_own():
  schema.default().model.name = 'ViT-H/14'
  assert schema.default().model.name != 'ViT-H/14'


@pytest.mark.parametrize('table', [assembly.CHOICES, validation.RANGES])
def test_tables_name_fields_that_exist(table):
  assert set(table) <= set(overrides.flatten(schema.default()))


def test_defaults_are_among_the_choices_and_in_range():
  default = schema.default()
  for field, choices in assembly.CHOICES.items():
    assert schema.lookup(default, field) in choices
  for field, (low, high) in validation.RANGES.items():
    value = schema.lookup(default, field)
    if value is not None:
      assert low <= value and (high is None or value <= high)


# Validation ------------------------------------------------------------------


@pytest.mark.parametrize(
  'values',
  [
    {},
    {'run.num_steps': None, 'run.num_epochs': 3.0},
    {'data.resolution': (32, 64)},
    {'model.name': 'BiT-R50x1', 'data.resolution': (223,)},
    {'run.eval_batch_size': 16},
    {'run.profile_steps': (7, 7)},
    {'run.profile_steps': ()},
    {'run.peak_flops_per_device': 1e12},
    {'mesh.fsdp': 2, 'mesh.tensor': 4},
    {
      'model.position_embedding': 'relative',
      'model.position_placement': 'shared',
    },
  ],
)
def test_what_fits_passes(values):
  validation.validate(config(**values), num_devices=8)


@pytest.mark.parametrize('field', assembly.CHOICES)
def test_an_unknown_choice_is_refused(field):
  with pytest.raises(errors.UserError, match=f"{field}='nonsense' is unknown"):
    assembly.validate(config(**{field: 'nonsense'}), 8)


@pytest.mark.parametrize('field', validation.RANGES)
def test_a_value_out_of_range_is_refused(field):
  low, high = validation.RANGES[field]
  for bound, step in (low, -1), (high, 1):
    if bound is not None:
      changed = config()
      changed.unlock()
      *groups, leaf = field.split('.')
      group = schema.lookup(changed, groups[0]) if groups else changed
      group[leaf] = group.get_type(leaf)(bound + step)
      with pytest.raises(errors.UserError, match=f'{field}=.* does not fit; '):
        validation.validate(changed, 8)


@pytest.mark.parametrize(
  'values, message',
  [
    ({'model.dropout': 1.0}, 'it is from 0 to 0.99'),
    ({'run.log_every': 0}, 'run.log_every=0 does not fit; it is at least 1'),
    ({'data.resolution': ()}, r'neither \(side,\) nor \(rows, columns\)'),
    ({'data.resolution': (32, 32, 3)}, r'neither \(side,\) nor'),
    ({'data.resolution': (0,)}, r'data\.resolution=\(0,\) is neither'),
    ({'data.resolution': (100,)}, 'the nearest that fit: 96, 112'),
    ({'data.resolution': (32, 7)}, r'=7 is not .* 16 pixels .*fit: 16\.'),
    (
      {'model.position_embedding': 'relative'},
      'model.position_placement=stem does not fit: every_layer or shared',
    ),
    ({'run.num_epochs': 3.0}, 'Exactly one .* num_epochs=3.0, num_steps=100'),
    ({'run.num_steps': None}, 'Exactly one .* num_epochs=None, num_steps=None'),
    (
      {'optimizer.warmup_steps': 101},
      'warmup_steps=101 is longer than the training of 100 steps; .*, 10, is',
    ),
    (
      {'mesh.fsdp': 3},
      r'fsdp=3 times mesh\.tensor=1 is 3, which does not divide the 8 device',
    ),
    ({'mesh.data': 0}, 'mesh.data=0 is not a number of devices; give -1'),
    ({'mesh.data': -2}, 'mesh.data=-2 is not a number'),
    (
      {'mesh.data': 5, 'mesh.tensor': 2},
      'data=5 x fsdp=1 x tensor=2 needs 10 devices and there are 8; mesh.data=',
    ),
    (
      {'run.batch_size': 12},
      'run.batch_size=12 .* 8 devices .*: 8, 16',
    ),
    ({'run.batch_size': 4}, r'nearest that do: 8\.'),
    ({'run.eval_batch_size': 9}, 'run.eval_batch_size=9 does not divide'),
    (
      {'run.profile_steps': (7,)},
      r'\(7,\) are not the first and the last step',
    ),
    (
      {'run.profile_steps': (9, 7)},
      r'\(9, 7\) are not .*, as \(100, 110\) are',
    ),
    ({'run.profile_steps': (0, 7)}, r'\(0, 7\) are not'),
  ],
)
def test_a_contradiction_is_explained(values, message):
  with pytest.raises(errors.UserError, match=message):
    validation.validate(config(**values), num_devices=8)


# What follows from fields ----------------------------------------------------


def test_epochs_and_steps_count_the_same_images():
  run = config(**{'run.num_steps': None, 'run.num_epochs': 2.5}).run
  assert schema.num_steps(run, num_examples=80) == 25
  assert schema.num_steps(config().run, num_examples=80) == 100


def test_a_training_has_at_least_a_step():
  run = config(**{'run.num_steps': None, 'run.num_epochs': 0.0}).run
  assert schema.num_steps(run, num_examples=80) == 1


def test_one_number_is_a_square():
  assert schema.image_size(config().data) == (224, 224)
  data = config(**{'data.resolution': (64, 32)}).data
  assert schema.image_size(data) == (64, 32)


def test_the_mesh_takes_the_devices_that_are_left():
  mesh = config(**{'mesh.fsdp': 2, 'mesh.tensor': 2}).mesh
  assert schema.mesh_sizes(mesh, 16) == {'data': 4, 'fsdp': 2, 'tensor': 2}
  mesh = config(**{'mesh.data': 2}).mesh
  assert schema.mesh_sizes(mesh, 16) == {'data': 2, 'fsdp': 1, 'tensor': 1}


def test_every_part_of_a_batch_divides_over_the_devices():
  values = {'run.batch_size': 32, 'optimizer.accumulation_steps': 3}
  with pytest.raises(
    errors.UserError, match=r'accumulation_steps=3; .* 24, 48\.'
  ):
    validation.validate(config(**values), num_devices=8)
  values['optimizer.accumulation_steps'] = 4
  validation.validate(config(**values), num_devices=8)
  with pytest.raises(errors.UserError, match=r'over the 3 devices .* 30, 33\.'):
    validation.validate(config(**{'run.batch_size': 32}), num_devices=3)


def test_a_schedule_goes_down():
  values = {
    'optimizer.learning_rate': 1e-4,
    'optimizer.end_learning_rate': 1e-3,
  }
  with pytest.raises(
    errors.UserError, match=r'end_learning_rate=0\.001 is above'
  ):
    validation.validate(config(**values), num_devices=1)


@pytest.mark.parametrize(
  'pattern',
  [
    '(a+)+',
    '(.*/)*kernel',
    '.*' * 5 + 'x',
    'a' * 301,
    '(unclosed',
    '[a',
    'x{99999999999}',
    r'(\)*)*',
  ],
)
@pytest.mark.parametrize('field', ['decay_rules', 'trainable_rules'])
def test_a_pattern_that_might_match_for_ever_is_refused(field, pattern):
  changed = config()
  value = True if field == 'trainable_rules' else 1.0
  changed.optimizer[field] = ((pattern, value), ('.*', value))
  with pytest.raises(errors.UserError, match=f'optimizer.{field}=.* not fit'):
    validation.validate(changed, 8)


@pytest.mark.parametrize(
  'pattern', [r'a\)*b', '[)*]+x', '.*/(kernel|bias)', '(a.*|b.*|c.*|d.*|e.*)x']
)
def test_patterns_that_end_are_taken(pattern):
  validation.check_patterns('rules', ((pattern, 1.0),))
