"""The site is whole: links lead somewhere, and no page is left out.

`make docs` builds it with warnings as errors; these tests need no Sphinx.
"""

import pathlib
import re
import runpy

import pytest

from vit_jax.cli import commands
from vit_jax.config import overrides, schema
from vit_jax.training import assembly
from vit_jax.weights import catalog

SITE = runpy.run_path(str(pathlib.Path(__file__).with_name('pages.py')))
ROOT, DOCS = SITE['ROOT'], SITE['DOCS']


@pytest.fixture(scope='module')
def pages():
  return SITE['pages']()


@pytest.fixture(scope='module')
def generated():
  return {
    path.relative_to(DOCS).as_posix(): text
    for path, text in SITE['generated']().items()
  }


def dead(path, text, pages):
  """Yields the links of a page that lead nowhere."""
  for target in SITE['links'](text):
    name, _, anchor = target.partition('#')
    to = (path.parent / name).resolve() if name else path
    exists = to == path or to.exists() or to in SITE['generated']()
    known = SITE['anchors'](text if to == path else pages.get(to, ''))
    if not exists or (anchor and anchor not in known):
      yield target


def test_every_link_leads_to_a_file_and_a_heading(pages):
  found = [
    (path.name, target)
    for path, text in pages.items()
    for target in dead(path, text, pages)
  ]
  assert not found
  assert len([*SITE['links'](pages[ROOT / 'README.md'])]) > 20


@pytest.mark.parametrize(
  'link',
  ['nowhere.md', 'design.md#nothing', '#nothing', 'pictures/none.png'],
)
def test_a_link_that_leads_nowhere_is_noticed(link, pages):
  text = f'# Page\n\n[text](design.md#vocabulary) and [text]({link})'
  assert [*dead(DOCS / 'page.md', text, pages)] == [link]


def test_every_page_is_in_the_table_of_contents(pages):
  trees = re.findall(
    r'^```\{toctree\}\n(.*?)^```$', pages[DOCS / 'index.md'], re.M | re.S
  )
  listed = re.findall(r'^[\w/*]+$', '\n'.join(trees), re.M)
  made = {
    path.relative_to(DOCS).with_suffix('').as_posix()
    for path in [*SITE['generated'](), *DOCS.glob('*.md')]
  }
  left_out = {
    name
    for name in made
    if not any(pathlib.PurePath(name).match(pattern) for pattern in listed)
  }
  packages = {name for name in left_out if name.startswith('reference/api/')}
  assert left_out - packages == {'index'}
  assert {name for name in listed if '*' not in name} <= made


def test_the_readme_is_short():
  assert len((ROOT / 'README.md').read_bytes()) <= 8192


@pytest.mark.parametrize('url', ['', 'https://example.org/someone/vit_jax'])
def test_an_index_of_packages_gets_no_relative_link(url, monkeypatch):
  told = {}
  monkeypatch.setenv('VIT_JAX_URL', url)
  monkeypatch.setattr(
    'setuptools.setup', lambda **options: told.update(options)
  )
  runpy.run_path(str(ROOT / 'setup.py'))
  text = told['long_description']
  assert not [*SITE['links'](text)]
  assert 'Your own images explains' in text or url
  readme = (ROOT / 'README.md').read_text()
  for target in SITE['links'](readme):
    kind = 'raw' if target.endswith('.png') else 'blob'
    assert not url or f'({url}/{kind}/main/{target})' in text


def test_the_reference_has_every_field_with_what_it_means(generated):
  rows = dict(
    re.findall(
      r'^\| `(.+?)` \| (.*) \|$', generated['reference/configuration.md'], re.M
    )
  )
  assert sorted(rows) == sorted(overrides.flatten(schema.default()))
  for field, row in rows.items():
    *_, comment = row.split(' | ')
    assert len(comment.split()) > 1, field
  for field, table in assembly.CHOICES.items():
    assert all(f'`{name}`' in rows[field] for name in table)
  assert 'none, 1 to 65,536 |' in rows['model.width']
  assert ', at least 0 | `10000`' in rows['optimizer.warmup_steps']


def test_the_reference_has_every_command_with_its_flags(generated):
  page = generated['reference/commands.md']
  sections = re.split(r'^## (.+)$', page, flags=re.M)[1:]
  found = dict(zip(sections[::2], sections[1::2]))
  assert list(found) == list(commands.COMMANDS)
  for name, text in found.items():
    rows = re.findall(r'^\| `--([\w-]+)', text, re.M)
    assert rows == list(commands.COMMANDS[name].flags)


def test_the_catalogue_has_every_file(generated):
  names = re.findall(r'^\| `(.+?)`', generated['reference/catalog.md'], re.M)
  assert names == list(catalog.ENTRIES)


def test_the_api_reference_has_every_module(generated):
  told = re.findall(
    r'automodule:: (\S+)$', '\n'.join(map(str, generated.values())), re.M
  )
  paths = (ROOT / 'vit_jax').rglob('*.py')
  modules = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix(
      '.__init__'
    )
    for path in paths
    if path.name != '__main__.py'
  }
  assert len(told) == len(set(told))
  assert set(told) == modules


def test_the_version_is_the_same_everywhere():
  import vit_jax

  citation = (ROOT / 'CITATION.cff').read_text()
  assert f'\nversion: {vit_jax.__version__}\n' in citation
  assert f'prints {vit_jax.__version__}.' in (ROOT / 'CHANGELOG.md').read_text()
