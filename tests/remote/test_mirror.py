"""Files that grow while a run goes on."""

import threading

from vit_jax import files
from vit_jax.training.runtime import mirror


def test_what_grows_is_in_the_store_at_the_end(folder):
  with mirror.Mirror(folder) as copied:
    (copied.folder / 'logs').mkdir()
    for line in 'ab', 'cd':
      files.append_line(copied.folder / 'logs/x', line)
    local = copied.folder
  assert (folder / 'logs/x').read_text() == 'ab\ncd\n'
  assert not local.exists()


def test_a_push_copies_what_has_changed(folder):
  with mirror.Mirror(folder) as copied:
    for text in 'one\n', 'one\ntwo\n':
      files.write_text(copied.folder / 'x', text)
      copied.push()
      while not (folder / 'x').exists() or (folder / 'x').read_text() != text:
        threading.Event().wait(0.05)


def test_a_file_of_an_earlier_start_is_continued(folder):
  for line in 'first', 'second':
    with mirror.Mirror(folder) as copied:
      copied.fetch('log')
      copied.fetch('none')
      files.append_line(copied.folder / 'log', line)
  assert (folder / 'log').read_text() == 'first\nsecond\n'


def test_a_store_in_trouble_is_told_once_and_nothing_is_lost(folder, store):
  told = []
  with mirror.Mirror(folder, told.append) as copied:
    files.write_text(copied.folder / 'x', 'text')
    with store.failing(failing=1.0, status=403):
      copied._copy()
      copied._copy()
    assert len(told) == 1 and 'cannot be written' in told[0]
  assert (folder / 'x').read_text() == 'text'


def test_on_a_disk_it_is_the_folder_itself(tmp_path):
  with mirror.Mirror(tmp_path) as copied:
    assert copied.folder == tmp_path
    copied.fetch('x')
    copied.push()
