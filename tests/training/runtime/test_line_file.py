import threading

import pytest

from vit_jax.training.runtime import line_file


@pytest.fixture
def said():
  return []


def test_each_line_is_there_at_once(tmp_path, said):
  file = line_file.LineFile(tmp_path / 'a' / 'lines', said.append)
  file.append(['one'])
  file.append(['two', 'three'])
  assert file.path.read_text() == 'one\ntwo\nthree\n'
  assert not said


def test_what_can_not_be_written_comes_later_and_is_told_once(tmp_path, said):
  file = line_file.LineFile(tmp_path / 'a' / 'lines', said.append)
  (tmp_path / 'a').write_text('in the way')
  file.append(['one'])
  file.append(['two'])
  assert len(said) == 1
  (tmp_path / 'a').unlink()
  file.append(['three'])
  assert file.path.read_text() == 'one\ntwo\nthree\n'


def test_threads_lose_no_line(tmp_path, said):
  file = line_file.LineFile(tmp_path / 'lines', said.append)

  def write(number):
    for each in range(50):
      file.append([f'{number} {each}'])

  threads = [
    threading.Thread(target=write, args=(number,)) for number in range(4)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  lines = file.path.read_text().splitlines()
  assert sorted(lines) == sorted(
    f'{a} {b}' for a in range(4) for b in range(50)
  )


def test_a_stuck_thread_keeps_nobody_from_the_last_words(
  monkeypatch, tmp_path, said
):
  monkeypatch.setattr(line_file, 'PATIENCE', 0.01)
  file = line_file.LineFile(tmp_path / 'lines', said.append)
  with file._lock:
    file.append(['the last words'])
  assert file.path.read_text() == 'the last words\n'
