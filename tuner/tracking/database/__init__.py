"""The database of a store: locate, create, open, migrate and maintain it, and queue its writers."""
