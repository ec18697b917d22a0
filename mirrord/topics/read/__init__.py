"""Reading a log: pages for people, digests for proofs."""
