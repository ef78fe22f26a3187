"""Every French word that a reader of a run or a report sees.

words, words.toml    the catalogue: fixed words and sentences, by code
formats              numbers, units, widths, French typography
labels               titles, heads and short labels
verdicts             verdicts, their reasons, thresholds
explanations         advice, cautions, contamination, the choice of the tool
metrics              metrics in their units
notes                notes and failures, by code
saved_runs           replays, baselines, regressions, compared runs, the list of runs
adapters             adapters found in folders
session, page        the terminal; `report.html`, its script and the charts
"""
