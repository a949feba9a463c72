"""Searches that stop or pause trials early, on recorded learning curves."""
