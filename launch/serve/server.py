"""Serves an exported model over HTTP: images in, classes and probabilities out.

  python server.py MODEL [--host=127.0.0.1] [--port=8000]

MODEL was written by `vit_jax export --to=stablehlo`, with its card beside it.
It is a program that will be run: serve only files from people you trust.
vit_jax prepares the images, so that their pixels are those of `vit_jax
predict`; the model needs JAX alone.

  GET /health    {"status": "ok"}, once the model is compiled
  GET /card      the card of the model
  POST /predict  an image as the body, or several as multipart/form-data; with
                 ?top=5, {"predictions": [[{"name": ..., "probability": ...}]]}

Errors are {"error": "..."}: 400 a request that is none, 413 too much, 415 a
type that is no image's, 422 a file that can't be decoded.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import hashlib
import json
import pathlib
from concurrent import futures

import jax
import jax.export
import numpy as np
import uvicorn
from starlette import (
  applications,
  exceptions,
  middleware,
  responses,
  routing,
)

from vit_jax import errors
from vit_jax.data import transforms
from vit_jax.weights import preprocessing

MAX_BODY = 32 << 20  # Bytes of a request.
MAX_IMAGES = 32  # Of a request.
MAX_PIXELS = 20_000_000  # Of an image.
BATCH_SIZES = (1, 4, 16)  # Each is compiled once, at the start.
THREADS = 4  # That decode images.


class Model:
  """An exported model that computes what came in meanwhile in one batch."""

  def __init__(self, path):
    path = pathlib.Path(path)
    self.card = json.loads(path.with_name(path.name + '.json').read_text())
    data = path.read_bytes()
    (told,) = self.card['files'].values()
    if hashlib.sha256(data).hexdigest() != told['sha256']:
      raise SystemExit(f'{path} is not the file that its card is of.')
    if (self.card['output']['name'], self.card['input']['dtype']) != (
      'probabilities',
      'uint8',
    ):
      raise SystemExit(f'{path} does not map uint8 pixels to probabilities.')
    size = self.card['input']['shape'][1:3]
    values = dict(self.card['preprocessing'])
    del values['steps']
    padding = values.pop('padding', None)
    if padding:
      values['mean'] = tuple(value / 255 for value in padding)
    (decode_crop,) = preprocessing.Preprocessing(**values).chain(size)
    self._prepare = dataclasses.replace(decode_crop, max_pixels=MAX_PIXELS)
    self._call = jax.jit(jax.export.deserialize(bytearray(data)).call)
    self._decoders = futures.ThreadPoolExecutor(THREADS)
    self._waiting = asyncio.Queue(maxsize=4 * max(BATCH_SIZES))
    for batch_size in BATCH_SIZES:
      self._compute([np.zeros((*size, 3), np.uint8)] * batch_size)

  async def predict(self, data):
    """Returns the probabilities of an image file's bytes, [classes].

    Raises:
      UserError: it can't be decoded.
    """
    loop = asyncio.get_running_loop()
    pixels = await loop.run_in_executor(
      self._decoders, transforms.apply, [self._prepare], data
    )
    done = loop.create_future()
    await self._waiting.put((pixels, done))
    return await done

  async def run(self):
    """Computes for ever."""
    loop = asyncio.get_running_loop()
    while True:
      batch = [await self._waiting.get()]
      while len(batch) < max(BATCH_SIZES) and not self._waiting.empty():
        batch.append(self._waiting.get_nowait())
      pixels, waiting = zip(*batch)
      try:
        rows = await loop.run_in_executor(None, self._compute, pixels)
      except Exception as error:
        rows = [error] * len(waiting)
      for row, done in zip(rows, waiting):
        if done.cancelled():  # Nobody waits for it any more.
          continue
        if isinstance(row, Exception):
          done.set_exception(row)
        else:
          done.set_result(row)

  def _compute(self, pixels):
    """Fills up the batch with black images: no other size is compiled."""
    padded = next(size for size in BATCH_SIZES if size >= len(pixels))
    batch = np.zeros((padded, *pixels[0].shape), np.uint8)
    batch[: len(pixels)] = pixels
    return np.asarray(self._call(batch))[: len(pixels)]


class Bounded:
  """ASGI middleware that refuses bodies larger than `MAX_BODY`."""

  def __init__(self, app):
    self._app = app

  async def __call__(self, scope, receive, send):
    num_bytes = 0

    async def bounded():
      nonlocal num_bytes
      message = await receive()
      num_bytes += len(message.get('body', b''))
      if num_bytes > MAX_BODY:
        _fail(413, f'A request has no more than {MAX_BODY} bytes.')
      return message

    await self._app(scope, bounded, send)


def application(model):
  """Returns the ASGI application that serves a `Model`."""

  @contextlib.asynccontextmanager
  async def lifespan(_):
    running = asyncio.create_task(model.run())
    yield
    running.cancel()

  async def health(_):
    return responses.JSONResponse({'status': 'ok'})

  async def card(_):
    return responses.JSONResponse(model.card)

  async def predict(request):
    top = _top(request)
    images = await _images(request)
    found = await asyncio.gather(
      *map(model.predict, images), return_exceptions=True
    )
    for index, each in enumerate(found):
      if isinstance(each, errors.UserError):
        _fail(422, f'image {index}: {each}')
      if isinstance(each, BaseException):
        raise each
    names = model.card['classes']
    return responses.JSONResponse(
      {'predictions': [_likeliest(each, names, top) for each in found]}
    )

  async def fail(_, error):
    return responses.JSONResponse({'error': error.detail}, error.status_code)

  return applications.Starlette(
    routes=[
      routing.Route('/health', health),
      routing.Route('/card', card),
      routing.Route('/predict', predict, methods=['POST']),
    ],
    middleware=[middleware.Middleware(Bounded)],
    exception_handlers={exceptions.HTTPException: fail},
    lifespan=lifespan,
  )


def _top(request):
  text = request.query_params.get('top', '5')
  if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= 1000):
    _fail(400, 'top is not a number from 1 to 1000.')
  return int(text)


async def _images(request):
  """Returns the bytes of each image of a request."""
  kind = request.headers.get('content-type', '').partition(';')[0].strip()
  if kind == 'multipart/form-data':
    async with request.form(max_files=MAX_IMAGES, max_fields=0) as form:
      parts = [part for _, part in form.multi_items()]
      images = [await part.read() for part in parts]
  elif kind.startswith('image/') or kind == 'application/octet-stream':
    images = [await request.body()]
  else:
    _fail(415, 'Send image/..., or several images as multipart/form-data.')
  if not images or not all(images):
    _fail(400, 'There is no image in the request.')
  return images


def _likeliest(row, names, top):
  return [
    {'name': names[index], 'probability': float(row[index])}
    for index in np.argsort(-row, kind='stable')[:top]
  ]


def _fail(status, text):
  raise exceptions.HTTPException(status, text)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('model')
  parser.add_argument('--host', default='127.0.0.1')
  parser.add_argument('--port', type=int, default=8000)
  args = parser.parse_args()
  uvicorn.run(
    application(Model(args.model)),
    host=args.host,
    port=args.port,
    log_level='warning',
    limit_concurrency=256,
  )


if __name__ == '__main__':
  main()
