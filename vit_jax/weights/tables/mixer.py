"""MLP-Mixer (Tolstikhin et al., 2021): its names in every format.

The .npz files of gs://mixer_models, and timm's .safetensors.
"""

from vit_jax.weights import mapping, tables
from vit_jax.weights.tables import torch_layout, vit


def table(names):
  """Returns the rows; every file has the same."""
  del names
  return rows()


def rows():
  row = mapping.row
  theirs, ours = 'MixerBlock_{layer}', 'block_{layer}'
  return (
    row('stem/{leaf}', 'stem/embedding/{leaf}'),
    row(f'{theirs}/LayerNorm_0/{{leaf}}', f'{ours}/token_norm/{{leaf}}'),
    *vit.mlp_rows(f'{theirs}/token_mixing', f'{ours}/token_mlp'),
    row(f'{theirs}/LayerNorm_1/{{leaf}}', f'{ours}/channel_norm/{{leaf}}'),
    *vit.mlp_rows(f'{theirs}/channel_mixing', f'{ours}/channel_mlp'),
    row('pre_head_layer_norm/{leaf}', 'norm/{leaf}'),
    row('head/{leaf}', 'head/{leaf}'),
  )


def timm_table(names):
  """Returns the rows; every file has the same."""
  del names
  return timm_rows()


def timm_rows():
  """Returns the rows of an MLP-Mixer."""
  layout = torch_layout
  block, ours = 'blocks.{layer}', 'block_{layer}'
  return (
    *layout.weight_and_bias('stem.proj', 'stem/embedding', layout.CONVOLUTION),
    *layout.norm(f'{block}.norm1', f'{ours}/token_norm'),
    *torch_layout.mlp_rows(f'{block}.mlp_tokens', f'{ours}/token_mlp'),
    *layout.norm(f'{block}.norm2', f'{ours}/channel_norm'),
    *torch_layout.mlp_rows(f'{block}.mlp_channels', f'{ours}/channel_mlp'),
    *layout.norm('norm', 'norm'),
    *layout.weight_and_bias('head', 'head', layout.LINEAR),
  )


def _timm_mixer(card, sizes):
  """Returns any Mixer that exists, and the arguments that make it this one.

  Its GELU is the exact one: timm takes no other by name.
  """
  return 'mixer_b16_224', {
    'img_size': list(card.image_size),
    'patch_size': sizes.patch_size,
    'num_blocks': sizes.depth,
    'embed_dim': sizes.width,
  }


_NPZ = tables.Writer(lambda flat: rows())
WRITERS = {
  'mixer': _NPZ,
  'google': _NPZ,
  'big_vision': _NPZ,
  'timm': tables.Writer(lambda flat: timm_rows(), _timm_mixer),
}
