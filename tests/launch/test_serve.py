"""The server of launch/serve answers as `vit_jax predict` does."""

import io
import pathlib
import re
import runpy
import socket
import subprocess
import sys
import time
from concurrent import futures

import httpx
import jax
import numpy as np
import pytest
from PIL import Image

import vit_jax
from vit_jax.cli import main

SERVE = pathlib.Path(__file__).parents[2] / 'launch/serve'
NAMES = ['daisy', 'rose', 'tulip']


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """A small model with random parameters, in the folder `weights`."""
  folder = tmp_path_factory.mktemp('served')
  made = vit_jax.create_model(
    'ViT-S/16', image_size=32, class_names=NAMES, width=16, depth=1, num_heads=2
  )
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: leaf + rng.standard_normal(leaf.shape, np.float32),
    made.params,
  )
  made = made.replace(params=params)
  made.save(folder / 'weights')
  made.export(folder / 'model.stablehlo')
  return folder


@pytest.fixture(scope='module')
def client(model):
  """A client of a server that is a process of its own."""
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  command = [SERVE / 'server.py', model / 'model.stablehlo', f'--port={port}']
  process = subprocess.Popen([sys.executable, *map(str, command)])
  address = f'http://127.0.0.1:{port}'
  try:
    with httpx.Client(base_url=address, timeout=300) as client:
      while process.poll() is None:
        try:
          assert client.get('/health').json() == {'status': 'ok'}
          break
        except httpx.ConnectError:
          time.sleep(0.1)
      yield client
  finally:
    process.terminate()
    process.wait()


def picture(seed=0, shape=(40, 60, 3), form='JPEG'):
  noise = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
  file = io.BytesIO()
  Image.fromarray(noise).save(file, form)
  return file.getvalue()


def ask(client, data, kind='image/jpeg', **params):
  return client.post(
    '/predict', content=data, headers={'content-type': kind}, params=params
  )


def predictions(client, *images):
  files = [('image', (f'{i}.jpg', data)) for i, data in enumerate(images)]
  return client.post('/predict', files=files).json()['predictions']


def test_its_answers_are_those_of_predict(model, client, tmp_path, capsys):
  paths = []
  for index, form in enumerate(('JPEG', 'PNG', 'JPEG')):
    paths.append(tmp_path / f'{index}.{form.lower()}')
    shape = (30 + 20 * index, 70, 3)
    paths[-1].write_bytes(picture(index, shape, form))
  main.main(
    ['predict', f'--checkpoint={model / "weights"}', f'--input={tmp_path}']
  )
  lines = capsys.readouterr().out.splitlines()
  wanted = re.findall(r'^ +([\d.]+)%  (\w+)$', '\n'.join(lines), re.M)
  found = predictions(client, *(path.read_bytes() for path in paths))
  told = [
    (f'{100 * each["probability"]:.2f}', each['name'])
    for rows in found
    for each in rows
  ]
  assert len(told) == 9 and told == wanted


def test_it_tells_the_card(client, model):
  assert client.get('/card').json()['classes'] == NAMES
  assert client.get('/card').text.count('sha256') == 1


def test_images_of_many_requests_do_not_mix(client):
  images = [picture(seed) for seed in range(24)]
  alone = [ask(client, data).json()['predictions'][0] for data in images]
  with futures.ThreadPoolExecutor(8) as threads:
    together = [*threads.map(lambda data: ask(client, data), images)]
  assert len({str(rows) for rows in alone}) == 24
  for rows, answer in zip(alone, together):
    (found,) = answer.json()['predictions']
    assert [each['name'] for each in found] == [each['name'] for each in rows]
    np.testing.assert_allclose(
      [each['probability'] for each in found],
      [each['probability'] for each in rows],
      rtol=1e-4,
    )


def test_so_many_classes_as_asked_for(client):
  rows = ask(client, picture(), top=2).json()['predictions'][0]
  assert len(rows) == 2 and rows[0]['probability'] >= rows[1]['probability']


def bomb():
  """Returns a small file of many pixels."""
  file = io.BytesIO()
  Image.new('1', (20_000, 20_000)).save(file, 'PNG')
  return file.getvalue()


@pytest.mark.parametrize(
  ('status', 'data', 'kind', 'params'),
  [
    (400, b'', 'image/jpeg', {}),
    (400, b'nothing of it', 'multipart/form-data; boundary=x', {}),
    (400, b'nothing of it', 'multipart/form-data', {}),
    (400, picture(), 'image/jpeg', {'top': '0'}),
    (400, picture(), 'image/jpeg', {'top': '-1'}),
    (415, b'{}', 'application/json', {}),
    (422, b'no image', 'image/jpeg', {}),
    (422, picture()[:100], 'image/jpeg', {}),
    (422, bomb(), 'image/png', {}),
  ],
)
def test_what_is_wrong_is_told(client, status, data, kind, params):
  answer = ask(client, data, kind, **params)
  assert answer.status_code == status
  assert answer.json().keys() == {'error'} and answer.json()['error']
  assert ask(client, picture()).status_code == 200


def test_requests_are_of_bounded_size(client):
  assert ask(client, bytes(33 << 20)).status_code == 413
  files = [('image', ('a.jpg', b'x'))] * 33
  assert client.post('/predict', files=files).status_code == 400


def test_a_file_is_served_with_its_own_card_only(model, tmp_path):
  for name in 'model.stablehlo', 'model.stablehlo.json':
    (tmp_path / name).write_bytes((model / name).read_bytes())
  (tmp_path / 'model.stablehlo').write_bytes(b'another program')
  server = runpy.run_path(str(SERVE / 'server.py'))
  with pytest.raises(SystemExit, match='not the file that its card is of'):
    server['Model'](tmp_path / 'model.stablehlo')


def test_its_image_copies_what_is_there():
  text = (SERVE / 'Dockerfile').read_text()
  for line in re.findall('^COPY (?!--).*', text, re.M):
    for path in line.split()[1:-1]:
      assert (SERVE.parents[1] / path).exists(), path
