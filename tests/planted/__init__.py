"""Broken models, one cause each, over different architectures, and their healthy twins; made in code from a seed."""
