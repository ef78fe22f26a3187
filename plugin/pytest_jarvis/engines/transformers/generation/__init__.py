"""Responses drawn in batches: the same texts whatever the batch."""
