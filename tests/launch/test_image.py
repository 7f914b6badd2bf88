"""The image has what it copies and starts."""

import json
import os
import re


def test_the_image_has_what_it_copies_and_starts(machine):
  text = (machine.launch / 'Dockerfile').read_text()
  for line in re.findall('^COPY (?!--).*', text, re.M):
    for path in line.split()[1:-1]:
      assert (machine.launch.parent / path).exists(), path
  (entry,) = re.findall(r'^ENTRYPOINT (.*)', text, re.M)
  program, name = json.loads(entry)
  folder, _, started = program.rpartition('/')
  assert f'launch/{started} {folder}/\n' in text and name == 'vit_jax'
  assert os.access(machine.launch / started, os.X_OK)
  sourced = re.findall(
    r'^source .*/(\w+\.sh)"', (machine.launch / started).read_text(), re.M
  )
  assert sourced and all(f'launch/{name} ' in text for name in sourced)
  assert re.search(r'^USER ', text, re.M) and 'ARG ACCOUNT=vit_jax' in text


def test_the_entry_point_starts_once(machine, monkeypatch):
  monkeypatch.setenv('TRIES', '1')
  machine.ends(75, 0)
  done = machine.start('keep_going.sh', 'vit_jax', *machine.train)
  assert (done.returncode, done.stderr) == (75, '')
  assert machine.noted('vit_jax') == [[*machine.train]]


def test_the_image_asks_for_extras_that_there_are(machine):
  setup = (machine.launch.parent / 'setup.py').read_text()
  extras = set(re.findall(r"^    '(\w+)': \[", setup, re.M))
  text = (machine.launch / 'Dockerfile').read_text()
  page = (machine.launch / 'README.md').read_text()
  forms = r'EXTRAS=([\w,]+)|vit_jax\[(\w+)\]|\.\[([\w,]+)\]'
  asked = re.findall(forms, text + page)
  named = {name for found in asked for name in ''.join(found).split(',')}
  assert {'tpu', 'gcs', 'cuda', 's3'} <= named <= extras
