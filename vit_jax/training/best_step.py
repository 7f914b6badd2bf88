"""The best step of a run, by its evaluations, and for how long it has been."""

import math


class BestStep:
  """Takes the score of each evaluation.

  Attributes:
    step: of the best one, None where there is none.
    score: a tuple, the larger, the better; see `metrics.score`.
    num_since: number of evaluations since then, none of them better.
  """

  def __init__(self):
    self.step = self.score = None
    self.num_since = 0

  def update(self, step, score):
    """Takes the next evaluation; returns whether it is the best so far."""
    is_number = not any(map(math.isnan, score))
    if not is_number or (self.score is not None and score <= self.score):
      self.num_since += 1
      return False
    self.step, self.score, self.num_since = step, score, 0
    return True

  def record(self):
    """Returns what a checkpoint stores, as JSON holds it."""
    return {
      'step': self.step,
      'score': self.score,
      'num_since': self.num_since,
    }

  def restore(self, record):
    """Continues from what `record` returned; None: from the beginning."""
    if record is not None:
      self.step = record['step']
      self.score = record['score'] and tuple(record['score'])
      self.num_since = record['num_since']
