"""Weights in 4 bits (NF4), experts of mixtures included."""
