"""Fields as data: what `schema` says, no more and no less."""

import pytest

from vit_jax import errors
from vit_jax.config import fields, overrides, schema, validation
from vit_jax.training import assembly

NAMES = [*overrides.flatten(schema.default())]


def names(pattern):
  return [field.name for field in fields.matching(pattern)]


def test_every_field_is_described_in_the_order_of_the_page():
  assert sorted(names('*')) == sorted(NAMES)
  # A configuration sorts its fields; the page has them by topic.
  assert names('*')[:3] == ['seed', 'init', 'model.name']
  assert names('*')[-1] == 'mesh.tensor'


@pytest.mark.parametrize('name', NAMES)
def test_a_comment_makes_sense_alone(name):
  comment = fields.comments()[name]
  assert comment.endswith('.')
  # A value that it takes, or a sentence.
  start = comment.partition(' ')[0].strip(',:')
  known = assembly.CHOICES.get(name, ())
  assert start[0].isupper() or start[0].isdigit() or start in known


def test_comments_go_on_below_the_line_and_end_at_the_next_field():
  told = fields.comments()
  assert told['seed'] == (
    'Of parameters, data order, augmentation and dropout.'
  )
  assert told['model.depth'] == 'Number of layers. None: as model.name says.'
  assert told['optimizer.trainable_rules'] == (
    'Pairs as decay_rules; False: frozen, and without optimizer state.'
  )


def test_a_field_has_its_type_default_choices_and_bounds():
  (field,) = fields.matching('optimizer.schedule', assembly.CHOICES)
  assert (field.kind, field.default) == ('a str', 'cosine')
  assert field.choices == ('cosine', 'linear', 'rsqrt', 'constant')
  assert field.bounds is None
  (field,) = fields.matching('run.patience')
  assert (field.kind, field.default) == ('an int, or none', None)
  assert field.bounds == validation.RANGES['run.patience']
  assert field.choices is None


def test_patterns_groups_and_names_without_a_group_find_fields():
  assert names('mesh') == ['mesh.data', 'mesh.fsdp', 'mesh.tensor']
  assert (
    names('*.name')
    == names('name')
    == [
      'model.name',
      'objective.name',
      'optimizer.name',
    ]
  )
  assert names('run.num_*') == ['run.num_epochs', 'run.num_steps']
  assert names('data.resolution') == ['data.resolution']


def test_a_pattern_that_finds_nothing_names_the_nearest():
  with pytest.raises(errors.UserError, match=r'Did you mean .*learning_rate'):
    fields.matching('optimizer.learnin_rate')
  with pytest.raises(errors.UserError, match=r"'\*crop\*'"):
    fields.matching('crop')


def test_the_text_explains_a_field_and_shows_the_values_of_a_recipe():
  found = fields.matching('seed') + fields.matching('optimizer.eps')
  assert fields.text(found) == (
    'seed = 0\n  an int, from 0 to 4,294,967,295\n'
    '  Of parameters, data order, augmentation and dropout.\n\n'
    'optimizer.eps = 1e-08\n  a finite float, from 0 to 1\n'
    "  Adam's epsilon, of the denominator."
  )
  config = schema.default()
  config.seed = 3
  assert fields.text(found, config) == (
    '* seed = 3  (default: 0)\n  optimizer.eps = 1e-08'
  )
  rows = fields.table(found, config)
  assert [row['is_default'] for row in rows] == [False, True]
  assert (rows[0]['min'], rows[0]['max']) == (0, 2**32 - 1)
