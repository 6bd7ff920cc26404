"""From evidence to causes: one rule a file, ranked by certainty.

Certainties of all rules are on one scale (``certainty.py``): what was tried stands above what was seen, what was seen
above what only fits, and what only fits above what merely is there.
"""
