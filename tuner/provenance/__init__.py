"""Comparison, replay and lineage of recorded runs and models."""
