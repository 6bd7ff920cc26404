"""Tests on a real TensorRT and a GPU; skipped, with the reason, where one of them is missing."""
