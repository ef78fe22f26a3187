"""The door from pytest: hooks, options, fixtures, and what happens in which phase of a session.

hooks             the entry point: what pytest calls
hookspecs         the hooks that others may implement
options           the options as pytest declares them, and refusals before collection
fixtures          what tests ask for
collection        reads the input, hands out the cases
session           what fixtures give; records results and ends the session: report, exit status, files
workers           processes and devices of pytest-xdist
xdist             what its controller hands out and gathers
terminal          progress and summary
"""
