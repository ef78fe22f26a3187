"""4-bit weights (NF4), including the experts of mixtures."""
