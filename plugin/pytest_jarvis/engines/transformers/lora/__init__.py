"""Adapters attached to the base, and the rows of a batch that belong to each."""
