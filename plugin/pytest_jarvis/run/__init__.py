"""How a run goes, from settings to report. Knows no pytest.

settings          options over configuration file over defaults
benchmark         settings and prompts of a session
runner            draws looks of responses until the verdict is settled
generation        asks the cache, then the engine
store             responses kept on disk (SQLite)
rows              responses and their scores as rows of the report
replay            a saved report, scored again without a model
build_report      rows, decisions and provenance become a report
"""
