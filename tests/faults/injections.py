"""What can be put into a run to make it go wrong, by name; see zygote.py.

Each function changes the process that it's called in, which then runs.
"""

import errno
import hashlib
import inspect
import json
import os
import shutil
import signal
import time

import jax.numpy as jnp
import numpy as np

MARK = 1_000_000  # The label of an example whose batch is to go wrong.


def _wrap(owner, name, before=None, after=None):
  """Calls before(count, *args) and after(count, *args) around owner.name."""
  original, count = getattr(owner, name), 0

  def wrapped(*args, **kwargs):
    nonlocal count
    count += 1
    if before:
      before(count, *args)
    result = original(*args, **kwargs)
    if after:
      after(count, *args)
    return result

  async def wrapped_write(*args, **kwargs):  # In a thread of orbax.
    return await wrapped(*args, **kwargs)

  is_async = inspect.iscoroutinefunction(original)
  setattr(owner, name, wrapped_write if is_async else wrapped)


def _points():
  """Returns {name: (owner, function)}: where a run can be stopped or killed."""
  import orbax.checkpoint as ocp
  from orbax.checkpoint._src.handlers import json_checkpoint_handler

  from vit_jax.checkpoints import digests, manager, manifest
  from vit_jax.data import prefetch
  from vit_jax.training import session, train, validation

  return {
    'start': (session.Session, 'restore_or_init'),
    'compile': (train, '_compile'),
    'wait': (prefetch.Prefetch, '__next__'),
    'step': (session.Session, 'log_step'),
    'evaluation': (validation, 'report'),
    'digest': (digests, 'of'),
    'copy': (ocp.AsyncCheckpointer, 'save'),
    'write': (json_checkpoint_handler.JsonCheckpointHandler, '_save_fn'),
    'commit': (manifest, 'commit'),
    'prune': (manager.CheckpointManager, '_prune'),
    'mark': (manager.CheckpointManager, 'mark_best'),
    'remove': (shutil, 'rmtree'),
  }


def kill(point, count, late=False):
  """Kills the process at the count-th call of a point, or right after it."""

  def die(number, *_):
    if number == count:
      os.kill(os.getpid(), signal.SIGKILL)

  _wrap(*_points()[point], **{'after' if late else 'before': die})


def half_removed():
  """Kills the process in the middle of the first removal of a step."""

  def die(number, path, *_):
    for folder, _, names in os.walk(path):
      for name in names[: len(names) // 2 + 1]:
        os.unlink(os.path.join(folder, name))
      os.kill(os.getpid(), signal.SIGKILL)

  from vit_jax.checkpoints import manager

  original = shutil.rmtree

  class Shutil:
    disk_usage = staticmethod(shutil.disk_usage)

    @staticmethod
    def rmtree(path, ignore_errors=False):
      if os.path.exists(path):
        die(1, path)
      original(path, ignore_errors=ignore_errors)

  manager.shutil = Shutil


def tell(point, count=1, then=None):
  """Prints a line at the count-th call of a point.

  Args:
    then: 'wait' stays there until a signal has come, and been handled;
      'compute' for ever, in what no handler of a signal interrupts.
  """

  def say(number, *_):
    if number == count:
      come = _note_signals() if then == 'wait' else []
      print(f'AT {point}', flush=True)
      while then == 'wait' and not come:
        time.sleep(0.01)
      if then == 'compute':  # For an hour, if nothing ends the process.
        hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)

  _wrap(*_points()[point], before=say)


def _note_signals():
  """Returns a list to which signals are added once they are handled."""
  come = []
  for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
    handle = signal.getsignal(number)

    def note(*arguments, handle=handle):
      come.append(arguments)
      handle(*arguments)

    signal.signal(number, note)
  return come


def fail_writing(first, times, error='EIO'):
  """Lets `times` writes fail, from the first-th one on, in the background."""

  def fail(number, *_):
    if first <= number < first + times:
      raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)))

  _wrap(*_points()['write'], before=fail)


def slow_writing(seconds, first=1):
  _wrap(
    *_points()['write'],
    before=lambda number, *_: time.sleep(seconds if number >= first else 0),
  )


def fail_at_step(step):
  def fail(_, self, number, *__):
    if number == step:
      raise RuntimeError(f'injected at step {step}')

  _wrap(*_points()['step'], before=fail)


def fail_evaluation(count):
  """Makes the count-th evaluation fail, as a broken image does."""
  from vit_jax import errors

  def fail(number, *_):
    if number == count:
      raise errors.UserError('injected: an image is broken')

  _wrap(*_points()['evaluation'], before=fail)


def record_indices(path):
  """Appends a line per step: its number and the examples it has here."""
  from vit_jax.training import session

  restore_or_init = session.Session.restore_or_init
  iterate = session.Session.iterate
  start = 0

  def recording_restore(self):
    nonlocal start
    state = restore_or_init(self)
    start = int(state.step)
    return state

  def recording_iterate(self, batches):
    for step, batch in enumerate(iterate(self, batches), start + 1):
      shards = batch['index'].addressable_shards
      index = np.concatenate([shard.data for shard in shards]).tolist()
      with open(path, 'a') as lines:
        lines.write(json.dumps([step, index]) + '\n')
      yield batch

  session.Session.restore_or_init = recording_restore
  session.Session.iterate = recording_iterate


def stall(batch, seconds):
  """Lets batch number `batch` come late, the first being 1."""
  _each_batch(lambda number, _: time.sleep(seconds if number == batch else 0))


def stall_evaluation(batch, seconds):
  """Lets batch number `batch` of the first evaluation come late."""
  from vit_jax.data import pipeline

  original, count = pipeline.eval_batches, 0

  def eval_batches(*args, **kwargs):
    nonlocal count
    for drawn in original(*args, **kwargs):
      count += 1
      if count == batch:
        print('AT the last batch', flush=True)
        time.sleep(seconds)
      yield drawn

  pipeline.eval_batches = eval_batches


def crash_loading(batch):
  def crash(number, _):
    if number == batch:
      raise OSError(errno.EIO, 'injected: the disk is gone')

  _each_batch(crash)


def spoil(batches, how):
  """Spoils the loss of some batches, the first being 1.

  Args:
    how: 'nan' makes the loss NaN; 'inf_gradient' leaves it finite; 'spike'
      makes it 100 times as large.
  """
  from vit_jax.training.objectives import classification

  def mark(number, batch):
    if number in batches:
      batch['label'][0] = MARK

  _each_batch(mark)
  original = classification.Classification.loss

  def loss(self, params, batch, rng):
    marked = jnp.any(batch['label'] == MARK)
    label = jnp.where(batch['label'] == MARK, 0, batch['label'])
    value, reported = original(self, params, {**batch, 'label': label}, rng)
    if how == 'inf_gradient':
      above_zero = 1 + jnp.sum(params['head']['bias'] ** 2)
      root = jnp.sqrt(jnp.where(marked, 0.0, 1.0) * above_zero)
      return value + 0 * root, reported
    factor = {'nan': jnp.nan, 'spike': 100.0}[how]
    return value * jnp.where(marked, factor, 1.0), reported

  classification.Classification.loss = loss


def _each_batch(act):
  """Calls act(number, batch) before a batch of the training is used."""
  from vit_jax.data import pipeline

  original = pipeline.train_batches

  def train_batches(*args, start=0, **kwargs):
    batches = original(*args, start=start, **kwargs)
    for number, batch in enumerate(batches, start + 1):
      act(number, batch)
      yield batch

  pipeline.train_batches = train_batches


def other_code():
  """Makes this process believe that it runs other code."""
  from vit_jax.evaluation import records

  records.code_version = lambda: 'other'


def heartbeat(seconds):
  """Sets after which time JAX misses a process."""
  from vit_jax.training.runtime import distributed

  distributed.HEARTBEAT_SECONDS = seconds


def join_seconds(seconds):
  """Sets how long a process waits for the others at the start."""
  from vit_jax.training.runtime import distributed

  distributed.JOIN_SECONDS = seconds


def interleave():
  """Puts devices into the mesh that processes take turns in."""
  from vit_jax.sharding import mesh

  original = mesh.arrange

  def arrange(shape, devices):
    half = len(devices) // 2
    turns = [device for pair in zip(devices, devices[half:]) for device in pair]
    return np.array(turns).reshape(original(shape, devices).shape)

  mesh.arrange = arrange


def record_compilations(path):
  """Appends a line per program that is compiled or read from the cache."""
  import jax

  def note(what):
    with open(path, 'a') as lines:
      lines.write(f'{what}\n')

  def note_program(event, _, fun_name=None, **__):
    if event == '/jax/core/compile/backend_compile_duration':
      note(f'program {fun_name}')

  def note_event(event, **_):
    if event.startswith('/jax/compilation_cache/'):
      note(event.rpartition('/')[2])

  jax.monitoring.register_event_duration_secs_listener(note_program)
  jax.monitoring.register_event_listener(note_event)


def late_start(seconds):
  time.sleep(seconds)


def flip_replica(step):
  """Flips a bit of one device's copy of a parameter after a step."""
  from vit_jax.training import session

  original = session.Session.save

  def save(self, number, state):
    if number == step:
      bias = state.params['head']['bias']
      copies = [np.array(shard.data) for shard in bias.addressable_shards]
      copies[-1].view(np.uint32)[0] ^= 1 << 20
      import jax

      flipped = jax.make_array_from_single_device_arrays(
        bias.shape,
        bias.sharding,
        [
          jax.device_put(copy, shard.device)
          for copy, shard in zip(copies, bias.addressable_shards)
        ],
      )
      head = {**state.params['head'], 'bias': flipped}
      state = state.replace(params={**state.params, 'head': head})
    return original(self, number, state)

  session.Session.save = save


def resize_data(num_examples):
  """Gives the data another length than the configuration tells."""
  from vit_jax.data.sources import synthetic

  synthetic.SyntheticSource.__len__ = lambda self: num_examples


def elsewhere():
  """Moves the process to another time zone, locale and umask."""
  os.umask(0o077)
  os.environ.update({'TZ': 'Pacific/Chatham', 'LC_ALL': 'tr_TR.UTF-8'})
  time.tzset()
