"""Docstrings as reStructuredText: Google's sections, and prose that is text.

Napoleon takes docstrings for reStructuredText, in which `{path: array}`, a star
or an aligned table mean something else than here.
"""

import ast
import pathlib
import re
import textwrap

ROOT = pathlib.Path(__file__).parents[1]
SECTION = re.compile(r'(Args|Attributes|Returns|Yields|Raises):(?: (.+))?$')
ITEM = re.compile(r'([*\w][\w, *]*): (.+)')


def converted(lines, targets):
  """Returns the lines of a docstring in reStructuredText.

  Args:
    lines: as autodoc has them, without their common indentation.
    targets: {'module.name': its whole path}, of what code may refer to.
  """
  name, body, parts = None, [], []
  for line in [*lines, None]:
    match = line is not None and SECTION.match(line)
    if line is not None and not match:
      body.append(line)
      continue
    parts.append((name, body))
    if match:
      name, body = match[1], [match[2]] if match[2] else []
  result = []
  for name, body in parts:
    text = textwrap.dedent('\n'.join(body)).strip('\n')
    if name:
      result += [f'**{name}:**', '']
    form = _items if name in ('Args', 'Attributes', 'Raises') else _prose
    result += [*form(text, targets), '']
  return result


def _prose(text, targets):
  """Returns paragraphs, lists, and what is aligned as literal blocks."""
  result = []
  for block in re.split(r'\n\s*\n', text):
    lines = block.split('\n')
    indents = {len(line) - len(line.lstrip()) for line in lines if line}
    if min(indents, default=0) > 2 or re.search(r'\S {3,}\S', block):
      result += ['::', '', textwrap.indent(textwrap.dedent(block), '    ')]
    elif ITEM.match(lines[0]) and indents == {0, 2}:
      result += _items(block, targets)
    elif lines[0].startswith(('- ', '* ')):
      result += [inline(line, targets) for line in lines]
    else:
      result.append(inline(' '.join(map(str.strip, lines)), targets))
    result.append('')
  return '\n'.join(result).split('\n')


def _items(text, targets):
  """Returns a list of `name: text`, each with the lines below it."""
  result = []
  for item in re.split(r'\n(?=\S)', text):
    words = ' '.join(map(str.strip, item.split('\n')))
    match = ITEM.match(words)
    if match:
      words = f'`{match[1]}`: {match[2]}'
    result.append(f'* {inline(words, targets)}' if match else inline(words, {}))
  return [*result, '']


def inline(text, targets):
  """Returns a line in which only `code` is markup, and refers if it can."""
  parts = re.split(r'`([^`]+)`', text)
  parts[::2] = [re.sub(r'([*|\\_`])', r'\\\1', part) for part in parts[::2]]
  for position in range(1, len(parts), 2):
    code = parts[position]
    target = targets.get(code)
    role = f':py:obj:`{code} <{target}>`' if target else f'``{code}``'
    before = '\\ ' if re.search(r'\w$', parts[position - 1]) else ''
    after = '\\ ' if re.match(r'\w', parts[position + 1]) else ''
    parts[position] = before + role + after
  return ''.join(parts)


def targets():
  """Returns {'module.name': whole path} of what has a docstring, if unique."""
  found = {}
  for path in (ROOT / 'vit_jax').rglob('*.py'):
    module = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    module = module.removesuffix('.__init__')
    for node in ast.parse(path.read_text()).body:
      is_named = isinstance(node, ast.FunctionDef | ast.ClassDef)
      if is_named and node.name[0] != '_' and ast.get_docstring(node):
        short = f'{module.rpartition(".")[2]}.{node.name}'
        found.setdefault(short, []).append(f'{module}.{node.name}')
  return {short: paths[0] for short, paths in found.items() if len(paths) == 1}
