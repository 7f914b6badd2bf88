"""ViTs, hybrids, Mixers and BiT ResNets of timm, saved as .safetensors.

timm computes with the exact GELU and, in its hybrids, GroupNorm's epsilon of
1e-5; weights that came from Google were trained with ours.
"""

from vit_jax.weights import mapping
from vit_jax.weights.tables import torch_layout

BACKBONE = 'patch_embed.backbone'


def table(names):
  """Returns the rows for a file that has the given names."""
  if any('.mlp_tokens.' in name for name in names):
    return mixer_rows()
  if 'stem.conv.weight' in names:
    return resnet_rows()
  if f'{BACKBONE}.conv.weight' in names:  # R+ViT-Ti/16, all of it a root.
    return vit_rows(root=BACKBONE)
  return vit_rows()


def vit_rows(root=f'{BACKBONE}.stem'):
  """Returns the rows of a ViT or hybrid, whose root is called `root`."""
  row, layout = mapping.row, torch_layout
  block, ours = 'blocks.{layer}', 'encoder/block_{layer}'
  return (
    row('cls_token', 'class_token'),
    row('pos_embed', 'encoder/position_embedding/embedding'),
    *layout.weight_and_bias(
      'patch_embed.proj', 'stem/embedding', layout.CONVOLUTION
    ),
    *_stem_rows(root),
    *layout.norm(f'{block}.norm1', f'{ours}/attention_norm'),
    *layout.heads(
      f'{block}.attn.qkv',
      tuple(f'{ours}/attention/{name}' for name in ('query', 'key', 'value')),
    ),
    *layout.weight_and_bias(
      f'{block}.attn.proj', f'{ours}/attention/out', layout.TO_WIDTH
    ),
    *layout.norm(f'{block}.norm2', f'{ours}/mlp_norm'),
    *_mlp_rows(f'{block}.mlp', f'{ours}/mlp'),
    *layout.norm('norm', 'encoder/norm'),
    *_pooling_rows(),
    *layout.weight_and_bias('head', 'head', layout.LINEAR),
  )


def _mlp_rows(theirs, ours):
  layout = torch_layout
  return (
    *layout.weight_and_bias(f'{theirs}.fc1', f'{ours}/hidden', layout.LINEAR),
    *layout.weight_and_bias(f'{theirs}.fc2', f'{ours}/out', layout.LINEAR),
  )


def _pooling_rows():
  layout, ours = torch_layout, 'pooling/attention'
  return (
    mapping.row('attn_pool.latent', 'pooling/probe'),
    *layout.heads('attn_pool.q', (f'{ours}/query',)),
    *layout.heads('attn_pool.kv', (f'{ours}/key', f'{ours}/value')),
    *layout.weight_and_bias('attn_pool.proj', f'{ours}/out', layout.TO_WIDTH),
    *layout.norm('attn_pool.norm', 'pooling/norm'),
    *_mlp_rows('attn_pool.mlp', 'pooling/mlp'),
  )


def _stem_rows(root):
  row, layout = mapping.row, torch_layout
  unit = f'{BACKBONE}.stages.{{block-1}}.blocks.{{unit-1}}'
  ours = 'stem/block_{block}/unit_{unit}'
  return (
    row(f'{root}.conv.weight', 'stem/root_conv/kernel', layout.CONVOLUTION),
    *layout.norm(f'{root}.norm', 'stem/root_norm'),
    *_unit_rows(unit, ours),
    *layout.norm(f'{unit}.downsample.norm', f'{ours}/projection_norm'),
  )


def _unit_rows(theirs, ours):
  row, layout = mapping.row, torch_layout
  return (
    row(
      f'{theirs}.conv{{conv}}.weight',
      f'{ours}/conv_{{conv}}/kernel',
      layout.CONVOLUTION,
    ),
    *layout.norm(f'{theirs}.norm{{conv}}', f'{ours}/norm_{{conv}}'),
    row(
      f'{theirs}.downsample.conv.weight',
      f'{ours}/projection_conv/kernel',
      layout.CONVOLUTION,
    ),
  )


def mixer_rows():
  """Returns the rows of an MLP-Mixer."""
  layout = torch_layout
  block, ours = 'blocks.{layer}', 'block_{layer}'
  return (
    *layout.weight_and_bias('stem.proj', 'stem/embedding', layout.CONVOLUTION),
    *layout.norm(f'{block}.norm1', f'{ours}/token_norm'),
    *_mlp_rows(f'{block}.mlp_tokens', f'{ours}/token_mlp'),
    *layout.norm(f'{block}.norm2', f'{ours}/channel_norm'),
    *_mlp_rows(f'{block}.mlp_channels', f'{ours}/channel_mlp'),
    *layout.norm('norm', 'norm'),
    *layout.weight_and_bias('head', 'head', layout.LINEAR),
  )


def resnet_rows():
  """Returns the rows of a BiT ResNet."""
  row, layout = mapping.row, torch_layout
  return (
    row('stem.conv.weight', 'root_conv/kernel', layout.CONVOLUTION),
    *_unit_rows(
      'stages.{block-1}.blocks.{unit-1}', 'block_{block}/unit_{unit}'
    ),
    *layout.norm('norm', 'norm'),
    *layout.weight_and_bias('head.fc', 'head', layout.PIXEL_CONVOLUTION),
  )
