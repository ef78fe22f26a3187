"""How a report is shown: files, terminal, and the French words for all of them."""
