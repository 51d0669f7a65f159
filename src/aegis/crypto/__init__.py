"""L0: canonical form, digests, signatures and sealing. Values in, values out: no I/O, clock or randomness."""
