"""The HTTP door to a Coordinator: it parses, calls one verb, and replies."""
