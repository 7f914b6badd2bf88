"""transformers and this project compute the same, whoever wrote the weights."""

import pytest

pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

from vit_jax.weights import convert  # noqa: E402
from vit_jax.weights.tables import vit  # noqa: E402

SIZES = {
  'ViT-Ti/16': {
    'hidden_size': 192,
    'intermediate_size': 768,
    'num_attention_heads': 3,
  },
  'ViT-S/16': {
    'hidden_size': 384,
    'intermediate_size': 1536,
    'num_attention_heads': 6,
  },
}


@pytest.mark.parametrize('name', SIZES)
def test_transformers_reads_what_convert_writes(name, lab):
  source, target = lab.save(name, vit.rows()), lab.folder / 'transformers'
  convert.run(str(source), str(target), 'huggingface')
  model, info = transformers.ViTForImageClassification.from_pretrained(
    target, output_loading_info=True
  )
  assert not any(info.values())
  lab.assert_same(lab.ours(source), lab.by_torch(model, lab.pixels))


@pytest.mark.parametrize('name', SIZES)
def test_weights_of_transformers_are_read(name, lab):
  config = transformers.ViTConfig(
    **SIZES[name], image_size=lab.pixels.shape[1], num_labels=11
  )
  model = transformers.ViTForImageClassification(config)
  lab.fill(model)
  model.save_pretrained(lab.folder / 'transformers')
  lab.assert_same(
    lab.ours(lab.folder / 'transformers'), lab.by_torch(model, lab.pixels)
  )


def test_weights_go_to_transformers_and_back(lab):
  source, target = lab.save('ViT-Ti/16', vit.rows()), lab.folder / 'there'
  convert.run(str(source), str(target), 'huggingface')
  lab.assert_same(lab.ours(target), lab.ours(source))
  back = lab.folder / 'back.npz'
  convert.run(str(target), str(back), 'google')
  assert back.read_bytes() == source.read_bytes()
