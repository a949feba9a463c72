"""Bayesian optimization: a Gaussian process, and acquisition functions over it."""
