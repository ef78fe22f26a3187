"""Metrics of responses.

registry          the built-in metrics: name, unit, how each is computed
relevance         keywords and JARVIS relevance of a text
similarity        cosine of two texts' embeddings
tool_choice       whether the right tool was called or named
understanding     whether a misheard command was understood
custom            metrics of users, and how a set of metrics is measured
"""
