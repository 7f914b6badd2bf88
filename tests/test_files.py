import ast
import errno
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys

import pytest

import vit_jax
from vit_jax import errors, files
from vit_jax.data.sources import tfrecord
from vit_jax.files import cache, copies, folders
from vit_jax.weights.files import download


def test_a_file_is_replaced_whole(tmp_path):
  path = tmp_path / 'a'
  path.write_text('before')
  with files.replacing(path) as file:
    file.write(b'af')
    assert path.read_text() == 'before'
    file.write(b'ter')
  assert path.read_text() == 'after'
  assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from vit_jax import files
os.{call} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
files.write_text(sys.argv[1], 'after')
"""


@pytest.mark.parametrize('call', ['fsync', 'replace'])
def test_a_kill_before_the_renaming_leaves_what_was_there(tmp_path, call):
  path = tmp_path / 'a'
  path.write_text('before')
  killed = subprocess.run(
    [sys.executable, '-c', KILLED.format(call=call), str(path)], check=False
  )
  assert killed.returncode == -signal.SIGKILL
  assert path.read_text() == 'before'
  (remains,) = set(tmp_path.iterdir()) - {path}
  assert remains.name.endswith(files.UNFINISHED)
  files.write_text(path, 'later')  # Not hindered by the remains.
  assert path.read_text() == 'later'


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
  told = []
  for name in 'fsync', 'replace':
    original = getattr(os, name)

    def tell(*args, name=name, original=original):
      is_folder = name == 'fsync' and stat.S_ISDIR(os.fstat(*args).st_mode)
      told.append('fsync of the folder' if is_folder else name)
      return original(*args)

    monkeypatch.setattr(os, name, tell)
  files.write_text(tmp_path / 'a', 'text')
  assert told == ['fsync', 'replace', 'fsync of the folder']


@pytest.mark.parametrize('code', [errno.EINVAL, errno.EIO])
def test_a_folder_that_can_not_be_synced_is_told_of_io_errors_only(
  tmp_path, monkeypatch, code
):
  original = os.fsync

  def fsync(descriptor):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
      raise OSError(code, os.strerror(code))
    original(descriptor)

  monkeypatch.setattr(os, 'fsync', fsync)
  if code == errno.EINVAL:
    files.write_text(tmp_path / 'a', 'text')
  else:
    with pytest.raises(OSError, match='Input/output'):
      files.write_text(tmp_path / 'a', 'text')
  assert (tmp_path / 'a').read_text() == 'text'


@pytest.mark.parametrize('error', [ZeroDivisionError, KeyboardInterrupt])
def test_a_failing_write_leaves_what_was_there_and_no_more(tmp_path, error):
  path = tmp_path / 'a'
  path.write_text('before')
  with pytest.raises(error), files.replacing(path) as file:
    file.write(b'half')
    raise error
  assert path.read_text() == 'before'
  assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there_and_no_more(tmp_path, monkeypatch):
  def full(_):
    raise OSError(errno.ENOSPC, 'No space left on device')

  path = tmp_path / 'a'
  path.write_text('before')
  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(OSError, match='No space left'):
    files.write_text(path, 'after')
  assert path.read_text() == 'before'
  assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
  target, link = tmp_path / 'target', tmp_path / 'link'
  target.write_text('before')
  link.symlink_to(target)
  files.write_text(link, 'after')
  assert not link.is_symlink() and link.read_text() == 'after'
  assert target.read_text() == 'before'


def test_a_link_in_the_way_of_the_unfinished_file_is_not_followed(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(files.secrets, 'token_hex', lambda _: 'guessed')
  target, path = tmp_path / 'target', tmp_path / 'a'
  target.write_text('before')
  path.with_name('a.guessed.tmp').symlink_to(target)
  with pytest.raises(FileExistsError):
    files.write_text(path, 'after')
  assert target.read_text() == 'before'
  assert not path.exists()


@pytest.mark.parametrize('umask', [0o022, 0o077])
def test_others_may_read_what_they_may_read_of_any_file(tmp_path, umask):
  before = os.umask(umask)
  try:
    files.write_text(tmp_path / 'a', 'text')
    files.append_line(tmp_path / 'b', 'text')
  finally:
    os.umask(before)
  for name in 'a', 'b':
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


def test_what_the_user_names_gets_a_folder_or_one_clear_line(tmp_path):
  with files.saving(tmp_path / 'new/folder/a') as file:
    file.write(b'text')
  assert (tmp_path / 'new/folder/a').read_text() == 'text'
  with (
    pytest.raises(errors.UserError, match='a/b can not be written'),
    files.saving(tmp_path / 'new/folder/a/b'),
  ):
    pass


def test_a_folder_that_is_gone_is_not_made_again(tmp_path):
  with pytest.raises(FileNotFoundError):
    files.write_text(tmp_path / 'gone/a', 'text')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('before', 'lines'),
  [
    (None, ['new']),
    ('', ['new']),
    ('one\n', ['one', 'new']),
    ('one\ntw', ['one', 'tw', 'new']),
    ('o', ['o', 'new']),
    ('\n', ['', 'new']),
  ],
)
def test_a_line_starts_afresh_after_one_cut_short(tmp_path, before, lines):
  path = tmp_path / 'a'
  if before is not None:
    path.write_text(before)
  files.append_line(path, 'new')
  assert files.read_lines(path) == lines
  assert path.read_text().endswith('new\n')


def test_lines_of_several_writers_do_not_overwrite_each_other(tmp_path):
  path = tmp_path / 'a'
  code = (
    'import sys\nfrom vit_jax import files\nfor number in range(200):\n'
    '  files.append_line(sys.argv[1], sys.argv[2] * 50 + f" {number}")'
  )
  writers = [
    subprocess.Popen([sys.executable, '-c', code, str(path), letter])
    for letter in 'ab'
  ]
  assert [writer.wait() for writer in writers] == [0, 0]
  # One that is seen half by the other is followed by an empty line at most.
  given = sorted(line for line in files.read_lines(path) if line)
  assert given == sorted(
    f'{letter * 50} {number}' for letter in 'ab' for number in range(200)
  )


def test_lines_are_utf_8_and_end_at_newlines_alone(tmp_path):
  path = tmp_path / 'a'
  assert files.read_lines(path) == []
  for text in 'ä', 'one\u2028line':
    files.append_line(path, text)
  files.append_line(path, json.dumps('ä'))
  assert path.read_bytes().decode() == 'ä\none\u2028line\n"\\u00e4"\n'
  assert files.read_lines(path) == ['ä', 'one\u2028line', '"\\u00e4"']


@pytest.mark.parametrize('write', [files.append_line, files.opened_in_place])
def test_links_are_not_followed_in_place(tmp_path, write):
  target, link = tmp_path / 'target', tmp_path / 'link'
  target.write_text('before')
  link.symlink_to(target)
  with pytest.raises(OSError, match='symbolic links'):
    write(link, 'ab')
  link.unlink()
  link.symlink_to(tmp_path / 'new')  # Of nothing.
  with pytest.raises(OSError, match='symbolic links'):
    write(link, 'ab')
  assert target.read_text() == 'before' and not (tmp_path / 'new').exists()


def test_links_are_refused_by_name(tmp_path):
  (tmp_path / 'notes').symlink_to(tmp_path / 'elsewhere')
  (tmp_path / 'a.json').write_text('')
  files.refuse_links(tmp_path, ('*.json', 'checkpoints'))
  for name in 'b.json', 'checkpoints':
    (tmp_path / name).symlink_to(tmp_path)
    with pytest.raises(errors.UserError, match=f'{name} is a symbolic link'):
      files.refuse_links(tmp_path, ('*.json', 'checkpoints'))
    (tmp_path / name).unlink()


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir, None])
def test_only_regular_files_are_read_and_none_waits(tmp_path, make):
  path = tmp_path / 'a'
  if make:
    make(path)
  else:
    path.symlink_to('/dev/zero')
  for read in files.read_bytes, files.read_json, files.read_lines:
    with pytest.raises(
      (OSError, errors.UserError), match=r'no regular file|directory'
    ):
      read(path, 1 << 20)


def test_what_is_too_large_is_not_read(tmp_path):
  path = tmp_path / 'a'
  path.write_bytes(b'12345')
  assert files.read_bytes(path, 5) == b'12345'
  with pytest.raises(OSError, match='over 4 bytes'):
    files.read_bytes(path, 4)


@pytest.mark.parametrize(
  'data',
  [
    '',
    '{',
    'NaN',
    '[Infinity]',
    '{"a": 1, "a": 2}',
    '[' * 33 + ']' * 33,
    '[' * 200_000,
    '{"a":' * 200_000,
    b'"\xff"',
    '1' * 5000,
  ],
)
def test_json_that_is_none_is_refused(data):
  with pytest.raises(ValueError):
    files.parse_json(data)


def test_json_is_read(tmp_path):
  value = {'a': [1, 2.5, None, True, {'b': 'ä'}]}
  (tmp_path / 'a').write_text(json.dumps(value))
  assert files.read_json(tmp_path / 'a') == value
  assert files.parse_json('[' * 32 + ']' * 32) is not None


# An index is kept where remote folders are, too; the name of what is touched
# is random.
OTHERS = {
  'cli/output.py': {'os.open'},  # Of nowhere, os.devnull.
  'data/sources/tfrecord.py': {'write_bytes'},
  'training/runtime/agreement.py': {'touch'},
}


def _writes(node):
  """Yields the calls in a tree that write a file or rename one."""
  for call in ast.walk(node):
    if not isinstance(call, ast.Call):
      continue
    name = ast.unparse(call.func)
    method = name.rpartition('.')[2]
    strings = [
      argument.value
      for argument in (*call.args, *(word.value for word in call.keywords))
      if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    opens = method == 'open' and any(
      set(text) <= set('rwaxbt+') and set(text) & set('wax+')
      for text in strings
    )
    if name in ('os.open', 'os.replace', 'os.rename', 'os.link'):
      yield name
    elif method in ('write_text', 'write_bytes', 'touch'):
      if not name.startswith('files.'):
        yield method
    elif opens and name != 'zipped.open':  # A member of a file of ours.
      yield 'open'


def test_no_other_module_writes_files():
  package = pathlib.Path(vit_jax.__file__).parent
  found = {
    str(path.relative_to(package)): writes
    for path in package.rglob('*.py')
    if (writes := set(_writes(ast.parse(path.read_text()))))
  }
  assert found.pop('files/__init__.py') >= {'open', 'os.open', 'os.replace'}
  assert found.pop('files/folders.py') == {'open', 'touch'}
  assert found.pop('files/remote.py') == {'write_bytes'}
  assert found == OTHERS


def test_a_folder_that_does_what_a_run_needs_is_left_empty(tmp_path):
  folders.check(tmp_path / 'new')
  assert not list((tmp_path / 'new').iterdir())


def refuse(*_):
  raise OSError(errno.ENOSYS, 'Function not implemented')


def test_a_mount_that_renames_no_folders_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(pathlib.Path, 'rename', refuse)
  with pytest.raises(errors.UserError, match=r'rename folders.*gs://'):
    folders.check(tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_mount_that_creates_no_file_exclusively_is_refused(
  tmp_path, monkeypatch
):
  def create_anyway(path, mode, *args):
    return open(path, mode.replace('x', 'w'), *args)

  monkeypatch.setattr(folders, 'open', create_anyway, raising=False)
  with pytest.raises(errors.UserError, match='create files exclusively'):
    folders.check(tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('variables', 'wanted'),
  [
    ({}, '{home}/.cache/vit_jax'),
    ({'XDG_CACHE_HOME': '{home}/xdg'}, '{home}/xdg/vit_jax'),
    ({'XDG_CACHE_HOME': ''}, '{home}/.cache/vit_jax'),
    ({'VIT_JAX_CACHE': '~/big'}, '{home}/big'),
    ({'VIT_JAX_CACHE': 'big'}, '{home}/big'),
    ({'VIT_JAX_CACHE': '', 'XDG_CACHE_HOME': '~/x'}, '{home}/x/vit_jax'),
    ({'VIT_JAX_CACHE': '/v', 'XDG_CACHE_HOME': '/x'}, '/v'),
  ],
)
def test_one_variable_moves_all_that_is_cached(
  variables, wanted, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HOME', str(tmp_path))
  for name in 'VIT_JAX_CACHE', 'XDG_CACHE_HOME':
    monkeypatch.delenv(name, raising=False)
  for name, value in variables.items():
    monkeypatch.setenv(name, value.format(home=tmp_path))
  wanted = pathlib.Path(wanted.format(home=tmp_path))
  assert cache.folder() == wanted
  assert copies.folder() == wanted / 'objects'
  assert tfrecord._user_cache() == wanted / 'tfrecord_index'
  assert download.path_of('https://a.org/x.npz') == wanted / 'a.org/x.npz'


def test_the_cache_is_on_a_disk(monkeypatch):
  monkeypatch.setenv('VIT_JAX_CACHE', 'gs://bucket/cache')
  with pytest.raises(errors.UserError, match='is not on a disk'):
    cache.folder()
