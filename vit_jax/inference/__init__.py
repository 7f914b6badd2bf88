"""Images in; classes, logits or features out."""
