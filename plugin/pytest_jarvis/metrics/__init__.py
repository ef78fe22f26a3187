"""Metrics of responses.

registry          the built-in metrics: name, unit, how each is computed
deeds/            what a response did: the judge
relevance         keywords and JARVIS relevance of a text, its words in any form
similarity        cosine of two texts' embeddings
tool_choice       whether the right tool was called, or its deed done
custom            metrics of users, and how a set of metrics is measured
"""
