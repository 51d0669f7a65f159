"""Check a plan against a set before anything is done: which steps could never be allowed, whatever is still unknown.

document   read a plan
known      what a step says of the places that rules read
check      what may become of each step
"""

from aegis.policy.plan.check import StepVerdict, check
from aegis.policy.plan.document import Plan, Step, read

__all__ = ["Plan", "Step", "StepVerdict", "check", "read"]
