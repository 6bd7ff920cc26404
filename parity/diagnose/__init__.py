"""From evidence to causes: one rule a file, ranked by certainty."""
