"""How a run goes, from settings to report. Knows no pytest.

settings          options over configuration file over defaults
benchmark         settings and prompts of a session
runner            takes looks of responses, from the store or the engine, until the verdict is settled
store             responses kept on disk (SQLite)
rows              samples and rows of the report, from responses and scores
replay            responses of a saved report, to score them again
build_report      report, verdict, exit status and provenance of a session
"""
