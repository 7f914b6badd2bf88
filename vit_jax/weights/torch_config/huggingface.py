"""config.json of transformers; its image processors are in `processor`."""

import dataclasses
import re

from vit_jax import errors
from vit_jax.data.datasets import class_names
from vit_jax.weights import formats
from vit_jax.weights.torch_config import processor, told

_HIDDEN_ACTS = {
  'gelu': 'erf',
  'gelu_pytorch_tanh': 'tanh',
  'gelu_new': 'tanh',
  'gelu_fast': 'tanh',
}
# {field: the values that mean what is computed here}.
_FIXED = {
  'qkv_bias': (True,),
  'num_channels': (3,),
  'pooler_act': ('tanh',),
}
# What is used, shows in the arrays, or has no effect on a trained model.
_FREE = frozenset(
  (
    *('model_type', 'hidden_act', 'layer_norm_eps', 'num_attention_heads'),
    *('image_size', 'id2label', 'label2id', 'num_labels', '_num_labels'),
    *('hidden_size', 'num_hidden_layers', 'intermediate_size', 'patch_size'),
    *('pooler_output_size', 'encoder_stride', 'initializer_range'),
    *('hidden_dropout_prob', 'attention_probs_dropout_prob'),
    *('architectures', '_name_or_path', 'name_or_path', 'dtype', 'torch_dtype'),
    *('transformers_version', 'problem_type', 'finetuning_task', 'task'),
    *('attn_implementation', '_attn_implementation', 'use_bfloat16'),
    *('_attn_implementation_autoset', 'torchscript', 'chunk_size_feed_forward'),
    *('return_dict', 'output_attentions', 'output_hidden_states', 'use_cache'),
    *('is_encoder_decoder', 'is_decoder', 'add_cross_attention', 'auto_map'),
    *('tie_word_embeddings', 'tie_encoder_decoder', 'pruned_heads'),
    *('gradient_checkpointing', 'id2synset', 'loss_type', '_commit_hash'),
  )
)
_UNNAMED = re.compile(r'LABEL_\d+')  # What a class without a name is called.


def read(folder):
  """See `torch_config.read`."""
  path = told.config_in(folder)
  if path is not None:
    found = told.read_json(path, _read_config)
  else:
    found = dataclasses.replace(_read_config({}), num_heads=None)
  prepared, image_size, assumed = processor.read(folder, found.image_size)
  return dataclasses.replace(
    found, preprocessing=prepared, image_size=image_size, assumed=assumed
  )


def _read_config(config):
  known = formats.MODEL_TYPES
  if config.get('model_type', known[0]) not in known:
    raise errors.UserError(
      f'The weights are of a {config["model_type"]!r} of transformers; of '
      f'these, {", ".join(map(repr, known))} is understood.'
    )
  heads = config.get('num_attention_heads', 12)
  if type(heads) is not int:
    raise errors.UserError(f'num_attention_heads={heads!r} is no number.')
  _check_fields(config)
  return told.Told(
    errors.choose('hidden_act', config.get('hidden_act', 'gelu'), _HIDDEN_ACTS),
    float(told.number('layer_norm_eps', config.get('layer_norm_eps', 1e-12))),
    heads,
    image_size=told.pair('image_size', config.get('image_size')),
    class_names=_names(config),
    source=_source(config),
  )


def _check_fields(config):
  for name, value in config.items():
    if name in _FIXED and value not in (None, *_FIXED[name]):
      raise errors.UserError(
        f'{name}={value!r} is not computed here; {_FIXED[name][0]!r} is.'
      )
    if name not in _FIXED and name not in _FREE and value is not None:
      raise errors.UserError(
        f'{name}={value!r} is not understood, and may change what the model '
        'computes; take it out of the file if it does not.'
      )


def _names(config):
  names = told.names('id2label', config.get('id2label'), None)
  if names and all(map(_UNNAMED.fullmatch, names)):
    return None
  return names


def _source(config):
  name = config.get('_name_or_path')
  return {'name': name} if name and isinstance(name, str) else {}


def files(card, sizes):
  """See `torch_config.files`."""
  config = formats.writer(card.model.name, 'huggingface').config(card, sizes)
  if card.num_classes:
    names = tuple(f'LABEL_{i}' for i in range(card.num_classes))
    if card.class_names:
      names = class_names.readable(card.class_names)
    config['id2label'] = {str(i): name for i, name in enumerate(names)}
    config['label2id'] = {name: i for i, name in enumerate(names)}
  return {told.CONFIG: config, processor.FILE: processor.write(card)}


def untold(card):
  """See `torch_config.untold`."""
  return processor.untold(card)
