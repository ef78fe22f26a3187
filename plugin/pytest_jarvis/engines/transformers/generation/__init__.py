"""Batched generation whose texts do not depend on the batch."""
