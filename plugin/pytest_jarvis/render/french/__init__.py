"""Every French word that a reader of a run or a report sees.

words, words.toml    the catalogue: words, and sentences with values, by code
formats              numbers, units, widths, French typography
labels               titles, heads, short labels, and the script of the page
verdicts             verdicts, their reasons, thresholds
explanations         advice, cautions, contamination, the choice of the tool
metrics              metrics in their units
notes                notes and failures, by code; adapters found in folders
saved_runs           replays, baselines, regressions, compared runs, the list of runs
session              the terminal, and the response store
"""
