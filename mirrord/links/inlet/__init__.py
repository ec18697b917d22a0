"""What a link's feed brings and says, on its way to the topics, the board, and gossip."""
