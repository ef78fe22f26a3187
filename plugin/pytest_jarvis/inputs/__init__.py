"""What the user gives: configuration, options, prompts, training data, base model and adapters as files.

config            the sections of `benchmark_config.json`, validated
options           the command line, declared once for pytest and for `pytest-jarvis`
prompts           prompt files and the tools that JARVIS has
contamination     prompts found in training data
misheard          prompts as a speech recogniser would mishear them
base_model        where a base model's files are, and whether two are the same
adapters          adapters found in folders, and what their files say
safetensors_header  which weights a file holds, and whether it is whole
"""
