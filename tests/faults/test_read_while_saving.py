"""A run that saves all the time makes no reader fail."""

import json
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from vit_jax.checkpoints import manager
from vit_jax.evaluation import records
from vit_jax.training.runtime import preemption

READS = 25  # By each command, at least.
READER = """
import json
import sys

from vit_jax.cli import main
from vit_jax.evaluation import records

workdir, image, reads = sys.argv[1:]
statuses, steps = [], []
while not any(statuses) and (len(steps) < int(reads) or len(set(steps)) < 3):
  for argv in (
    ['predict', f'--checkpoint={workdir}', f'--input={image}', '--top=1'],
    ['evaluate', f'--workdir={workdir}'],
  ):
    statuses.append(main.main(argv))
  steps = [line['step'] for line in records.read(f'{workdir}/{records.FILE}')]
print(json.dumps(statuses))
"""


@pytest.fixture
def saving(runs, tmp_path, wait_until):
  """The folder of a run that is at work and saves as often as it can."""
  workdir = tmp_path / 'run'
  run = runs.train(
    workdir,
    '--config.run.num_steps=1000000',
    '--config.run.checkpoints_to_keep=1',
    '--config.run.checkpoint_every=10',
    '--config.run.log_every=1000',
    '--config.run.eval_every=1000000',
  )
  saved = manager.CheckpointManager(workdir / 'checkpoints', 1, read_only=True)
  wait_until(lambda: saved.latest_step() is not None, 300)
  yield workdir
  run.signal(signal.SIGTERM)
  assert run.wait() == preemption.STATUS, str(run)


def test_every_read_beside_a_run_that_saves_succeeds(saving, tmp_path):
  image = tmp_path / 'image.png'
  cv2.imwrite(str(image), np.zeros((8, 8, 3), np.uint8))
  reader = subprocess.run(
    [sys.executable, '-c', READER, str(saving), str(image), str(READS)],
    env={
      **os.environ,
      'JAX_NUM_CPU_DEVICES': '1',
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    },
    capture_output=True,
    text=True,
    check=True,
  )
  statuses = json.loads(reader.stdout.splitlines()[-1])
  assert set(statuses) == {0}, reader.stderr
  assert 'is not used' not in reader.stderr
  steps = [line['step'] for line in records.read(saving / records.FILE)]
  assert len(steps) >= READS and steps == sorted(steps)
