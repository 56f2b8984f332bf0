"""What porch tells a Prometheus: counted in process, or asked for when it is scraped."""
