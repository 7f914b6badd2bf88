"""TensorBoard event files, in the folder `tensorboard` of a run."""

import tensorboardX


class TensorBoard:
  """A writer (see `writers`) of scalars `train/loss`, `eval/accuracy`, ...

  After a resume, TensorBoard drops what earlier files have of later steps.
  """

  def __init__(self, run):
    self._folder = run.folder / 'tensorboard'
    self._board = None

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._board is not None:
      self._board.close()

  def start(self, step, records):
    del records  # They are in earlier files.
    self._board = tensorboardX.SummaryWriter(
      str(self._folder), purge_step=step + 1
    )

  def write(self, record):
    for name, value in record.items():
      if name not in ('step', 'split') and value is not None:
        self._board.add_scalar(
          f'{record["split"]}/{name}', value, record['step']
        )

  def timings(self, step, values):
    for name, value in values.items():
      self._board.add_scalar(f'train/{name}', value, step)
