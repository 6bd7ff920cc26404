"""Checks: one module for one kind of judgement on a variant."""
