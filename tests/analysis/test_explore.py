"""The page draws what the arrays hold, wherever one points, on any device."""

import base64
import functools
import itertools
import json
import re
import zlib

import cv2
import jax
import matplotlib
import numpy as np
import pytest

from vit_jax import errors, models, pytrees
from vit_jax.analysis import attention_distance, attention_maps, explore
from vit_jax.analysis.explore import packing, views
from vit_jax.checkpoints import parameters
from vit_jax.cli import main
from vit_jax.config import recipes, schema
from vit_jax.weights import card, mapping
from vit_jax.weights.files import npz
from vit_jax.weights.tables import mixer, vit

TINY = {'width': 8, 'depth': 2, 'num_heads': 2, 'mlp_dim': 12}
STRANGE = ('<script>alert(1)</script>', '"quoted" & \'more\'', '🦊 שועל')
COLORS = matplotlib.colormaps['inferno'](np.arange(256), bytes=True)[:, :3]


def parameters_of(side, num_classes=3, seed=0, name='ViT-B/16', **fields):
  """Returns a configuration, its module and random parameters, flat."""
  config = schema.default()
  config.model.update(name=name, **{**TINY, **fields})
  module = models.build(config.model, num_classes)
  noise = np.random.default_rng(seed)
  side = (side, side) if isinstance(side, int) else side
  flat = {
    path: 0.4 * noise.standard_normal(leaf.shape, np.float32)
    for path, leaf in pytrees.flatten(models.params_of(module, side)).items()
  }
  for path in flat:
    if '/query/' in path:
      flat[path] = 3 * flat[path]  # Attention that differs from uniform.
  return config, module, flat


def model_of(side, title='one', patch=16, classes=('a',), **fields):
  _, module, flat = parameters_of(side, len(classes), **fields)
  return explore.Model(title, module, pytrees.unflatten(flat), patch, classes)


def pixels_of(side, seed=0):
  size = (side, side) if isinstance(side, int) else side
  noise = np.random.default_rng(seed)
  return noise.uniform(-1, 1, (*size, 3)).astype(np.float32)


@functools.cache
def compiled(module):
  """Returns a compiled function of parameters and pixels: `AttentionMaps`."""
  return jax.jit(functools.partial(attention_maps.compute, module))


def maps_of(model, pixels):
  """Returns {kind: [layers, ...]}, and what the model returns."""
  with jax.default_matmul_precision('highest'):
    seen = compiled(model.module)(model.params, pixels[None])
  layers = np.stack([layer[0] for layer in seen.layers])
  mean = layers.mean(1)
  flows = list(
    itertools.accumulate(
      (mean + np.eye(mean.shape[-1])) / 2, lambda flow, layer: layer @ flow
    )
  )
  return {
    'head': layers,
    'mean': mean,
    'rollout': np.stack(flows),
    'pooling': np.asarray(seen.pooling[0]),
    'logits': np.asarray(seen.output.logits[0]),
  }


# What the page draws ----------------------------------------------------------


def settled(page):
  page.wait_for_selector('body[data-drawn]', timeout=120_000)
  return page


def drawn(page, panel=0):
  """Returns which colours the map has, 0 to 255, as [rows, columns]."""
  settled(page)
  uri = page.locator('canvas.heat').nth(panel).evaluate('c => c.toDataURL()')
  coded = np.frombuffer(base64.b64decode(uri.partition(',')[2]), np.uint8)
  seen = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)[..., 2::-1]
  apart = np.abs(seen[:, :, None] - COLORS.astype(int)).sum(-1)
  assert apart.min(-1).max() <= 6  # It is a colour of the map.
  return apart.argmin(-1)


def assert_drawn(page, wanted, panel=0, root=False):
  """Asserts that the map is of these weights, [rows, columns]."""
  wanted = np.asarray(wanted) / np.max(wanted)
  wanted = 255 * (np.sqrt(wanted) if root else wanted)
  np.testing.assert_allclose(drawn(page, panel), wanted, atol=4)


def point_at(page, row, column, grid, panel=0, click=False):
  """Moves the mouse over a patch."""
  stage = page.locator('.stage').nth(panel)
  box = stage.bounding_box()
  place = {
    'x': box['width'] * (column + 0.5) / grid[1],
    'y': box['height'] * (row + 0.5) / grid[0],
  }
  (stage.click if click else stage.hover)(position=place)
  return settled(page)


def press(page, *keys):
  for key in keys:
    page.keyboard.press(key)
  return settled(page)


def choose(page, name):
  page.get_by_text(name, exact=True).click()
  return settled(page)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
  """A page of one image, 3 x 4 patches; its model, and what it holds."""
  model = model_of((48, 64), classes=('a', 'b', *STRANGE))
  image = explore.Image(STRANGE[0], [pixels_of((48, 64))])
  path = tmp_path_factory.mktemp('plain') / 'page.html'
  explore.write(path, [model], [image])
  return path, maps_of(model, image.pixels[0])


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  """A page of two models, on 4 x 4 and on 2 x 2 patches, and two images."""
  first = model_of(64, 'first')
  second = model_of(
    64, 'second', 32, name='ViT-B/32', depth=3, pooling='attention', seed=1
  )
  images = [explore.Image(f'{n}.png', [pixels_of(64, n)] * 2) for n in range(2)]
  path = tmp_path_factory.mktemp('two') / 'page.html'
  explore.write(path, [first, second], images)
  maps = [[maps_of(m, i.pixels[0]) for i in images] for m in (first, second)]
  return path, maps


@pytest.fixture(scope='module')
def average(tmp_path_factory):
  model = model_of(32, pooling='average')
  image = explore.Image('a.png', [pixels_of(32)])
  path = tmp_path_factory.mktemp('average') / 'page.html'
  explore.write(path, [model], [image])
  return path, maps_of(model, image.pixels[0])


def test_where_a_patch_looks_is_drawn_for_every_kind_of_map(
  plain, browser_page
):
  path, maps = plain
  page = settled(browser_page(path))
  assert_drawn(page, maps['mean'][1, 0, 1:].reshape(3, 4))  # Class token.
  for row, column in (0, 0), (1, 2), (2, 3):
    query = 1 + 4 * row + column
    point_at(page, row, column, (3, 4))
    for layer in 1, 0:
      press(page, ']' if layer else '[')
      for kind, weights in (
        ('m', maps['mean'][layer]),
        ('r', maps['rollout'][layer]),
        ('h', maps['head'][layer, 0]),
        ('.', maps['head'][layer, 1]),
      ):
        press(page, kind)
        assert_drawn(page, weights[query, 1:].reshape(3, 4))
      press(page, '.')  # Back to the first head.


def test_who_looks_at_a_patch_is_drawn_too(plain, browser_page):
  path, maps = plain
  page = point_at(browser_page(path), 2, 1, (3, 4))
  choose(page, 'Who looks at it')
  # The pointer has left the picture, which shows the class token again.
  assert_drawn(page, maps['mean'][1, 1:, 0].reshape(3, 4))
  point_at(page, 2, 1, (3, 4))
  assert_drawn(page, maps['mean'][1, 1:, 10].reshape(3, 4))
  press(page, 's')
  assert_drawn(page, maps['mean'][1, 1:, 10].reshape(3, 4), root=True)


def test_keys_move_the_patch_and_read_weights(plain, browser_page):
  path, maps = plain
  page = settled(browser_page(path))
  stage = page.locator('.stage')
  stage.focus()
  press(page, 'ArrowRight')  # From the class token to the middle.
  assert 'the patch in row 2, column 3 looks' in stage.get_attribute(
    'aria-label'
  )
  press(page, 'ArrowUp', 'ArrowUp', 'ArrowLeft')
  assert_drawn(page, maps['mean'][1, 2, 1:].reshape(3, 4))
  press(page, 'Enter', 'ArrowDown', 'ArrowRight')
  weight = maps['mean'][1, 2, 7]
  read = float(page.locator('.readout b').text_content())
  assert read == shown(weight)
  assert_drawn(page, maps['mean'][1, 2, 1:].reshape(3, 4))
  assert (
    'the patch in row 2, column 3' in page.locator('.readout').text_content()
  )
  press(page, 'Escape', 'Home')
  assert_drawn(page, maps['mean'][1, 0, 1:].reshape(3, 4))
  outline = stage.evaluate('e => getComputedStyle(e).outlineStyle')
  assert outline == 'solid'
  said = page.locator('#said').filter(has_text='Most: the patch')
  said.wait_for(state='attached', timeout=120_000)


def shown(weight):
  """Returns a weight as the page does, within what is lost in the page."""
  return pytest.approx(weight, rel=0.02)


def test_a_click_holds_a_patch_and_the_pointer_reads_its_weights(
  plain, browser_page
):
  path, maps = plain
  page = point_at(browser_page(path), 0, 3, (3, 4), click=True)
  for row, column in (2, 0), (1, 1):
    point_at(page, row, column, (3, 4))
    assert_drawn(page, maps['mean'][1, 4, 1:].reshape(3, 4))
    read = float(page.locator('.readout b').text_content())
    assert read == shown(maps['mean'][1, 4, 1 + 4 * row + column])
  point_at(page, 0, 3, (3, 4), click=True)
  point_at(page, 1, 1, (3, 4))
  assert_drawn(page, maps['mean'][1, 6, 1:].reshape(3, 4))


@pytest.mark.parametrize('dark', [False, True])
def test_a_phone_is_touched_and_nothing_is_cut_off(dark, plain, browser_page):
  path, maps = plain
  page = browser_page(path, 390, 844, dark, has_touch=True, is_mobile=True)
  settled(page)
  assert page.evaluate('document.documentElement.scrollWidth') == 390
  page.locator('.stage').scroll_into_view_if_needed()
  box = page.locator('.stage').bounding_box()
  page.touchscreen.tap(box['x'] + box['width'] * 0.6, box['y'] + 5)
  assert_drawn(page, maps['mean'][1, 3, 1:].reshape(3, 4))
  page.locator('.head').nth(1).tap()
  assert_drawn(page, maps['head'][1, 1, 3, 1:].reshape(3, 4))
  page.locator('.hold').tap()
  page.touchscreen.tap(*centre_of(page.locator('.stage')))
  assert_drawn(page, maps['head'][1, 1, 3, 1:].reshape(3, 4))


def centre_of(element):
  element.scroll_into_view_if_needed()
  box = element.bounding_box()
  return box['x'] + 0.51 * box['width'], box['y'] + 0.51 * box['height']


def test_two_models_are_shown_side_by_side_at_one_place(two, browser_page):
  path, (first, second) = two
  page = settled(browser_page(path))
  point_at(page, 3, 0, (4, 4))
  assert_drawn(page, first[0]['mean'][1, 13, 1:].reshape(4, 4))
  assert_drawn(page, second[0]['mean'][2, 2].reshape(2, 2), panel=1)
  press(page, '[', '[')
  assert_drawn(page, first[0]['mean'][0, 13, 1:].reshape(4, 4))
  assert_drawn(page, second[0]['mean'][0, 2].reshape(2, 2), panel=1)
  point_at(page, 0, 1, (2, 2), panel=1)
  press(page, 'r')
  assert_drawn(page, first[0]['rollout'][0, 4, 1:].reshape(4, 4))
  assert_drawn(page, second[0]['rollout'][0, 1].reshape(2, 2), panel=1)


def test_any_image_can_be_put_beside_another(two, browser_page):
  path, (first, _) = two
  page = settled(browser_page(path))
  second = page.locator('.panel').nth(1)
  second.get_by_label('Model').select_option('first')
  second.get_by_label('Image').select_option('1.png')
  for panel in range(2):
    weights = first[panel]['mean'][1, 0, 1:]
    assert_drawn(page, weights.reshape(4, 4), panel=panel)
  page.get_by_text('Display').click()
  choose(page, 'Same scale')
  most = max(first[image]['mean'][1, 0, 1:].max() for image in range(2))
  for panel in range(2):
    wanted = 255 * first[panel]['mean'][1, 0, 1:] / most
    np.testing.assert_allclose(
      drawn(page, panel).ravel(), wanted, atol=4, err_msg=str(panel)
    )
  press(page, 'c')
  assert page.locator('.panel').count() == 1


def test_what_attention_pooling_sees_is_drawn(two, browser_page):
  path, (_, second) = two
  page = settled(browser_page(path))
  pooled = second[0]['pooling'] @ second[0]['mean'][2]
  assert_drawn(page, pooled.reshape(2, 2), panel=1)
  choose(page, 'Pooling')
  assert_drawn(page, second[0]['pooling'].reshape(2, 2), panel=1)


def test_the_average_of_all_tokens_is_a_query(average, browser_page):
  path, maps = average
  page = settled(browser_page(path))
  assert_drawn(page, maps['mean'][1].mean(0).reshape(2, 2))
  point_at(page, 1, 0, (2, 2))
  assert_drawn(page, maps['mean'][1, 2].reshape(2, 2))


def test_heads_are_chosen_by_their_maps_and_their_dots(plain, browser_page):
  path, maps = plain
  page = settled(browser_page(path))
  assert page.locator('.head').count() == 2
  page.locator('.dot').nth(1).dispatch_event('click')  # Layer 1, head 2.
  assert_drawn(page, maps['head'][0, 1, 0, 1:].reshape(3, 4))
  assert 'Layer 1, head 2' in page.locator('.caption').text_content()
  pressed = page.locator('.head[aria-pressed="true"]')
  assert pressed.get_attribute('aria-label') == 'Head 2'


def test_names_of_strangers_are_text(plain, browser_page):
  page = settled(browser_page(plain[0]))
  names = page.locator('.classes .name').all_text_contents()
  assert sorted(names) == sorted(('a', 'b', *STRANGE))
  assert STRANGE[0] in page.locator('.chooser').text_content()
  assert page.locator('img').count() == 2  # Under the map, and without it.


def test_a_notebook_shows_the_page_in_a_frame(plain, tmp_path, browser_page):
  framed = explore.Page(plain[0].read_text())._repr_html_()
  path = tmp_path / 'cell.html'
  path.write_text(f'<!doctype html><meta charset="utf-8">{framed}')
  frame = browser_page(path).frame_locator('iframe')
  frame.locator('body[data-drawn]').wait_for()
  assert frame.locator('h1').text_content() == 'Where one looks'


# What it holds ----------------------------------------------------------------


def data_of(path):
  text = path.read_text()
  return json.loads(re.search(r'id="page-data">(.*?)</script>', text)[1])


def test_weights_are_off_by_no_more_than_the_page_says(plain):
  path, maps = plain
  data = data_of(path)
  (view,) = data['views']
  for layer, blob in enumerate(view['weights']):
    raw = zlib.decompress(base64.b64decode(blob['base64']))
    largest = np.frombuffer(raw[: 4 * 4 * 13], '<f4')[:, None]
    codes = np.frombuffer(raw[4 * 4 * 13 :], np.uint8).reshape(-1, 13)
    found = (largest * (codes / data['levels']) ** 2).reshape(4, 13, 13)
    given = [*maps['head'][layer], maps['mean'][layer], maps['rollout'][layer]]
    off = np.abs(found - given)
    assert off.max() <= view['error'] + 1e-6
    assert (off <= data['bound'] * np.max(given, -1)[..., None] + 1e-6).all()
  assert 0 < view['error'] < 0.005


@pytest.mark.parametrize('levels', [255, 127, 63, 1])
def test_what_is_unpacked_is_near_what_was_packed(levels):
  noise = np.random.default_rng(0)
  weights = (noise.random((3, 5, 7)) ** 6).astype(np.float32)
  weights[0, 0] = 0
  packed = packing.pack(weights, levels)
  found = packing.unpack(packed.data, 7, levels).reshape(weights.shape)
  off = np.abs(found - weights)
  assert off.max() == pytest.approx(packed.error, abs=1e-7)
  bounds = packing.bound(levels) * weights.max(-1, keepdims=True)
  assert (off <= bounds + 1e-7).all()
  assert off.max() > 0.2 * bounds.max()


@pytest.mark.parametrize(
  ('side', 'patch', 'fields'),
  [
    ((32, 48), 16, {}),
    (32, 16, {'scan': True}),
    ((64, 32), 32, {'name': 'R+ViT-Ti/16'}),
    (32, 16, {'pooling': 'attention', 'depth': 1}),
  ],
)
def test_a_view_is_what_the_analyses_find(side, patch, fields):
  model = model_of(side, patch=patch, classes=('a', 'b'), **fields)
  pixels = pixels_of(side)
  view = views.compute(model, pixels, (model.depth,))
  maps = maps_of(model, pixels)
  np.testing.assert_allclose(view.heads[0], maps['head'][-1], atol=1e-6)
  np.testing.assert_allclose(view.mean[0], maps['mean'][-1], atol=1e-6)
  np.testing.assert_allclose(view.rollout[0], maps['rollout'][-1], atol=1e-6)
  np.testing.assert_allclose(view.pooling, maps['pooling'], atol=1e-6)
  rows, columns = view.grid
  assert (rows * patch, columns * patch) == pixels.shape[:2]
  distance = attention_distance.attention_distance(
    maps['head'], view.grid, patch
  )
  np.testing.assert_allclose(view.distance, distance, rtol=1e-4)
  bits = -np.sum(maps['head'] * np.log2(maps['head'] + 1e-30), -1).mean(-1)
  np.testing.assert_allclose(view.entropy, bits, rtol=1e-4)
  np.testing.assert_allclose(view.logits, maps['logits'], atol=1e-4)


def test_what_does_not_fit_is_left_out_and_told(tmp_path, browser_page):
  model = model_of(128, num_heads=4, depth=4, patch=16)
  images = [explore.Image('a', [pixels_of(128)])]
  whole = explore.build([model], images)
  assert not whole.told
  sizes, told = [len(whole.text)], []
  for megabytes in 0.19, 0.14, 0.08:
    page = explore.build([model], images, max_megabytes=megabytes)
    assert len(page.text.encode()) <= 1e6 * megabytes
    sizes.append(len(page.text))
    told.append(' '.join(page.told))
  assert sizes == sorted(sizes, reverse=True)
  assert 'levels in place of 256' in told[0]
  assert 'one of' in told[1] and 'heads is shown' in told[1]
  assert 'Single heads are left out' in told[2]
  path = page.save(tmp_path / 'small.html')
  shown = settled(browser_page(path))
  assert shown.locator('#told').text_content() == told[2]
  assert shown.get_by_text('One head', exact=True).count() == 0


def test_what_can_not_fit_is_refused():
  model = model_of(32)
  image = explore.Image('a', [pixels_of(32)])
  with pytest.raises(errors.UserError, match=r'2 x 2 .* --max-megabytes=1\b'):
    explore.build([model], [image], max_megabytes=0.01)
  with pytest.raises(errors.UserError, match=r'one has no layer 3; .* 1 to 2'):
    explore.build([model], [image], layers=(1, 3))


# The command ------------------------------------------------------------------


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """A folder with weights and images, called oddly."""
  folder = tmp_path_factory.mktemp('explore')
  _, _, flat = parameters_of(32)
  npz.save(folder / 'plain.npz', mapping.to_theirs(flat, vit.rows()))
  (folder / 'photos').mkdir()
  for number, name in enumerate(('a.png', "<b> & 'c' 🦊.png")):
    noise = np.random.default_rng(number)
    pixels = noise.integers(0, 256, (50, 70, 3), np.uint8)
    cv2.imwrite(str(folder / 'photos' / name), pixels)
  return folder


def run(*args):
  return main.main(['explore', *map(str, args)])


def test_a_page_is_written_and_bad_images_are_told(place, tmp_path, capsys):
  bad = tmp_path / 'bad.png'
  bad.write_bytes(b'no image')
  output = tmp_path / 'new/page.html'
  assert (
    run(
      place / 'plain.npz', f'{place}/photos,{bad}', f'--output={output}',
      '--layers=2',
    )
    == 1
  )  # fmt: skip
  said = capsys.readouterr()
  assert said.out == f'{output}\n'
  assert f'vit_jax: {bad}: ' in said.err
  assert 'ViT-B/16 (plain.npz): layers 2 of 2 are shown.' in said.err
  data = data_of(output)
  names = [view['name'] for view in data['views']]
  assert names == ["<b> & 'c' 🦊.png", 'a.png']
  assert [view['layers'] for view in data['views']] == [[2], [2]]


def test_a_run_with_layers_in_a_loop_is_shown_beside_others(place, tmp_path):
  config, _, flat = parameters_of(64, scan=False)
  config.model.scan = True
  config.data.resolution, config.data.num_classes = (64,), 3
  recipes.save(config, tmp_path / 'run')
  parameters.save(tmp_path / 'run', pytrees.unflatten(flat))
  card.write(tmp_path / 'run', card.of_run(config, 3, STRANGE, {}))
  output = tmp_path / 'page.html'
  flags = (f'--against={tmp_path / "run"}', f'--output={output}')
  assert run(place / 'plain.npz', place / 'photos/a.png', *flags) == 0
  data = data_of(output)
  assert [model['name'] for model in data['models']] == [
    'ViT-B/16 (plain.npz)',
    'ViT-B/16 (run)',
  ]
  assert [view['grid'] for view in data['views']] == [[2, 2], [4, 4]]
  names = {name for name, _ in data['views'][1]['classes']}
  assert names == set(STRANGE)


def test_models_without_attention_are_refused(place, tmp_path, capsys):
  fields = {'name': 'Mixer-S/16', 'num_heads': None}
  _, _, flat = parameters_of(32, **fields)
  npz.save(tmp_path / 'a.npz', mapping.to_theirs(flat, mixer.rows()))
  output = tmp_path / 'page.html'
  assert run(tmp_path / 'a.npz', place / 'photos', f'--output={output}') == 2
  assert 'has no attention weights; a plain' in capsys.readouterr().err
  assert not output.exists()


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (
      ('--layers=3',),
      'ViT-B/16 (plain.npz) has no layer 3; its layers are 1 to 2',
    ),
    (('--max-megabytes=0.001',), 'whatever is left out'),
    (('--against=none.npz',), 'none.npz is no file'),
    (('--resolution=40',), 'not a multiple of the 16'),
  ],
)
def test_a_mistake_is_told(flags, message, place, tmp_path, capsys):
  common = (place / 'plain.npz', place / 'photos', f'--output={tmp_path}/a')
  assert run(*common, *flags) == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / 'a').exists()
