"""Evaluation of trained models.

An evaluator receives functions, never a model: `predict`, from a batch to
logits, or `embed`, from a batch to features.
"""
