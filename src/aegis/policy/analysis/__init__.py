"""What is certain about the rules of a set without asking any call: rules that can never fire, rules that another one covers.

Only what holds for every call inside the contract is said. Whatever the analysis cannot decide counts as possible.

    truth       what one comparison says of one value
    normal      a demand on a condition as alternatives of demands on single comparisons
    domains     values that stand for all values of a place
    certain     dead rules, implication
"""

from aegis.policy.analysis.certain import always_fires, covered_by, dead_rules

__all__ = ["always_fires", "covered_by", "dead_rules"]
