"""The second generation of the HTTP API, under ``/api/v2/``: every verb, in porch's own words."""
