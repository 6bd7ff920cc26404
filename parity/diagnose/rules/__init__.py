"""The rules, one cause a file; each has ``find(evidence)``."""
