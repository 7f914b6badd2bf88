"""What can be measured of a trained model, by name.

An evaluator gets functions, never a model: `evaluate(predict, batches)`.
"""

from vit_jax.evaluators import classification

EVALUATORS = {'classification': classification.evaluate}
