"""What the record is good for: comparing, running again, and telling where a model came from."""
