"""Reports: schema and files, and comparisons of saved runs.

schema            the types of `report.json`
io                reading and writing it
flat              the flat keys of the file, from and to figures by metric
saved_runs        the baseline and the newest comparable run
comparability     whether two runs may be compared
comparison        two runs, figure by figure
history           gains over many runs
analysis/         findings computed from a report alone
"""
