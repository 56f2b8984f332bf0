"""Status messages out: what `porch-server relay` runs."""
