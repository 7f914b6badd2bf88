"""What a model is trained for: init, loss and predictions, by name."""

from vit_jax import errors
from vit_jax.training.objectives import classification, losses, masked_patches

OBJECTIVES = {
  'classification': classification.build,
  'masked_patches': masked_patches.build,
}
CHOICES = {'objective.name': OBJECTIVES, 'objective.loss': losses.LOSSES}
# Patterns of the parameters that an objective adds to the model.
OWN = {'classification': (), 'masked_patches': masked_patches.OWN}


def build(objective, model, num_classes):
  """Returns the objective of a run.

  Args:
    objective: the part `objective` of the configuration.
    model: a Flax module that maps images [batch, rows, columns, 3] to an
      output whose `logits` are [batch, classes].
    num_classes: number of classes, the last dimension of the logits.

  Raises:
    UserError: there is no such objective or loss.
  """
  choice = errors.choose('objective.name', objective.name, OBJECTIVES)
  return choice(objective, model, num_classes)
