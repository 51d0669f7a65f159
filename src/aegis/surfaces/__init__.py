"""L3: the doors. Each turns its own protocol into a proposal and an answer back into its protocol."""
