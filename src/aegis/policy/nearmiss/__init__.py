"""Calls that make a rule fire, and calls that just do not: found by solving its condition, then checked by evaluating it.

texts      texts that a pattern matches
values     values on both sides of the edge of one comparison
solve      values for all the places of a condition at once
calls      from values at places to the input of a test
probes     hits and near misses of a rule
"""

from aegis.policy.nearmiss.calls import whole_call
from aegis.policy.nearmiss.probes import Probe, Probes, as_case, few, probe, probes

__all__ = ["Probe", "Probes", "as_case", "few", "probe", "probes", "whole_call"]
