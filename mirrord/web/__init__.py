"""The HTTP face of a node: the server, the table of errors, the routes."""
