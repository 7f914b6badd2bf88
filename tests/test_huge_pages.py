import os
import subprocess
import sys

import pytest

from vit_jax import huge_pages

ASKED = 'glibc.malloc.hugetlb=1'
CODE = """
import os, sys
print(os.getpid(), flush=True)
from vit_jax import huge_pages
huge_pages.ask()
print(os.getpid(), os.environ.get('GLIBC_TUNABLES'), *sys.argv[1:])
"""


@pytest.fixture
def modes(monkeypatch, tmp_path):
  """Writes what the kernel says of its modes."""
  monkeypatch.setattr(huge_pages, '_MODES', tmp_path / 'enabled')
  return (tmp_path / 'enabled').write_text


def test_asks_where_the_kernel_waits_to_be_asked(modes):
  modes('always [madvise] never\n')
  assert huge_pages.asking({'A': '1'}) == {'A': '1', 'GLIBC_TUNABLES': ASKED}


@pytest.mark.parametrize('said', ['[always] madvise never', 'always [never]'])
def test_asks_nobody_who_does_not_listen(modes, said):
  modes(said)
  assert huge_pages.asking({'A': '1'}) == {'A': '1'}


def test_asks_nobody_where_there_is_no_such_kernel(monkeypatch, tmp_path):
  monkeypatch.setattr(huge_pages, '_MODES', tmp_path / 'enabled')
  assert huge_pages.asking({}) == {}


@pytest.mark.parametrize('value', ['0', '1', '2'])
def test_keeps_what_the_user_says(modes, value):
  modes('always [madvise] never\n')
  told = {'GLIBC_TUNABLES': f'glibc.malloc.hugetlb={value}'}
  assert huge_pages.asking(told) == told


def test_keeps_other_tunables(modes):
  modes('always [madvise] never\n')
  told = {'GLIBC_TUNABLES': 'glibc.malloc.arena_max=2'}
  expected = f'glibc.malloc.arena_max=2:{ASKED}'
  assert huge_pages.asking(told)['GLIBC_TUNABLES'] == expected


def test_starts_the_same_process_over_once():
  environment = {
    name: value
    for name, value in os.environ.items()
    if name != 'GLIBC_TUNABLES'
  }
  shown = subprocess.run(
    [sys.executable, '-c', CODE, '--flag=a b'],
    env=environment,
    capture_output=True,
    text=True,
    check=True,
  )
  *started, (pid, tunables, *argv) = map(str.split, shown.stdout.splitlines())
  expected = huge_pages.asking(environment)
  assert started == [[pid]] * (1 + (expected != environment))
  assert tunables == expected.get('GLIBC_TUNABLES', 'None')
  assert ' '.join(argv) == '--flag=a b'
