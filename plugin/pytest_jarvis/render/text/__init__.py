"""`report.txt`: the report as plain text."""
