"""How good optimizers are: regret on many problems, ours beside the peers; see `__main__`."""
