"""What can be measured of a trained model.

An evaluator gets functions, never a model: `predict`, from a batch to logits,
or `embed`, from a batch to features.
"""
