"""What is pushed to the Hub is loaded from there by timm and transformers."""

import pytest

pytest.importorskip('torch')
timm = pytest.importorskip('timm')
transformers = pytest.importorskip('transformers')

from tests.weights import hub_server  # noqa: E402
from vit_jax.weights import convert  # noqa: E402
from vit_jax.weights.tables import vit  # noqa: E402

REPO = 'somebody/tiny'
TINY = {'width': 48, 'depth': 2, 'num_heads': 3, 'mlp_dim': 64}


@pytest.fixture
def hub(monkeypatch, tmp_path):
  with hub_server.Hub() as hub:
    hub_server.use(hub, monkeypatch, tmp_path / 'cache')
    yield hub


def of_timm(lab):
  return timm.create_model(f'hf-hub:{REPO}', pretrained=True)


def of_transformers(lab):
  model, info = transformers.AutoModelForImageClassification.from_pretrained(
    REPO, output_loading_info=True
  )
  assert not any(info.values())
  processor = transformers.AutoImageProcessor.from_pretrained(REPO)
  assert processor.crop_size['height'] == lab.pixels.shape[1]
  return model


@pytest.mark.parametrize(
  ('to', 'load'), [('timm', of_timm), ('huggingface', of_transformers)]
)
def test_what_is_pushed_computes_the_same_everywhere(to, load, hub, lab):
  source = lab.save('ViT-Ti/16', vit.rows(), **TINY)
  target = str(lab.folder / 'there')
  convert.run(str(source), target, to, push=REPO, private=True)
  theirs = lab.by_torch(load(lab), lab.pixels)
  lab.assert_same(lab.ours(source), theirs)
  lab.assert_same(lab.ours(f'hf://{REPO}'), theirs)


def test_the_code_of_the_model_card_runs(hub, lab, monkeypatch):
  """Its Python, for transformers and timm, on an image."""
  from PIL import Image

  source = lab.save('ViT-Ti/16', vit.rows(), **TINY)
  Image.new('RGB', (90, 70), 'teal').save(lab.folder / 'image.jpg')
  monkeypatch.chdir(lab.folder)
  for to in 'timm', 'huggingface':
    repo = f'{REPO}-{to}'
    convert.run(str(source), str(lab.folder / to), to, push=repo)
    text = hub.files(repo)['README.md'].decode()
    scope = {}
    exec(text.split('```python\n')[1].split('```')[0], scope)
    output = scope['output']
    assert getattr(output, 'logits', output).shape == (1, 11)


def test_what_transformers_writes_in_several_files_is_read(hub, lab):
  config = transformers.ViTConfig(
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=64,
    image_size=lab.pixels.shape[1],
    num_labels=11,
  )
  model = transformers.ViTForImageClassification(config)
  lab.fill(model)
  folder = lab.folder / 'transformers'
  model.save_pretrained(folder, max_shard_size='100KB')
  transformers.ViTImageProcessor(
    size={'height': lab.pixels.shape[1], 'width': lab.pixels.shape[2]}
  ).save_pretrained(folder)
  assert len([*folder.glob('*.safetensors')]) > 1
  hub.add_folder(REPO, folder)
  theirs = lab.by_torch(model, lab.pixels)
  lab.assert_same(lab.ours(f'hf://{REPO}'), theirs)
  lab.assert_same(lab.ours(folder), theirs)
