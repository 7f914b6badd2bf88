"""ViTs of big_vision: gs://big_vision, and the image towers of LiT and SigLIP.

Differences to gs://vit_models: position embeddings are added before the class
token and have no row for it; pooling may be by attention (MAP); the layers may
be stacked in one array each (scan).
"""

from vit_jax.weights import mapping
from vit_jax.weights.files import weights_file
from vit_jax.weights.tables import vit

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


def table(names):
  """Returns the rows for a file that has the given names."""
  return rows(
    class_token='cls' in names and 'pos_embedding' in names,
    numbering=vit.find_numbering(names),
  )


def rows(class_token, numbering='linen'):
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
    *vit.attention_rows(
      'MAPHead_0/MultiHeadDotProductAttention_0', 'pooling/attention'
    ),
    *vit.mlp_rows('MAPHead_0/MlpBlock_0', 'pooling/mlp'),
    *vit.rows(numbering),
    row('Transformer/pos_embedding', position),  # Before 2022; as Google's.
  )


def view(file):
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
