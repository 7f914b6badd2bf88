"""ViTs of Hugging Face transformers, as saved by `save_pretrained`.

They compute with the exact GELU and LayerNorm's epsilon of 1e-12; the tanh
layer is called pooler.
"""

from vit_jax.weights import mapping
from vit_jax.weights.tables import torch_layout


def table(names):
  """Returns the rows for a file that has the given names.

  ViTModel writes the bare names, ViTForImageClassification adds `vit.`.
  """
  return rows('vit.' if any(name.startswith('vit.') for name in names) else '')


def rows(prefix='vit.'):
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
