"""How a run goes, from settings to report. Knows no pytest.

settings          options over configuration file over defaults
benchmark         settings and prompts of a session
runner            generates looks of responses until the verdict is settled
generation        takes responses from the store, else from the engine
store             responses kept on disk (SQLite)
rows              samples and rows of the report, from responses and scores
replay            responses of a saved report, to score them again
build_report      report, verdict, exit status and provenance of a session
"""
