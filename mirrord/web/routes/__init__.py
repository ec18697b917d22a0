"""What each path does: decode, ask once, encode."""
