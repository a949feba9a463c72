"""Compare speed and size of our store with Optuna's and MLflow's; see `__main__`."""
