"""Hyperparameter tuning with tracking."""
