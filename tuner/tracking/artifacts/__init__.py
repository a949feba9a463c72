"""Files of a store: artifacts, checkpoints, their folders, and their deletion."""
