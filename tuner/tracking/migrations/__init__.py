"""How a store of one schema becomes one of the next; run by `tuner.tracking.migrate`."""
