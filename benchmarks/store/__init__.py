"""How fast and how small the record is: ours beside Optuna's and MLflow's; see `__main__`."""
