"""Tables are bijections: every leaf on both sides is accounted for."""

import functools
import re

import jax
import numpy as np
import pytest

from vit_jax import models, pytrees
from vit_jax.weights import mapping
from vit_jax.weights.tables import (
  big_vision,
  bit,
  huggingface,
  mixer,
  timm,
  vit,
)

TABLES = {
  'pre-linen': vit.rows('pre_linen'),
  'linen': vit.rows('linen'),
  'big_vision': big_vision.rows(class_token=False),
  'big_vision with a class token': big_vision.rows(class_token=True),
  'huggingface': huggingface.rows(),
  'timm': timm.vit_rows(),
  'bit': bit.rows(),
  'timm resnet': timm.resnet_rows(),
  'mixer': mixer.rows(),
  'timm mixer': timm.mixer_rows(),
}
# The fields of a small model that has every kind of layer that a table knows.
TANH, POOLED = {'head': 'pre_logits'}, {'pooling': 'attention'}
SMALL = [
  ('pre-linen', 'ViT-B/16', TANH),
  ('linen', 'ViT-B/16', TANH),
  ('pre-linen', 'ViT-B/16', {'pooling': 'average'}),
  ('pre-linen', 'R26+ViT-S/32', {}),
  ('linen', 'R+ViT-Ti/16', {}),
  ('huggingface', 'ViT-B/16', TANH),
  ('timm', 'ViT-B/16', {}),
  ('timm', 'ViT-B/16', POOLED),
  ('timm', 'R26+ViT-S/32', {}),
  ('big_vision', 'ViT-B/16', POOLED),
  ('big_vision', 'ViT-B/16', {'pooling': 'average', **TANH}),
]
# Tables by what the names of their models begin with.
FAMILIES = {
  'ViT': ('pre-linen', 'linen', 'huggingface', 'timm'),
  'R': ('pre-linen', 'linen', 'timm'),
  'BiT': ('bit', 'timm resnet'),
  'Mixer': ('mixer', 'timm mixer'),
}


def there_and_back(flat, table, like):
  return mapping.to_ours(mapping.to_theirs(flat, table), table, like)


@pytest.mark.parametrize(('table', 'name', 'fields'), SMALL)
def test_there_and_back_gives_the_same_arrays(table, name, fields, zoo):
  model = zoo.small(name=name, **fields)
  flat = zoo.params(model, 32)
  back = there_and_back(flat, TABLES[table], flat)
  assert back.keys() == flat.keys()
  for path in flat:
    np.testing.assert_array_equal(back[path], flat[path], err_msg=path)


@pytest.mark.parametrize('name', models.NAMES)
def test_every_named_model_has_its_rows(name, zoo):
  shapes = zoo.shapes(zoo.build(name), 224)
  family = re.match('ViT|BiT|Mixer|R', name)[0]
  for table in FAMILIES[family]:
    convert = functools.partial(
      there_and_back, table=TABLES[table], like=shapes
    )
    back = jax.eval_shape(convert, shapes)
    assert not pytrees.diff(back, shapes), table


def test_all_that_is_wrong_is_reported_together(zoo):
  flat = zoo.params(zoo.small(), 32)
  theirs = dict(mapping.to_theirs(flat, timm.vit_rows()))
  theirs['blocks.0.attn.q_norm.weight'] = np.ones(4)
  theirs['strange'] = np.ones(4)
  theirs['blocks.1.attn.qkv.weight'] = np.ones((24, 7))
  with pytest.raises(mapping.MappingError) as caught:
    mapping.to_ours(theirs, timm.vit_rows(), flat)
  message = str(caught.value)
  assert '- blocks.0.attn.q_norm.weight: of no known layer' in message
  assert '- strange: of no known layer' in message
  assert '! blocks.1.attn.qkv.weight: (24, 7) (wanted: to become' in message


def test_arrays_that_belong_together_must_be_complete(zoo):
  flat = zoo.params(zoo.small(), 32)
  flat.pop('encoder/block_1/attention/value/bias')
  with pytest.raises(mapping.MappingError, match=r'value/bias: goes with'):
    mapping.to_theirs(flat, timm.vit_rows())


def test_two_names_for_one_leaf_are_refused():
  table = (mapping.row('a', 'x'), mapping.row('b', 'x'))
  with pytest.raises(mapping.MappingError, match='a second x'):
    mapping.to_ours({'a': np.ones(1), 'b': np.ones(1)}, table, {})


def test_each_array_is_read_once():
  class Counting(dict):
    def __getitem__(self, name):
      reads.append(name)
      return super().__getitem__(name)

  reads = []
  flat = Counting({'head/bias': np.ones(2), 'head/kernel': np.ones((2, 2))})
  mapping.to_ours(flat, vit.rows(), {})
  assert sorted(reads) == ['head/bias', 'head/kernel']
