"""The intermediate form of a policy set: what every target (native evaluation, bundles, analysis) is made from.

Everything here is resolved and typed: a path names a place that exists in the input, an operator fits the type that stands
there, lists and references exist. Nothing holds source text that could be run.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Any

from msgspec import Struct

from aegis.model.decision import ApprovalTerms, Outcome, PolicyRef, Redaction, Stage
from aegis.model.history import Phase, ReadingKind, Test

ANY_TOOL = "*"
DEFAULT_DENY = "default-deny"
SHADOW_SET = "shadow-set"
SHADOW_REVISION = "shadow-revision"
CONTRACT = "#contract"

Scalar = str | int | float | bool


class Kind(StrEnum):
    """What stands at a path. The lower group are strings (or integers) that a stricter reader has looked at."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    ANY = "any"

    URL = "url"
    EMAIL = "email"
    HOST = "host"
    TIME = "time"
    WEEKDAY = "weekday"
    VERSION = "version"


class Op(StrEnum):
    """The closed set of operators."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    OUTSIDE = "outside"
    IN = "in"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    MATCHES = "matches"
    HOST_IN = "host_in"
    LONGER_THAN = "longer_than"
    SHORTER_THAN = "shorter_than"
    PRESENT = "present"
    VERSION = "version"


class Quantifier(StrEnum):
    """How many elements of an array must meet a condition."""

    ANY = "any"
    EVERY = "every"
    NONE = "none"


class Path(Struct, frozen=True):
    """A place in the input. `argument` is the optional argument that this path goes through, or empty.

    Inside a quantified condition `parts` start at the element, while `text` names the whole way for people.
    """

    text: str
    parts: tuple[str, ...]
    kind: Kind
    argument: str = ""


class Literal(Struct, frozen=True, tag="literal"):
    """A value written in the rule."""

    value: Scalar | tuple[Scalar, ...]


class ListRef(Struct, frozen=True, tag="list"):
    """A named list of the set."""

    name: str


class TenantRef(Struct, frozen=True, tag="ref"):
    """A place in the tenant's data; `parts` start below `tenant`."""

    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        """As it is written in the document."""
        return ".".join(("tenant", *self.parts))


Operand = Literal | ListRef | TenantRef


class Leaf(Struct, frozen=True, tag="leaf"):
    """One comparison. `operands` has one entry, two for `between` and `outside`."""

    path: Path
    op: Op
    operands: tuple[Operand, ...]


class Quantified(Struct, frozen=True, tag="quantified"):
    """A condition over the elements of an array of objects; its paths start at the element."""

    path: Path
    quantifier: Quantifier
    condition: "Condition"


class AllOf(Struct, frozen=True, tag="all"):
    """Kleene conjunction; never empty."""

    conditions: tuple["Condition", ...]


class AnyOf(Struct, frozen=True, tag="any"):
    """Kleene disjunction; never empty."""

    conditions: tuple["Condition", ...]


class Not(Struct, frozen=True, tag="not"):
    """Kleene negation: unknown stays unknown."""

    condition: "Condition"


Condition = Leaf | Quantified | AllOf | AnyOf | Not


class Argument(Struct, frozen=True):
    """What the contract line says of one argument."""

    kind: Kind
    optional: bool


class Comparator(Struct, frozen=True):
    """One bound of a version range: `sign` is one of `>= > <= < =`."""

    sign: str
    version: tuple[int, int, int]


class Labels(Struct, frozen=True, kw_only=True):
    """What a tool does with data: what its results carry, where its arguments go."""

    emits: tuple[str, ...] = ()
    sink: str = ""
    source: str = ""
    region: str = ""


class EventMatch(Struct, frozen=True, kw_only=True):
    """A kind of past call: of a tool, in one of these phases, whose remembered fields meet every test."""

    tool: str
    phases: tuple[Phase, ...]
    tests: tuple[Test, ...] = ()


class Term(Struct, frozen=True, kw_only=True):
    """One reading of history that the rules of a set need. `id` is the digest of its canonical form; `text` is for people.

    `same` are fields of the call that the past event must share: `agent.id`, `run.id`, `subject.id`, or remembered arguments.
    `other` cancels (`unless_since`, `until`). A condition compares the reading, which stands in the input at `history.<id>`.
    """

    id: str
    text: str
    kind: ReadingKind
    event: EventMatch
    within: timedelta
    of: str = ""
    same: tuple[str, ...] = ()
    other: EventMatch | None = None


class RegoModule(Struct, frozen=True, kw_only=True):
    """Hand-written Rego beside the rules: the file as it is named in the set, its text, and the tools that it decides about."""

    file: str
    text: str
    tools: tuple[str, ...]


class ToolLine(Struct, frozen=True, kw_only=True):
    """The shallow contract of one tool. An empty `version` accepts every version.

    Calls of a `remembered` tool stand in history with the fields that `history` lists by full path (`args.amount`).
    `contract_digest` names the contract that the line was drawn from, if it was.
    """

    name: str
    args: dict[str, Argument]
    version: tuple[Comparator, ...] = ()
    version_text: str = ""
    critical: bool = False
    labels: Labels = Labels()
    history: tuple[str, ...] = ()
    remembered: bool = False
    contract_digest: str = ""


class Rule(Struct, frozen=True, kw_only=True):
    """One rule. No condition means that it always fires. `place` is `file:line:column` of the rule."""

    id: str
    effect: Outcome
    tools: tuple[str, ...]
    when: Condition | None = None
    reason: str = ""
    shadow: bool = False
    stage: Stage = Stage.REQUEST
    redactions: tuple[Redaction, ...] = ()
    terms: ApprovalTerms | None = None
    place: str = ""

    def covers(self, tool: str) -> bool:
        """Whether the rule is about `tool`."""
        return tool in self.tools or ANY_TOOL in self.tools


class Expect(Struct, frozen=True, kw_only=True):
    """What a test of the set demands; what it leaves out may be anything."""

    outcome: Outcome | None = None
    would_be: Outcome | None = None
    rules: tuple[str, ...] = ()
    not_rules: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()


class Case(Struct, frozen=True, kw_only=True):
    """A test of the set. `given` maps input paths to values."""

    name: str
    given: dict[str, Any]
    expect: Expect
    place: str = ""


class Policy(Struct, frozen=True, kw_only=True):
    """A policy set that has passed every check. `tenant_shape` maps `a.b` to the type of that place in the tenant's data.

    `text` is the document that it was read from.
    """

    name: str
    tenant: str
    owner: str
    digest: str
    shadow: bool
    timezone: str
    lists: dict[str, tuple[Scalar, ...]]
    tenant_shape: dict[str, str]
    tools: dict[str, ToolLine]
    rules: tuple[Rule, ...]
    tests: tuple[Case, ...] = ()
    warnings: tuple[str, ...] = ()
    terms: dict[str, Term] = {}
    rego: tuple[RegoModule, ...] = ()
    text: str = ""

    @property
    def ref(self) -> PolicyRef:
        """How decisions name this set; the version is the start of the digest."""
        return PolicyRef(name=self.name, version=self.digest.removeprefix("sha256:")[:12], digest=self.digest)
