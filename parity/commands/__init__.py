"""The commands: each parses its own options, calls what is below and gives an exit code."""
