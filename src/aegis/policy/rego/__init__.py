"""The second target of a policy set: Rego v1 in a portable core, so that any OPA gives the answers that native evaluation gives.

    names        tenants and tools as Rego names     literals     values as Rego terms
    lib          shared functions and the fold       conditions   conditions of rules
    tools        one package for each tool           module       all modules of a set, and its data
    asked        the input document of one call      custom       hand-written modules beside the rules

Text of the policy's author enters a module only as a JSON literal, never as source. Every generated function is total: where OPA
would be undefined or raise, a comparison is *unknown*, and unknown does what the effect of the rule demands. Nothing depends on
whether builtin errors are strict.
"""
