"""L1: the decision point. Language, intermediate form, native evaluation, guards, redaction. Pure."""
