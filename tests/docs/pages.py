"""The pages of the site as text: those of the checkout, and generated ones."""

import functools
import pathlib
import re
import runpy

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / 'docs'


@functools.cache
def generated():
  """Returns {path: text} of what docs/generate.py makes."""
  pages = runpy.run_path(str(DOCS / 'generate.py'))['pages']()
  return {DOCS / name: text for name, text in pages.items()}


def sources():
  """Returns {path: text} of the pages that people write."""
  paths = [
    *ROOT.glob('*.md'),
    *DOCS.glob('*.md'),
    *(ROOT / 'configs/README.md', ROOT / 'launch/README.md'),
  ]
  return {path: path.read_text() for path in sorted(paths)}


def pages():
  """Returns {path: text} of all pages in Markdown."""
  made = {
    path: text for path, text in generated().items() if path.suffix == '.md'
  }
  return sources() | made


def without_code(text):
  """Returns a page without its blocks of code, in which # is no heading."""
  return re.sub(r'^```.*?^```$', '', text, flags=re.M | re.S)


def anchors(text):
  """Returns the anchors of a page's headings, as GitHub makes them."""
  slugs = set(re.findall(r'^\(([\w-]+)\)=$', text, re.M))
  for heading in re.findall(r'^#+ (.+)$', without_code(text), re.M):
    words = re.sub(r'[^\w\- ]', '', heading.lower())
    slugs.add(words.replace(' ', '-'))
  return slugs


def links(text):
  """Yields the targets of links and pictures that are not on the web."""
  text = re.sub(r'`[^`\n]+`', '', without_code(text))
  for target in re.findall(r'\]\(([^)\s]+)\)', text):
    if not re.match(r'[a-z]+:', target):
      yield target
  # Of directives.
  yield from re.findall(r'^```\{(?:image|include)\} (\S+)$', text, re.M)


def python_blocks(text):
  """Returns [(code, reason or '')] of the Python in a page.

  The reason is why a block is not run: `<!-- not run: REASON -->` above it.
  """
  found = re.findall(
    r'(?:<!-- not run: (.+?) -->\n+)?^```python\n(.*?)^```$', text, re.M | re.S
  )
  return [(code, reason) for reason, code in found]
