"""Schema migrations of a store; run by `tuner.tracking.database.migrate`."""
