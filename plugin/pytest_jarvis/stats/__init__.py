"""Statistics: pure functions of scores that import numpy and scipy when called.

contrasts         differences of two arms over prompts and replicates, with standard errors
estimates         a mean, a difference or a ratio with its interval
decision          `decide`: is the gain at least `min_gain`?
sequential        Pocock's level for each look, Holm's procedure over adapters
ranking           ranking of arms, noise floor, prompts that got worse
regression        tests of a run against its baseline
thresholds        a figure against a threshold
gate              the verdict, from all thresholds and failures
"""
