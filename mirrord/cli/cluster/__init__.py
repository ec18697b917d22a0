"""All nodes of a cluster at once: their processes, one look at them, what is shown of it."""
