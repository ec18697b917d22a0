"""What this node serves to links."""
