"""Settings, logging, wiring, and the server's command line: the only place that reads the
environment."""
