"""What the JSON files of timm and transformers say of images and classes."""

import dataclasses
import json

import pytest

from vit_jax import errors
from vit_jax.config import schema
from vit_jax.data.datasets import class_names
from vit_jax.weights import card as cards
from vit_jax.weights import preprocessing, publishing, torch_config

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = publishing.Sizes(384, 12, 6, 1536, 16)
Preprocessing = preprocessing.Preprocessing
THEIRS = {
  'timm': Preprocessing(rounding='timm', exact_jpeg=True, mean=MEAN, std=STD),
  'huggingface': Preprocessing(
    rounding='transformers', exact_jpeg=True, exif_orientation=True
  ),
}


def read(folder, project, said, name='config.json'):
  (folder / name).write_text(json.dumps(said))
  return torch_config.read(folder, project)


def make_card(
  prepared=preprocessing.AS_RELEASED, image_size=(224, 224), **rest
):
  model = schema.default().model
  model.name = 'ViT-S/16'
  fields = {'num_classes': 3, 'class_names': ('a', 'b', 'ü')} | rest
  return cards.Card(
    model, image_size=image_size, preprocessing=prepared, **fields
  )


def write(folder, project, card):
  for name, content in torch_config.files(project, card, SIZES).items():
    (folder / name).write_text(json.dumps(content))
  return torch_config.read(folder, project)


# Images -----------------------------------------------------------------------


@pytest.mark.parametrize(
  ('said', 'fields'),
  [
    ({}, ('central', 'bicubic_antialiased', 8 / 7)),
    (
      {'crop_pct': 0.9, 'interpolation': 'bilinear'},
      ('central', 'bilinear_antialiased', 1 / 0.9),
    ),
    (
      {'crop_pct': 1.0, 'crop_mode': 'squash', 'interpolation': 'lanczos'},
      ('stretch', 'lanczos_antialiased', 1.0),
    ),
    (
      {'crop_mode': 'border', 'crop_pct': 1, 'test_crop_pct': 0.95},
      ('letterbox', 'bicubic_antialiased', 1.0),
    ),
  ],
)
def test_timm_says_how_images_are_prepared(said, fields, tmp_path):
  names = ('crop', 'resize', 'scale')
  expected = dataclasses.replace(THEIRS['timm'], **dict(zip(names, fields)))
  for config in {'pretrained_cfg': said}, said | {'architecture': 'vit'}:
    assert read(tmp_path, 'timm', config).preprocessing == expected


def test_timm_says_what_pixels_it_takes(tmp_path):
  said = {'mean': [0.5, 0.5, 0.5], 'std': [0.2, 0.3, 0.4]}
  told = read(tmp_path, 'timm', {'pretrained_cfg': said})
  assert told.preprocessing.mean == (0.5, 0.5, 0.5)
  assert told.preprocessing.std == (0.2, 0.3, 0.4)


def test_a_size_of_timm_is_kept_where_floats_round_otherwise(tmp_path):
  # 17 / 0.68 is 25 but for a unit in the last place, and 24 when rounded down.
  said = {'input_size': [3, 17, 17], 'crop_pct': 0.68}
  told = read(tmp_path, 'timm', {'pretrained_cfg': said})
  (decode_crop,) = told.preprocessing.chain((17, 17))
  crop = decode_crop.crop
  assert crop.rounding.box(17, crop.scale) == 24


PROCESSORS = [
  ({}, ('stretch', 'bilinear_antialiased', 1.0), (224, 224)),
  (
    {'size': 96, 'resample': 3},
    ('stretch', 'bicubic_antialiased', 1),
    (96, 96),
  ),
  (
    {'feature_extractor_type': 'ViTFeatureExtractor', 'size': [32, 48]},
    ('stretch', 'bilinear_antialiased', 1.0),
    (32, 48),
  ),
  (
    {'image_processor_type': 'DeiTImageProcessor'},
    ('stretch', 'bicubic_antialiased', 8 / 7),
    (224, 224),
  ),
  (
    {
      'image_processor_type': 'CLIPImageProcessorFast',
      'size': {'shortest_edge': 256, 'longest_edge': None},
      'resample': 1,
      'image_mean': 0.5,
      'image_std': [0.5, 0.5, 0.5],
    },
    ('central', 'lanczos_antialiased', 8 / 7),
    (224, 224),
  ),
  (
    {
      'image_processor_type': 'BitImageProcessor',
      'size': 48,
      'crop_size': {'height': 48, 'width': 48},
      'image_mean': [0.5, 0.5, 0.5],
      'image_std': [0.5, 0.5, 0.5],
      'do_pad': False,
      'processor_class': 'X',
    },
    ('central', 'bicubic_antialiased', 1.0),
    (48, 48),
  ),
]


@pytest.mark.parametrize(('said', 'fields', 'size'), PROCESSORS)
@pytest.mark.parametrize('nested', [False, True])
def test_transformers_says_how_images_are_prepared(
  said, fields, size, nested, tmp_path
):
  names = ('crop', 'resize', 'scale')
  expected = dataclasses.replace(
    THEIRS['huggingface'], **dict(zip(names, fields))
  )
  if nested:
    # What is beside it does not count.
    (tmp_path / 'preprocessor_config.json').write_text('{"size": 7}')
    said, name = {'image_processor': said}, 'processor_config.json'
  else:
    name = 'preprocessor_config.json'
  told = read(tmp_path, 'huggingface', said, name)
  assert (told.preprocessing, told.image_size) == (expected, size)
  assert not told.assumed


@pytest.mark.parametrize(
  ('said', 'mean', 'std'),
  [
    ({'image_mean': list(MEAN), 'image_std': list(STD)}, MEAN, STD),
    ({'rescale_factor': 1 / 127.5, 'image_mean': 1, 'image_std': 1}, 0.5, 0.5),
    ({'do_normalize': False}, 0.0, 1.0),
    ({'do_rescale': False, 'image_mean': 51, 'image_std': 102}, 0.2, 0.4),
    ({'do_rescale': False, 'do_normalize': False}, 0.0, 1 / 255),
  ],
)
def test_transformers_says_what_pixels_it_takes(said, mean, std, tmp_path):
  told = read(tmp_path, 'huggingface', said, 'preprocessor_config.json')
  wanted = [x if isinstance(x, tuple) else (x,) * 3 for x in (mean, std)]
  assert told.preprocessing.mean == pytest.approx(wanted[0])
  assert told.preprocessing.std == pytest.approx(wanted[1])


SHORTEST = {'size': {'shortest_edge': 64}, 'do_center_crop': True}


@pytest.mark.parametrize(
  ('said', 'message'),
  [
    ({'do_resize': False}, 'do_resize=False'),
    ({'do_pad': True}, 'do_pad=True is not understood'),
    ({'crop_pct': 0.9}, r'crop_pct=0\.9 is not understood'),
    ({'auto_map': {'x': 'y'}}, 'auto_map'),
    ({'resample': 0}, 'resample=0 is not understood; 1'),
    ({'resample': 'bicubic'}, "resample='bicubic' is not"),
    ({'size': {'longest_edge': 64}}, "'longest_edge': 64} is not understood"),
    ({'size': {'shortest_edge': 64}}, 'images of different sizes'),
    ({'size': 'large'}, 'size=large is no size'),
    ({'size': [1, 2, 3]}, 'is no size'),
    ({'size': 0}, 'is no size'),
    (SHORTEST | {'crop_size': 65}, 'would be black'),
    (SHORTEST | {'crop_size': [32, 48]}, 'of another shape'),
    ({'image_std': [0.5, 0.5, 0]}, 'std'),
    ({'image_mean': [0.5, 0.5]}, 'mean'),
    ({'image_mean': 'a'}, 'is no number'),
    ({'rescale_factor': 0}, 'not above 0'),
    ({'image_processor_type': 'ConvNextImageProcessor'}, 'is unknown'),
  ],
)
def test_what_transformers_does_otherwise_is_refused(said, message, tmp_path):
  with pytest.raises(errors.UserError, match=message) as caught:
    read(tmp_path, 'huggingface', said, 'preprocessor_config.json')
  assert 'preprocessor_config.json' in str(caught.value)


@pytest.mark.parametrize(
  ('said', 'message'),
  [
    ({'interpolation': 'random'}, "interpolation='random' is unknown"),
    ({'crop_mode': 'corner'}, "crop_mode='corner' is unknown"),
    ({'crop_pct': 1.1}, 'images are padded'),
    ({'crop_pct': 'x'}, "crop_pct='x' is no number"),
    ({'input_size': [1, 224, 224]}, '3 channels'),
    ({'mean': [0.5]}, 'not of 3 channels'),
    ({'std': [0.5, 0.5, -1]}, 'std'),
    ({'mean': {'red': 7}}, 'is no number'),
    ({'crop_pct': 1e-320}, 'does not describe'),
    ({'crop_pct': float('nan')}, 'is no number'),
    ({'std': [float('inf')] * 3}, 'is no number'),
    ({'label_names': ['a'], 'num_classes': 10**15}, 'than any model has'),
    ({'label_names': ['a'], 'num_classes': 'x'}, 'does not describe'),
    ({'label_names': {'3': 'a'}, 'num_classes': 3}, 'names class 3'),
  ],
)
def test_what_timm_does_otherwise_is_refused(said, message, tmp_path):
  with pytest.raises(errors.UserError, match=message):
    read(tmp_path, 'timm', {'pretrained_cfg': said})


def test_sizes_that_disagree_are_refused(tmp_path):
  (tmp_path / 'config.json').write_text('{"image_size": 384}')
  with pytest.raises(errors.UserError, match='224 x 224 pixels, and the model'):
    read(tmp_path, 'huggingface', {}, 'preprocessor_config.json')
  config = {
    'model_args': {'img_size': 256},
    'pretrained_cfg': {'input_size': [3, 224, 224]},
  }
  with pytest.raises(errors.UserError, match='make them agree'):
    read(tmp_path, 'timm', config)
  config['pretrained_cfg']['fixed_input_size'] = True  # As timm takes it.
  assert read(tmp_path, 'timm', config).image_size == (256, 256)


@pytest.mark.parametrize('project', torch_config.PROJECTS)
def test_what_is_assumed_is_said(project, tmp_path):
  told = torch_config.read(tmp_path, project)
  assert 'says how images are prepared; assumed' in told.assumed
  assert told.preprocessing.mean == (0.5, 0.5, 0.5)


# Classes ----------------------------------------------------------------------


def test_classes_of_transformers_are_in_the_order_of_their_numbers(tmp_path):
  said = {
    'id2label': {'2': 'c', '0': 'a', '10': 'k', '1': 'b'}
    | {str(i): f'x{i}' for i in range(3, 10)}
  }
  told = read(tmp_path, 'huggingface', said)
  assert told.class_names == (
    'a',
    'b',
    'c',
    *(f'x{i}' for i in range(3, 10)),
    'k',
  )


def test_a_number_is_no_name(tmp_path):
  said = {'id2label': {'0': 'LABEL_0', '1': 'LABEL_1'}}
  assert read(tmp_path, 'huggingface', said).class_names is None
  said['id2label']['1'] = 'dog'
  assert read(tmp_path, 'huggingface', said).class_names == ('LABEL_0', 'dog')


@pytest.mark.parametrize('said', [{'x': 'a'}, {'-1': 'a'}, ['a', 'b'], 3])
def test_what_names_no_class_is_refused(said, tmp_path):
  if said == ['a', 'b']:  # A list is as good as numbers.
    told = read(tmp_path, 'huggingface', {'id2label': said})
    assert told.class_names == ('a', 'b')
    return
  with pytest.raises(errors.UserError):
    read(tmp_path, 'huggingface', {'id2label': said})


@pytest.mark.parametrize('project', torch_config.PROJECTS)
def test_classes_of_imagenet_are_recognised(project, tmp_path):
  synsets = class_names.imagenet(1000)
  card = make_card(num_classes=1000, class_names=synsets)
  assert write(tmp_path, project, card).class_names == synsets


@pytest.mark.parametrize(
  ('said', 'expected'),
  [
    ({'label_names': ['a', 'b', 'c']}, ('a', 'b', 'c')),
    ({'labels': ['a', 'b', 'c']}, ('a', 'b', 'c')),
    ({'label_names': {'2': 'c', '0': 'a'}}, ('a', 'class 1', 'c')),
    ({'pretrained_cfg': {'label_names': ['x', 'y', 'z']}}, ('x', 'y', 'z')),
    ({}, None),
  ],
)
def test_timm_names_classes(said, expected, tmp_path):
  told = read(tmp_path, 'timm', {'num_classes': 3} | said)
  assert told.class_names == expected


@pytest.mark.parametrize(
  ('tag', 'count', 'known'),
  [
    ('augreg_in21k_ft_in1k', 1000, True),
    ('fb_in1k', 1000, True),
    ('augreg_in21k', 21_843, True),
    ('orig_in21k', 21_841, False),
    ('miil_in21k', 11_221, False),
    ('augreg_in21k_ft_in1k', 10, False),
    ('laion2b', 1000, False),
    (None, 1000, False),
  ],
)
def test_a_tag_of_timm_tells_the_classes(tag, count, known, tmp_path):
  config = {'pretrained_cfg': {'num_classes': count, 'tag': tag}}
  told = read(tmp_path, 'timm', config)
  expected = class_names.imagenet(count) if known else None
  assert told.class_names == expected


def test_timm_says_where_weights_come_from(tmp_path):
  config = {
    'architecture': 'vit_base_patch16_224',
    'pretrained_cfg': {'tag': 'augreg_in1k', 'license': 'apache-2.0'},
  }
  assert read(tmp_path, 'timm', config).source == {
    'name': 'vit_base_patch16_224.augreg_in1k',
    'licence': 'apache-2.0',
  }


@pytest.mark.parametrize('values', [0.5, [0.5, 0.5, 0.5]])
def test_one_number_of_timm_stands_for_all_channels(values, tmp_path):
  config = {'pretrained_cfg': {'mean': values, 'std': values}}
  prepared = read(tmp_path, 'timm', config).preprocessing
  assert (prepared.mean, prepared.std) == ((0.5,) * 3, (0.5,) * 3)


# What is written --------------------------------------------------------------

SAYABLE = [
  ('central', 'bicubic_antialiased', 8 / 7, (224, 224)),
  ('central', 'bilinear_antialiased', 1.0, (64, 64)),
  ('central', 'lanczos_antialiased', 8 / 7, (384, 384)),
  ('stretch', 'bilinear_antialiased', 1.0, (224, 384)),
  ('stretch', 'bicubic_antialiased', 7 / 6, (96, 96)),
]


@pytest.mark.parametrize(('crop', 'resize', 'scale', 'size'), SAYABLE)
@pytest.mark.parametrize('project', torch_config.PROJECTS)
def test_what_can_be_said_is_read_as_it_was(
  project, crop, resize, scale, size, tmp_path
):
  prepared = Preprocessing(crop, resize, scale, mean=MEAN, std=STD)
  told = write(tmp_path, project, make_card(prepared, size))
  found = told.preprocessing
  assert (found.crop, found.resize) == (crop, resize)
  assert (found.mean, found.std) == (MEAN, STD)
  assert (told.image_size, told.class_names) == (size, ('a', 'b', 'ü'))
  ours, theirs = (p.chain(size)[0].crop for p in (prepared, found))
  for side in size:
    wanted = ours.rounding.box(side, scale)
    assert theirs.rounding.box(side, theirs.scale) == wanted
  told_again = write(tmp_path, project, make_card(found, size))
  assert told_again.preprocessing == found


LETTERBOX = Preprocessing('letterbox', 'bilinear_antialiased', 1.0)


def test_timm_pads_as_a_letterbox(tmp_path):
  found = write(tmp_path, 'timm', make_card(LETTERBOX)).preprocessing
  assert (found.crop, found.scale) == ('letterbox', 1.0)
  assert found.chain((8, 8))[0].crop.color == (128, 128, 128)


@pytest.mark.parametrize(
  ('project', 'prepared', 'size', 'words'),
  [
    ('timm', preprocessing.AS_RELEASED, (224, 224), ['by area']),
    ('timm', THEIRS['huggingface'], (224, 224), ['by area', 'EXIF']),
    ('timm', Preprocessing('stretch', 'bicubic', 1.0), (64, 96), ['bicubic']),
    ('timm', LETTERBOX, (224, 224), []),
    ('timm', THEIRS['timm'], (224, 224), ['by area']),
    ('huggingface', LETTERBOX, (224, 224), ['letterbox', 'EXIF']),
    ('huggingface', preprocessing.AS_RELEASED, (224, 224), ['area', 'EXIF']),
    (
      'huggingface',
      Preprocessing('central', 'bicubic_antialiased', exif_orientation=True),
      (64, 96),
      ['squares only'],
    ),
    (
      'google',
      preprocessing.AS_RELEASED,
      (224, 224),
      ['crop=central', 'called'],
    ),
    ('big_vision', LETTERBOX, (224, 224), ['crop=letterbox', 'called']),
    (
      'google',
      LETTERBOX,
      (32, 72),
      ['crop=letterbox', '--resolution=32x72', 'called'],
    ),
  ],
)
def test_what_can_not_be_said_is_told(project, prepared, size, words):
  told = publishing.untold(project, make_card(prepared, size))
  assert len(told) == len(words)
  for sentence, word in zip(told, words):
    assert word in sentence


# Models -----------------------------------------------------------------------


@pytest.mark.parametrize(
  ('architecture', 'arguments', 'expected'),
  [
    ('', {}, ('erf', None, None)),
    ('vit_small_patch16_224', {}, ('erf', 6, None)),
    ('deit_tiny_patch16_224', {'num_heads': 4}, ('erf', 4, None)),
    ('vit_base_patch16_gap_224', {}, ('erf', 16, None)),
    ('vit_so400m_patch16_siglip_256', {}, ('tanh', 16, None)),
    ('vit_so400m_patch14_siglip_224', {}, ('erf', 16, None)),
    (
      'vit_base_patch16_224',
      {'global_pool': 'avg', 'act_layer': 'gelu_tanh', 'drop_rate': 0.5},
      ('tanh', 12, 'average'),
    ),
    ('mixer_s16_224', {'global_pool': 'avg'}, ('erf', None, None)),
    ('resnetv2_50x1_bit', {'act_layer': 'relu'}, ('erf', None, None)),
  ],
)
def test_timm_says_what_arrays_do_not(
  architecture, arguments, expected, tmp_path
):
  config = {'architecture': architecture, 'model_args': arguments}
  told = read(tmp_path, 'timm', config)
  assert (told.gelu, told.num_heads, told.pooling) == expected


@pytest.mark.parametrize(
  ('project', 'said', 'message'),
  [
    ('timm', {'model_args': {'global_pool': 'max'}}, "global_pool='max'"),
    ('timm', {'model_args': {'gating': 2}}, 'gating=2 is not understood'),
    ('timm', {'model_args': {'in_chans': 1}}, 'in_chans=1 is not computed'),
    ('timm', {'model_args': {'pool_include_prefix': True}}, 'True is not'),
    ('timm', {'model_args': {'embed_dim': 48}}, 'nothing says num_heads'),
    (
      'timm',
      {'architecture': 'mixer_b16_224', 'model_args': {'global_pool': 'max'}},
      "'max' is not computed here; 'avg' is",
    ),
    ('timm', {'architecture': 'vit_base_patch16_rope_224'}, 'rotary'),
    ('timm', {'architecture': 'swinv2_tiny_window8_256'}, 'Swin V2'),
    ('timm', {'architecture': 'convnext_tiny'}, 'is not understood'),
    ('huggingface', {'pooler_act': 'relu'}, "pooler_act='relu' is not"),
    ('huggingface', {'num_channels': 1}, 'num_channels=1 is not'),
    ('huggingface', {'qkv_bias': False}, 'qkv_bias=False is not'),
    ('huggingface', {'layerscale_value': 1}, 'layerscale_value=1 is not und'),
  ],
)
def test_what_would_change_the_numbers_is_refused(
  project, said, message, tmp_path
):
  with pytest.raises(errors.UserError, match=message) as caught:
    read(tmp_path, project, said)
  assert 'config.json' in str(caught.value)
