"""The base model read from its files: tokenizer and template, weights, identity, errors of libraries."""
