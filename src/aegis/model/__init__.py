"""L0: the vocabulary. Every other room speaks in these words; none of them does anything to the world."""
