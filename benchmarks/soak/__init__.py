"""Sweeps on a real Ray cluster of three nodes, with random faults."""
