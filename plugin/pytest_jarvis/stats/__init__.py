"""What numbers prove. Pure functions of scores; numpy and scipy are imported when they are called.

contrasts         differences of two arms over prompts and replicates
estimates         a mean, a difference or a ratio with its interval
decision          `decide`: is the gain at least the one asked for?
sequential        looks: the level of each, and Holm over several adapters
ranking           which of several adapters is better, and the noise floor
regression        whether a run is worse than a saved one
thresholds        one figure against one bar
gate              all bars and failures together: the verdict
"""
