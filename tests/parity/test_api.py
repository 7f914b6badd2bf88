"""vit_jax.load of timm's weights computes what timm does, images and all."""

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip('torch')
timm = pytest.importorskip('timm')

import vit_jax  # noqa: E402


def test_images_get_the_logits_of_timm(lab):
  model = timm.create_model('vit_tiny_patch16_224', img_size=64, num_classes=11)
  lab.fill(model)
  model.pretrained_cfg['input_size'] = (3, 64, 64)
  folder = lab.folder / 'timm'
  timm.models.save_for_hf(model, folder, safe_serialization=True)
  config = timm.data.resolve_data_config({}, model=model)
  transform = timm.data.create_transform(**config)
  rng, paths = np.random.default_rng(0), []
  for name, shape in ('a.jpg', (80, 120, 3)), ('b.png', (150, 90, 3)):
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    paths.append(lab.folder / name)
    coarse.resize(shape[1::-1], Image.Resampling.BICUBIC).save(paths[-1])
  pictures = [Image.open(path) for path in paths]
  batch = torch.stack([transform(each.convert('RGB')) for each in pictures])
  with torch.no_grad():
    wanted = model.eval()(batch).numpy()
  ours = vit_jax.load(folder)
  assert ours.image_size == (64, 64) and ours.num_classes == 11
  lab.assert_same(ours.logits(paths), wanted)
  np.testing.assert_array_equal(ours.logits(pictures), ours.logits(paths))
  likeliest = [row[0][0] for row in ours.predict(pictures)]
  assert likeliest == [f'class {index}' for index in wanted.argmax(-1)]
