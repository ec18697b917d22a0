"""Reader groups from a user's side: records that stay one consumer's until they are committed."""
