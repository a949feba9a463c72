"""Schema migrations of a store; run by `tuner.tracking.migrate`."""
