"""Numbers are pulled: metrics and status walk the tree and ask."""
