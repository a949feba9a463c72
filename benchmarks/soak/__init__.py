"""Sweeps on a real Ray cluster of three nodes, of which a random part is killed every moment."""
