"""Every French word that a reader of a run or a report sees.

formats              numbers, units, widths, French typography
labels               titles, heads and short labels
verdicts             verdicts, their reasons, thresholds
explanations         advice, cautions, contamination
metrics, routing     metrics in their units; the choice of the tool
notes                notes and failures, by code
saved_runs           replays, baselines, regressions, compared runs, the list of runs
adapters, store      adapters found in folders; the response store
session, page        the terminal; `report.html`, its script and the charts
"""
