"""Run trials on Ray: a pool of reused workers, and the cluster that they run on."""
