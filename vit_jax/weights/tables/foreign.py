"""What weights have that no model here has, in the words of their authors.

The names of arrays tell; those of timm, transformers and the authors' own
releases are known.
"""

import re

# {pattern of the name of an array: what the model has}.
_SIGNS = {
  r'.*\.(ls1|ls2|layer_scale1|layer_scale2)\.(gamma|lambda1)': 'LayerScale',
  r'.*\.(gamma_[12]|lambda_[12]|layer_scale)': 'LayerScale',
  r'reg_token|register_tokens|.*\.(register_tokens|storage_tokens)': (
    'register tokens'
  ),
  r'dist_token|head_dist\..*|.*distillation_token': 'a distillation token',
  r'norm_pre\..*|.*\.pre_layrnorm\..*|.*ln_pre\..*': (
    'a norm before the encoder, as CLIP'
  ),
  r'.*relative_position_bias.*|.*\.rel_pos\..*': 'relative position bias',
  r'(swin\.)?(encoder\.)?layers\.\d+\.(blocks|downsample)\..*': (
    'windowed attention, as Swin'
  ),
  r'.*\.(q_norm|k_norm|query_norm|key_norm)\..*': 'norms of queries and keys',
  r'fc_norm\..*': 'a norm after pooling (fc_norm)',
  r'.*\.mlp\.(w12|w3|fc1_g|fc1_x|weights_in|weights_out)\..*': 'SwiGLU',
  r'(text_model|transformer\.resblocks|text)\..*': 'a text tower',
  r'.*mask_token': 'a mask token',
  r'decoder\..*|.*\.decoder_.*': 'a decoder',
}


def parts(names):
  """Returns what of these arrays no model here has, in words; () if nothing."""
  names = set(names)
  found = dict.fromkeys(
    words
    for sign, words in _SIGNS.items()
    if any(re.fullmatch(sign, name) for name in names)
  )
  for name in names:
    if name.endswith('.qkv.weight') and _bias(name) not in names:
      found['attention without biases'] = None
  return tuple(found)


def _bias(weight):
  return weight.removesuffix('weight') + 'bias'
