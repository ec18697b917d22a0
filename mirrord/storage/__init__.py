"""What is kept: the store's promise, its two stores, and the journal that alone writes to them."""
