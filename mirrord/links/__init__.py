"""Links pull what this node lacks from its peers; feeds serve what peers lack. One protocol: docs/FEED.md."""
