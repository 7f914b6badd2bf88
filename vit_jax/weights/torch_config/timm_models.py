"""What timm's names and arguments say of a model, and its arrays do not.

Arrays tell sizes, and whether there are biases, norms, pooling by attention or
other parameters: what is not of these models is refused when they are read. An
activation, the number of heads, or which tokens are averaged leaves no trace in
them: it is used, or refused here by name. Names and defaults as of timm 1.0.31.
"""

import dataclasses
import re

from vit_jax import errors

_ACT_LAYERS = {'gelu': 'erf', 'gelu_tanh': 'tanh'}
_POOLINGS = {'token': 'class_token', 'avg': 'average', 'map': 'attention'}

# {word for the size of a ViT: attention heads}.
_HEADS = {
  'tiny': 3,
  **dict.fromkeys(('wee', 'xsmall'), 4),
  'little': 5,
  'small': 6,
  **dict.fromkeys(('medium', 'mediumd'), 8),
  'betwixt': 10,
  'base': 12,
  'so150m2': 13,
  'so150m': 14,
  **dict.fromkeys(('large', 'huge', 'giant', 'gigantic', 'so400m'), 16),
  'giantopt': 16,
}
_SIZE = re.compile(r'(?:vit|deit3?|flexivit|beit3|eva)_([a-z0-9]+)')
# {pattern of names: arguments that timm gives to these, where they are not
# those of most}; all that match count.
_DEFAULTS = {
  # SigLIP 2 and some of the first; their cards say nothing of it.
  r'vit_base_patch32_siglip_(gap_)?256': {'act_layer': 'gelu_tanh'},
  r'vit_large_patch16_siglip_(gap_)?512': {'act_layer': 'gelu_tanh'},
  r'vit_so400m_patch16_siglip_\w+': {'act_layer': 'gelu_tanh'},
  r'vit_giantopt_patch16_siglip_\w+': {'act_layer': 'gelu_tanh'},
  r'vit_\w+_quickgelu_\d+': {'act_layer': 'quickgelu'},
  r'vit_base_patch16_gap_224': {'num_heads': 16},
  r'vit_base_patch\d+_plus_\w+': {'num_heads': 14},
  r'vit_giant_\w+_(dinov2|tipsv2|radio_v3)': {'num_heads': 24},
  r'vit_small_resnet\w+': {'num_heads': 8},
}
# {pattern of names: why they are not read}; the first that matches counts.
_REFUSED = {
  r'(vit_\w+_(rope|dinov3|lingbot|sapiens2)|vit_pe_|eva02_)\w*': (
    'rotary position embeddings (RoPE)'
  ),
  r'(vit_s?relpos|beit(v2)?)_\w+': 'relative position bias',
  r'swinv2_\w+': 'windowed attention (Swin V2)',
  r'swin_\w+': 'windowed attention (Swin)',
  r'vit_\w+_(18x2|xp)_\d+|vit_\w?pwee_\w+': 'parallel blocks',
  r'vit_d(little|wee)_\w+': 'differential attention',
  r'vit_\w+_rpn_\d+': 'norms behind each layer (ResPostBlock)',
}
# Of these, arrays and the two tables above tell all.
_KNOWN = re.compile(
  r'(vit|deit3?|flexivit|beit3|eva|mixer|resnetv2)(_\w+)?', re.ASCII
)

# What has no effect on a trained model, or shows in its arrays.
_FREE = frozenset(
  (
    *('drop_rate', 'pos_drop_rate', 'patch_drop_rate', 'proj_drop_rate'),
    *('attn_drop_rate', 'drop_path_rate', 'weight_init', 'fix_init', 'nlhb'),
    *('dynamic_img_size', 'dynamic_img_pad', 'strict_img_size', 'zero_init'),
    *('img_size', 'patch_size', 'embed_dim', 'depth', 'mlp_ratio'),
    *('num_classes', 'num_blocks', 'layers', 'channels', 'width_factor'),
    *('class_token', 'pos_embed', 'no_embed_class', 'reg_tokens'),
    *('qkv_bias', 'proj_bias', 'qk_norm', 'scale_attn_norm', 'scale_mlp_norm'),
    *('init_values', 'pre_norm', 'final_norm', 'fc_norm'),
    *('drop_block_rate', 'stem_chs'),
  )
)
# {pattern of names: {argument: values that mean what is computed here}}.
_FIXED = {
  r'.*': {'in_chans': (3,), 'pool_include_prefix': (False,)},
  r'resnetv2_\w+': {
    'act_layer': ('relu',),
    'global_pool': ('avg',),
    'output_stride': (32,),
  },
  r'mixer_\w+': {'global_pool': ('avg',)},
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is said of a model; None where its arrays tell.

  gelu, num_heads, pooling: fields of the configuration's part `model`.
  """

  gelu: str = 'erf'
  num_heads: int | None = None
  pooling: str | None = None


def settings(architecture, arguments):
  """Returns the `Settings` of a model.

  Args:
    architecture: timm's name of it, without a tag; '': not said.
    arguments: {name: value} that it was made with, in place of timm's own.

  Raises:
    UserError: there is no such model here; it names what is not understood.
  """
  _check_name(architecture)
  given = {name: v for name, v in arguments.items() if v is not None}
  size = _SIZE.match(architecture)
  said = {'num_heads': _HEADS.get(size and size[1])}
  said |= _of_name(_DEFAULTS, architecture) | given
  for name, values in _of_name(_FIXED, architecture).items():
    value = said.pop(name, values[0])
    if value not in values:
      raise errors.UserError(
        f'{name}={value!r} is not computed here; {values[0]!r} is.'
      )
  is_mixer = architecture.startswith('mixer_')
  if 'embed_dim' in given and said['num_heads'] is None and not is_mixer:
    raise errors.UserError(
      f'embed_dim={given["embed_dim"]}, and nothing says num_heads; add it to '
      'model_args.'
    )
  found = Settings(
    gelu=errors.choose('act_layer', said.pop('act_layer', 'gelu'), _ACT_LAYERS),
    num_heads=_count('num_heads', said.pop('num_heads', None)),
    pooling=_chosen('global_pool', said.pop('global_pool', None), _POOLINGS),
  )
  unknown = sorted(said.keys() - _FREE)
  if unknown:
    name = unknown[0]
    raise errors.UserError(
      f'{name}={said[name]!r} is not understood, and may change what the '
      'model computes.'
    )
  return found


def _check_name(architecture):
  for pattern, reason in _REFUSED.items():
    if re.fullmatch(pattern, architecture):
      raise errors.UserError(
        f'{architecture} has {reason}, which no model here has.'
      )
  if architecture and not _KNOWN.fullmatch(architecture):
    raise errors.UserError(
      f'architecture={architecture!r} is not understood: what its arrays do '
      'not say is known of ViTs, hybrids, Mixers and BiTs of timm only.'
    )


def _of_name(table, architecture):
  """Returns what all patterns that match a name say together."""
  found = {}
  for pattern, values in table.items():
    if re.fullmatch(pattern, architecture):
      found |= values
  return found


def _chosen(name, value, table):
  return None if value is None else errors.choose(name, value, table)


def _count(name, value):
  if value is not None and type(value) is not int:
    raise errors.UserError(f'{name}={value!r} is no number.')
  return value
