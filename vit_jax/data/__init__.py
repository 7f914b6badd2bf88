"""From a data set on disk to batches of bytes: read, decode, crop, batch."""
