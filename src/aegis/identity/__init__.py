"""L1: who asks, and on whose authority. Pure: keys, clocks and journal rows arrive as values."""
