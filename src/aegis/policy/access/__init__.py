"""Who may do what: for each caller and each tool what a call can come to, proven or shown by a call that was decided so.

callers    what is known of those who call
proof      what no call of theirs can come to, taken through the analysis that finds rules that never fire
samples    arguments that fit a contract
inputs     calls worth trying
witness    calls that were decided, looked for among them
matrix     both put together: nothing is called impossible that was not proven, nothing possible that was not decided
check      whether roles keep to what the directory says they are for
"""

from aegis.policy.access.callers import Asker, Caller
from aegis.policy.access.matrix import Cell, Ground, Matrix, Row, matrix

__all__ = ["Asker", "Caller", "Cell", "Ground", "Matrix", "Row", "matrix"]
