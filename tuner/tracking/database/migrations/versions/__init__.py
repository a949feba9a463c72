"""One module per migration, in the order of `tuner.tracking.schema.REVISIONS`."""
