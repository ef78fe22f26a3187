"""How the embedded pair of models is made: its corpus, its tokenizer, its training."""
