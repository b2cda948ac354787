"""HTTP: the REST API."""
