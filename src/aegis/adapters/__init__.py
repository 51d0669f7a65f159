"""L2: one module or package for each thing outside: databases, key files, tools over HTTP."""
