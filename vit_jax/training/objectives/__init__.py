"""What a model is trained for: init, loss and predictions, by name.

Parameters that an objective adds to the model's are under `objective`.
"""

from vit_jax import errors, plugins
from vit_jax.training.objectives import classification, losses, masked_patches

OBJECTIVES = plugins.Registry(
  'objective',
  {
    'classification': classification.build,
    'masked_patches': masked_patches.build,
  },
)
CHOICES = {'objective.name': OBJECTIVES, 'objective.loss': losses.LOSSES}


def build(objective, model, num_classes, family):
  """Returns the objective of a run.

  Args:
    objective: the part `objective` of the configuration.
    model: a Flax module that maps images [batch, rows, columns, 3] to an
      output whose `logits` are [batch, classes].
    num_classes: number of classes, the last dimension of the logits.
    family: the `models.Family` of the model.

  Raises:
    UserError: there is no such objective or loss, or the model does not fit.
  """
  choice = errors.choose('objective.name', objective.name, OBJECTIVES)
  return choice(objective, model, num_classes, family)
