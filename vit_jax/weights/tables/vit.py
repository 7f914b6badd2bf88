"""ViTs and hybrids: their names in every format.

Google's .npz (gs://vit_models) number the modules of a layer together
(pre-linen) in the released files; files that later Flax code wrote count every
kind of module from zero (linen).

big_vision's .npz (gs://big_vision, and the image towers of LiT and SigLIP) add
position embeddings before the class token and have no row for it; pooling may
be by attention (MAP); the layers may be stacked in one array each (scan).

transformers' .safetensors, as saved by `save_pretrained`, compute with the
exact GELU and LayerNorm's epsilon of 1e-12; the tanh layer is called pooler.

timm's .safetensors compute with the exact GELU and, in hybrids, GroupNorm's
epsilon of 1e-5; weights that came from Google were trained with ours.
"""

import math

from vit_jax import errors
from vit_jax.config import model_names
from vit_jax.weights import mapping, resizing, tables
from vit_jax.weights.files import weights_file
from vit_jax.weights.tables import torch_layout

# Google's --------------------------------------------------------------------

# Of the norm and the attention, then of the norm and the MLP of a layer.
NUMBERING = {'pre_linen': (0, 1, 2, 3), 'linen': (0, 0, 1, 0)}

# GroupNorm's arrays are (1, 1, 1, channels) in the released files.
NORM = mapping.one_to_one(
  lambda array, shape: array.reshape(-1),
  lambda array: array.reshape(1, 1, 1, -1),
)


def table(names):
  """Returns the rows for a file of Google that has the given names."""
  return rows(find_numbering(names))


def find_numbering(names):
  """Returns which of NUMBERING a file with the given names follows."""
  linen = any('/MlpBlock_0/' in name for name in names)
  return 'linen' if linen else 'pre_linen'


def rows(numbering='pre_linen'):
  """Returns the rows of one of NUMBERING, for plain ViTs and hybrids."""
  row = mapping.row
  return (
    row('cls', 'class_token'),
    row('embedding/{leaf}', 'stem/embedding/{leaf}'),
    row(
      'Transformer/posembed_input/pos_embedding',
      'encoder/position_embedding/embedding',
    ),
    *layer_rows(
      'Transformer/encoderblock_{layer}', 'encoder/block_{layer}', numbering
    ),
    row('Transformer/encoder_norm/{leaf}', 'encoder/norm/{leaf}'),
    row('pre_logits/{leaf}', 'head_hidden/{leaf}'),
    row('head/{leaf}', 'head/{leaf}'),
    *STEM,
  )


def layer_rows(theirs, ours, numbering):
  """Returns the rows of a Transformer layer."""
  row = mapping.row
  norm_1, attention, norm_2, mlp = NUMBERING[numbering]
  attention = f'{theirs}/MultiHeadDotProductAttention_{attention}'
  return (
    row(
      f'{theirs}/LayerNorm_{norm_1}/{{leaf}}', f'{ours}/attention_norm/{{leaf}}'
    ),
    *attention_rows(attention, f'{ours}/attention'),
    row(f'{theirs}/LayerNorm_{norm_2}/{{leaf}}', f'{ours}/mlp_norm/{{leaf}}'),
    *mlp_rows(f'{theirs}/MlpBlock_{mlp}', f'{ours}/mlp'),
  )


def attention_rows(theirs, ours):
  return tuple(
    mapping.row(f'{theirs}/{name}/{{leaf}}', f'{ours}/{name}/{{leaf}}')
    for name in ('query', 'key', 'value', 'out')
  )


def mlp_rows(theirs, ours):
  return (
    mapping.row(f'{theirs}/Dense_0/{{leaf}}', f'{ours}/hidden/{{leaf}}'),
    mapping.row(f'{theirs}/Dense_1/{{leaf}}', f'{ours}/out/{{leaf}}'),
  )


def _stem_rows():
  row = mapping.row
  theirs, ours = 'block{block}/unit{unit}', 'stem/block_{block}/unit_{unit}'
  return (
    row('conv_root/kernel', 'stem/root_conv/kernel'),
    row('gn_root/{leaf}', 'stem/root_norm/{leaf}', NORM),
    row(f'{theirs}/conv{{conv}}/kernel', f'{ours}/conv_{{conv}}/kernel'),
    row(
      f'{theirs}/gn{{conv}}/{{leaf}}', f'{ours}/norm_{{conv}}/{{leaf}}', NORM
    ),
    row(f'{theirs}/conv_proj/kernel', f'{ours}/projection_conv/kernel'),
    row(f'{theirs}/gn_proj/{{leaf}}', f'{ours}/projection_norm/{{leaf}}', NORM),
  )


STEM = _stem_rows()

# big_vision's ----------------------------------------------------------------

MAX_LAYERS = 1000  # More are a forged shape; the deepest ViT has 56.

_STACKED = 'Transformer/encoderblock/'


def _join_class_row():
  """Our row for the class token is zero; theirs is part of the token."""

  def to_ours(arrays, shapes):
    del shapes
    class_token, embedding = arrays
    xp = embedding.__array_namespace__()
    row = xp.zeros_like(embedding[:, :1])
    return [class_token, xp.concatenate([row, embedding], axis=1)]

  def to_theirs(arrays):
    class_token, embedding = arrays
    return [class_token + embedding[:, :1], embedding[:, 1:]]

  return mapping.Transform(to_ours, to_theirs)


def big_vision_table(names):
  """Returns the rows for a file that has the given names."""
  return big_vision_rows(
    class_token='cls' in names and 'pos_embedding' in names,
    numbering=find_numbering(names),
  )


def big_vision_rows(class_token, numbering='linen'):
  """Returns the rows of a ViT with or without a class token."""
  row, position = mapping.row, 'encoder/position_embedding/embedding'
  if class_token:
    located = row(
      ('cls', 'pos_embedding'), ('class_token', position), _join_class_row()
    )
  else:
    located = row('pos_embedding', position)
  return (
    located,
    row('MAPHead_0/probe', 'pooling/probe'),
    row('MAPHead_0/LayerNorm_0/{leaf}', 'pooling/norm/{leaf}'),
    *attention_rows(
      'MAPHead_0/MultiHeadDotProductAttention_0', 'pooling/attention'
    ),
    *mlp_rows('MAPHead_0/MlpBlock_0', 'pooling/mlp'),
    *rows(numbering),
    row('Transformer/pos_embedding', position),  # Before 2022; as Google's.
  )


def big_vision_view(file):
  """Shows an array per layer where the layers are stacked.

  Raises:
    WeightsFileError: a stack is of no possible depth.
  """
  sources = {}
  for name, header in file.headers.items():
    if not name.startswith(_STACKED):
      sources[name] = (name, None)
      continue
    depth = header.shape[0] if header.shape else 0
    if not 0 < depth <= MAX_LAYERS:
      raise weights_file.WeightsFileError(
        f'{name} of shape {header.shape} is no stack of up to {MAX_LAYERS} '
        'layers.'
      )
    leaf = name.removeprefix(_STACKED)
    for layer in range(depth):
      sources[f'Transformer/encoderblock_{layer}/{leaf}'] = (name, layer)
  return weights_file.View(file, sources)


# transformers' ---------------------------------------------------------------


def huggingface_table(names):
  """Returns the rows for a file that has the given names.

  ViTModel writes the bare names, ViTForImageClassification adds `vit.`.
  """
  prefixed = any(name.startswith('vit.') for name in names)
  return huggingface_rows('vit.' if prefixed else '')


def huggingface_rows(prefix='vit.'):
  """Returns the rows of a ViT."""
  row, layout = mapping.row, torch_layout
  layer, block = f'{prefix}encoder.layer.{{layer}}', 'encoder/block_{layer}'
  embeddings = f'{prefix}embeddings'
  attention = f'{block}/attention'
  return (
    row(f'{embeddings}.cls_token', 'class_token'),
    row(
      f'{embeddings}.position_embeddings',
      'encoder/position_embedding/embedding',
    ),
    *layout.weight_and_bias(
      f'{embeddings}.patch_embeddings.projection',
      'stem/embedding',
      layout.CONVOLUTION,
    ),
    *layout.norm(f'{layer}.layernorm_before', f'{block}/attention_norm'),
    *(
      part
      for name in ('query', 'key', 'value')
      for part in layout.heads(
        f'{layer}.attention.attention.{name}', (f'{attention}/{name}',)
      )
    ),
    *layout.weight_and_bias(
      f'{layer}.attention.output.dense', f'{attention}/out', layout.TO_WIDTH
    ),
    *layout.norm(f'{layer}.layernorm_after', f'{block}/mlp_norm'),
    *layout.weight_and_bias(
      f'{layer}.intermediate.dense', f'{block}/mlp/hidden', layout.LINEAR
    ),
    *layout.weight_and_bias(
      f'{layer}.output.dense', f'{block}/mlp/out', layout.LINEAR
    ),
    *layout.norm(f'{prefix}layernorm', 'encoder/norm'),
    *layout.weight_and_bias(
      f'{prefix}pooler.dense', 'head_hidden', layout.LINEAR
    ),
    *layout.weight_and_bias('classifier', 'head', layout.LINEAR),
  )


def _huggingface_rows_of(flat):
  _check_complete('huggingface', flat, resizing.POSITIONS, 'class_token')
  return huggingface_rows('vit.' if 'head/kernel' in flat else '')


def _huggingface_config(card, sizes):
  rows, columns = card.image_size
  return {
    'architectures': [
      'ViTForImageClassification' if card.num_classes else 'ViTModel'
    ],
    'model_type': 'vit',
    'dtype': 'float32',
    'hidden_size': sizes.width,
    'num_hidden_layers': sizes.depth,
    'num_attention_heads': sizes.num_heads,
    'intermediate_size': sizes.mlp_dim,
    'hidden_act': 'gelu' if card.model.gelu == 'erf' else 'gelu_pytorch_tanh',
    'layer_norm_eps': card.model.norm_epsilon,
    'hidden_dropout_prob': 0.0,
    'attention_probs_dropout_prob': 0.0,
    'image_size': rows if rows == columns else [rows, columns],
    'patch_size': sizes.patch_size,
    'num_channels': 3,
    'qkv_bias': True,
  }


# timm's ----------------------------------------------------------------------

BACKBONE = 'patch_embed.backbone'


def timm_table(names):
  """Returns the rows for a file that has the given names."""
  if f'{BACKBONE}.conv.weight' in names:  # R+ViT-Ti/16, all of it a root.
    return timm_rows(root=BACKBONE)
  return timm_rows()


def timm_rows(root=f'{BACKBONE}.stem'):
  """Returns the rows of a ViT or hybrid, whose root is called `root`."""
  row, layout = mapping.row, torch_layout
  block, ours = 'blocks.{layer}', 'encoder/block_{layer}'
  return (
    row('cls_token', 'class_token'),
    row('pos_embed', 'encoder/position_embedding/embedding'),
    *layout.weight_and_bias(
      'patch_embed.proj', 'stem/embedding', layout.CONVOLUTION
    ),
    *_timm_stem_rows(root),
    *layout.norm(f'{block}.norm1', f'{ours}/attention_norm'),
    *layout.heads(
      f'{block}.attn.qkv',
      tuple(f'{ours}/attention/{name}' for name in ('query', 'key', 'value')),
    ),
    *layout.weight_and_bias(
      f'{block}.attn.proj', f'{ours}/attention/out', layout.TO_WIDTH
    ),
    *layout.norm(f'{block}.norm2', f'{ours}/mlp_norm'),
    *layout.mlp_rows(f'{block}.mlp', f'{ours}/mlp'),
    *layout.norm('norm', 'encoder/norm'),
    *_timm_pooling_rows(),
    *layout.weight_and_bias('head', 'head', layout.LINEAR),
  )


def _timm_pooling_rows():
  layout, ours = torch_layout, 'pooling/attention'
  return (
    mapping.row('attn_pool.latent', 'pooling/probe'),
    *layout.heads('attn_pool.q', (f'{ours}/query',)),
    *layout.heads('attn_pool.kv', (f'{ours}/key', f'{ours}/value')),
    *layout.weight_and_bias('attn_pool.proj', f'{ours}/out', layout.TO_WIDTH),
    *layout.norm('attn_pool.norm', 'pooling/norm'),
    *layout.mlp_rows('attn_pool.mlp', 'pooling/mlp'),
  )


def _timm_stem_rows(root):
  row, layout = mapping.row, torch_layout
  unit = f'{BACKBONE}.stages.{{block-1}}.blocks.{{unit-1}}'
  ours = 'stem/block_{block}/unit_{unit}'
  return (
    row(f'{root}.conv.weight', 'stem/root_conv/kernel', layout.CONVOLUTION),
    *layout.norm(f'{root}.norm', 'stem/root_norm'),
    *layout.unit_rows(unit, ours),
    *layout.norm(f'{unit}.downsample.norm', f'{ours}/projection_norm'),
  )


def _timm_rows_of(flat):
  _check_complete('timm', flat, resizing.POSITIONS)
  has_units = any(path.startswith('stem/block_') for path in flat)
  return timm_rows() if has_units else timm_rows(BACKBONE)


# Names of timm by ours; for a plain ViT any will do that exists, since the
# arguments tell all of its sizes.
_TIMM_SIZES = {
  'Ti': 'tiny',
  'S': 'small',
  'B': 'base',
  'L': 'large',
  'H': 'huge',
  'g': 'giant',
  'G': 'gigantic',
}
_TIMM_VITS = (
  *('tiny_patch16', 'small_patch8', 'small_patch16', 'small_patch32'),
  *('base_patch8', 'base_patch16', 'base_patch32', 'large_patch14'),
  *('large_patch16', 'large_patch32', 'huge_patch14', 'giant_patch14'),
  'gigantic_patch14',
)
_TIMM_HYBRIDS = {
  'R+ViT-Ti/16': 'vit_tiny_r_s16_p8_224',
  'R26+ViT-S/32': 'vit_small_r26_s32_224',
  'R26+ViT-B/32': 'vit_base_r26_s32_224',
  'R50+ViT-B/16': 'vit_base_r50_s16_224',
  'R50+ViT-L/32': 'vit_large_r50_s32_224',
}
_TIMM_POOLS = {'class_token': 'token', 'average': 'avg', 'attention': 'map'}


def _timm_vit(card, sizes):
  size = _TIMM_SIZES.get(model_names.parse(card.model.name).size)
  known = f'{size}_patch{sizes.patch_size}'
  architecture = known if known in _TIMM_VITS else 'base_patch16'
  return f'vit_{architecture}_224', _timm_arguments(card, sizes)


def _timm_hybrid(card, sizes):
  architecture = errors.choose(
    'The model for timm', card.model.name, _TIMM_HYBRIDS
  )
  return architecture, _timm_arguments(card, sizes)


def _timm_arguments(card, sizes):
  return {
    'img_size': list(card.image_size),
    'patch_size': sizes.patch_size,
    'embed_dim': sizes.width,
    'depth': sizes.depth,
    'num_heads': sizes.num_heads,
    'mlp_ratio': _ratio(sizes),
    'act_layer': 'gelu' if card.model.gelu == 'erf' else 'gelu_tanh',
    'class_token': card.model.pooling == 'class_token',
    'global_pool': _TIMM_POOLS[card.model.pooling],
    'fc_norm': False,
  }


def _ratio(sizes):
  """Returns what timm multiplies the width by, and then rounds down."""
  ratio = sizes.mlp_dim / sizes.width
  exact = int(sizes.width * ratio) == sizes.mlp_dim
  return ratio if exact else math.nextafter(ratio, math.inf)


# What is written --------------------------------------------------------------


def _check_complete(format_name, flat, *needed):
  """Refuses what a reader would have to make up."""
  missing = [path for path in needed if path not in flat]
  if missing:
    raise errors.UserError(
      f'A ViT of {format_name} has {" and ".join(missing)}, which this model '
      'has not.'
    )


WRITERS = {
  'google': tables.Writer(lambda flat: rows()),
  'big_vision': tables.Writer(
    lambda flat: big_vision_rows(class_token='class_token' in flat)
  ),
  'huggingface': tables.Writer(_huggingface_rows_of, _huggingface_config),
  'timm': tables.Writer(_timm_rows_of, _timm_vit),
}
HYBRID_WRITERS = WRITERS | {
  'timm': tables.Writer(_timm_rows_of, _timm_hybrid),
}
