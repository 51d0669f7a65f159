"""Gates: reviewers of a whole plan, before anything of it is done.

document    how a tenant weighs plans
report      facts in, findings and factors out
known       what can be told of a plan before it runs
authority, data, safety, cost, risk      one gate each
judge       all of them combined
outlook     what a plan will do, for people

A gate never allows a call: every step is decided again when it is taken. It says which plans need not be tried.
"""

from aegis.workflow.gates.document import Gates, gates
from aegis.workflow.gates.judge import GATES, judge
from aegis.workflow.gates.report import Factor, Finding, GateReport, Scene

__all__ = ["judge", "gates", "Gates", "GateReport", "Scene", "Finding", "Factor", "GATES"]
