"""Capture of a run's code, environment and data; comparison and replay of recorded runs."""
