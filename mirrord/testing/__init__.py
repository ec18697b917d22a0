"""Nodes in one process on virtual time, with every fault at will: for our own tests, and for those of users."""
