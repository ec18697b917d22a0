"""The library that speaks to a node over HTTP: for the command line, for links, for users."""
