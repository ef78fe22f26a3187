"""What a run found: the report's schema, files and provenance, and what can be said of saved reports.

schema            the types of `report.json`
io                reading and writing it
flat              the flat keys of the file, made of figures by metric and read back
provenance        commit, machine and versions
saved_runs        the baseline and the newest comparable run
comparability     whether two runs may be compared
comparison        two runs, figure by figure
history           a figure over many runs
analysis/         what a reader is shown that is computed from a report alone
"""
