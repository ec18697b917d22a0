"""Routers: what is appended to one topic is copied into another of the same node, each record once."""
