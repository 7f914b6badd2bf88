"""Google's ViTs and hybrids: the .npz files of gs://vit_models.

The released files number the modules of a layer together (pre-linen); files
that later Flax code wrote count every kind of module from zero (linen).
"""

from vit_jax.weights import mapping

# Of the norm and the attention, then of the norm and the MLP of a layer.
NUMBERING = {'pre_linen': (0, 1, 2, 3), 'linen': (0, 0, 1, 0)}

# GroupNorm's arrays are (1, 1, 1, channels) in the released files.
NORM = mapping.one_to_one(
  lambda array, shape: array.reshape(-1),
  lambda array: array.reshape(1, 1, 1, -1),
)


def table(names):
  """Returns the rows for a file that has the given names."""
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
