"""How far two decoded results agree: matching, figures, findings; no I/O, no clock.

One accumulator a task, all of one shape (``Agreement``): images are given one by one, figures come at the end.
"""
