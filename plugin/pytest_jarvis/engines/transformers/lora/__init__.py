"""Attach adapters to the base, and run each row of a batch as its arm."""
