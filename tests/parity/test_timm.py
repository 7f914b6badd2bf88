"""timm and this project compute the same, whoever wrote the weights."""

import pytest

pytest.importorskip('torch')
timm = pytest.importorskip('timm')

from vit_jax.weights import convert  # noqa: E402
from vit_jax.weights.tables import bit, vit  # noqa: E402

TANH = {'act_layer': 'gelu_tanh'}
MAP = {'pooling': 'attention'}
GAP = {'pooling': 'average'}
GOOGLE = vit.rows()
TO_TIMM = [
  ('ViT-Ti/16', {}, GOOGLE),
  ('ViT-S/16', {}, GOOGLE),
  ('ViT-S/32', GAP, GOOGLE),
  ('ViT-Ti/16', MAP, vit.big_vision_rows(class_token=False)),
  ('R+ViT-Ti/16', {}, GOOGLE),
  ('R26+ViT-S/32', {}, GOOGLE),
]
FROM_TIMM = [
  ('vit_tiny_patch16_224', {}),
  ('vit_small_patch16_224', {}),
  ('vit_small_patch32_224', TANH),
  (
    'vit_tiny_patch16_224',
    {'class_token': False, 'global_pool': 'map', 'fc_norm': False},
  ),
  ('vit_tiny_r_s16_p8_224', {}),
  ('vit_small_r26_s32_224', {}),
  ('mixer_s16_224', {}),
]


def create(lab, name, **arguments):
  return timm.create_model(
    name, img_size=lab.pixels.shape[1], num_classes=11, **arguments
  )


@pytest.mark.parametrize(('name', 'fields', 'rows'), TO_TIMM)
def test_timm_reads_what_convert_writes(name, fields, rows, lab):
  source, target = lab.save(name, rows, **fields), lab.folder / 'timm'
  convert.run(str(source), str(target), 'timm')
  model = timm.create_model(f'local-dir:{target}', pretrained=True)
  lab.assert_same(lab.ours(source), lab.by_torch(model, lab.pixels))


@pytest.mark.parametrize(('name', 'arguments'), FROM_TIMM)
def test_weights_of_timm_are_read(name, arguments, lab):
  model = create(lab, name, **arguments)
  lab.fill(model)
  folder = lab.folder / 'timm'
  timm.models.save_for_hf(model, folder, safe_serialization=True)
  lab.assert_same(lab.ours(folder), lab.by_torch(model, lab.pixels))


@pytest.mark.parametrize('name', ['ViT-Ti/16', 'ViT-S/32', 'R26+ViT-S/32'])
def test_the_npz_loader_of_timm_reads_what_we_write(name, lab):
  ours = lab.save(name, GOOGLE)
  written = lab.folder / 'written.npz'
  convert.run(str(ours), str(written), 'google')
  architecture = {
    'ViT-Ti/16': 'vit_tiny_patch16_224',
    'ViT-S/32': 'vit_small_patch32_224',
    'R26+ViT-S/32': 'vit_small_r26_s32_224',
  }[name]
  model = create(lab, architecture, **TANH)
  model.load_pretrained(str(written))
  lab.assert_same(lab.ours(ours), lab.by_torch(model, lab.pixels))


def test_the_npz_loader_of_timm_reads_big_vision_as_we_write_it(lab):
  ours = lab.save('ViT-Ti/16', GOOGLE)
  written = lab.folder / 'written.npz'
  convert.run(str(ours), str(written), 'big_vision')
  model = create(lab, 'vit_tiny_patch16_224', no_embed_class=True, **TANH)
  model.load_pretrained(str(written))
  lab.assert_same(lab.ours(ours), lab.by_torch(model, lab.pixels))


def test_the_npz_loader_of_timm_reads_our_bit(lab):
  path = lab.save('BiT-R50x1', bit.rows())
  model = timm.create_model('resnetv2_50x1_bit', num_classes=11)
  model.load_pretrained(str(path))
  lab.assert_same(lab.ours(path), lab.by_torch(model, lab.pixels))
  target = lab.folder / 'timm'
  convert.run(str(path), str(target), 'timm')
  model = timm.create_model(f'local-dir:{target}', pretrained=True)
  lab.assert_same(lab.ours(target), lab.by_torch(model, lab.pixels))
