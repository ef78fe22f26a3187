"""Reports: schema and files, and comparisons of saved runs.

schema            the types of `report.json`
io                reading and writing it, with its flat keys
saved_runs        the baseline and the newest comparable run
comparison        whether two runs may be compared, and what differs
history           gains over many runs
analysis/         findings computed from a report alone
"""
