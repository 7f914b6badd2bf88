"""Pages hold what they are given, whoever named it, and load nothing else."""

import base64
import json
import re

import cv2
import numpy as np
import pytest

from vit_jax.analysis import pages

STRANGE = (
  '</script><script>document.title = "taken"</script>',
  '<!--<script>',
  '"\'&quot;<img src=x onerror=alert(1)>\u2028',
  'http://example.com/a.js',
)
BODY = '<main id="main"></main>\n'
SCRIPT = """
const {data, el} = page;
document.getElementById('main').append(
  ...data.names.map((name) => el('p', {title: name}, name)));
document.getElementById('main').dataset.sum =
  page.array(data.blob).reduce((a, b) => a + b, 0);
"""


@pytest.fixture
def template(tmp_path):
  folder = tmp_path / 'template'
  folder.mkdir()
  (folder / 'body.html').write_text(BODY)
  (folder / 'style.css').write_text('p { color: red; }\n')
  (folder / 'script.js').write_text(SCRIPT)
  return folder


def test_data_come_back_as_they_were():
  data = {
    'names': list(STRANGE),
    'numbers': np.array([1.5, np.nan, np.inf]),
    'count': np.int64(3),
    'nested': {'a': (1, None, True)},
    'bytes': 'caf\udce9',
  }
  text = pages.embedded(data)
  assert not re.search(r'[<>&\u2028]', text)
  assert json.loads(text) == {
    'names': list(STRANGE),
    'numbers': [1.5, None, None],
    'count': 3,
    'nested': {'a': [1, None, True]},
    'bytes': 'caf\ufffd',
  }


@pytest.mark.parametrize('dtype', ['float32', 'int32', 'uint8', '>u2'])
def test_blobs_hold_their_array(dtype):
  array = np.arange(6).reshape(2, 3).astype(dtype)
  (found,) = json.loads(pages.embedded([pages.Blob(array.T)]))
  kind = np.dtype(found['dtype']).newbyteorder('<')
  back = np.frombuffer(base64.b64decode(found['base64']), kind)
  np.testing.assert_array_equal(back.reshape(found['shape']), array.T)


@pytest.mark.parametrize('side, kind', [(8, 'png'), (200, 'jpeg')])
def test_pictures_are_what_they_were(side, kind):
  image = np.full((side, side // 2, 3), (250, 100, 20), np.uint8)
  uri = pages.picture(image, max_side=100)
  start = f'data:image/{kind};base64,'
  assert uri.startswith(start)
  coded = np.frombuffer(base64.b64decode(uri.removeprefix(start)), np.uint8)
  back = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
  assert back.shape == (min(side, 100), min(side, 100) // 2, 3)
  assert np.abs(back.astype(int) - image[0, 0]).max() <= 3


def test_a_page_that_is_too_large_is_not_written(template, tmp_path):
  with pytest.raises(ValueError, match='bytes'):
    pages.write(tmp_path / 'a.html', template, '', {'a': 'x' * 9_000_000})
  assert not (tmp_path / 'a.html').exists()


def test_strange_names_are_text_and_nothing_is_loaded(
  template, tmp_path, browser_page
):
  blob = pages.Blob(np.array([0.5, 2.0], np.float32))
  data = {'names': list(STRANGE), 'blob': blob}
  path = pages.write(tmp_path / 'page.html', template, STRANGE[0], data)
  page = browser_page(path)
  assert page.title() == STRANGE[0]
  shown = page.locator('main p')
  assert shown.all_text_contents() == list(STRANGE)
  assert [each.get_attribute('title') for each in shown.all()] == list(STRANGE)
  assert page.locator('main').get_attribute('data-sum') == '2.5'
  assert page.locator('img, script[src], link').count() == 0


def test_no_script_but_that_of_the_page_runs(template, tmp_path, browser_page):
  body = '<main id="main"></main><script>window.taken = true</script>'
  (template / 'body.html').write_text(body)
  data = {'names': [], 'blob': pages.Blob(np.zeros(1, np.float32))}
  path = pages.write(tmp_path / 'page.html', template, 'title', data)
  page = browser_page(path)
  assert page.evaluate('window.taken') is None
  assert 'Content Security Policy' in ''.join(browser_page.problems)
  browser_page.problems.clear()
