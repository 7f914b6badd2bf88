"""MLP-Mixer (Tolstikhin et al., 2021): the .npz files of gs://mixer_models."""

from vit_jax.weights import mapping
from vit_jax.weights.tables import vit


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
