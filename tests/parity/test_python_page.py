"""The timm in docs/python.md runs, with random weights in place of released."""

import pathlib
import runpy

import numpy as np
import timm
from PIL import Image

PAGES = runpy.run_path(str(pathlib.Path(__file__).parents[1] / 'docs/pages.py'))


def test_what_the_page_says_of_timm_is_so(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  create = timm.create_model

  def create_random(name, pretrained, **options):
    assert pretrained and name.partition('.')[0] in timm.list_models()
    return create(name.partition('.')[0], **options)

  monkeypatch.setattr(timm, 'create_model', create_random)
  Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save('cat.jpg')
  text = PAGES['sources']()[PAGES['DOCS'] / 'python.md']
  blocks = [
    code for code, reason in PAGES['python_blocks'](text) if 'timm' in reason
  ]
  assert len(blocks) >= 6
  scope = {}
  for code in blocks:
    exec(compile(code, 'python.md', 'exec'), scope)
  assert scope['extract'].names
  assert (tmp_path / 'published').is_dir()
