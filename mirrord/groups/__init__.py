"""Reader groups: several readers who share the records of a topic, and a place that outlives them."""
