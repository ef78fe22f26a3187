"""`pytest-jarvis check`: whether everything is there that a run needs."""
