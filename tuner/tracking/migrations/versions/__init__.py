"""One module a step, in the order that `tuner.tracking.schema.REVISIONS` lists."""
