"""The worker's side of a trial: run the objective, and restore the process afterwards."""
