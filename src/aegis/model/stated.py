"""Numbers that the issuer of a token may sign into it, for rules to read. Integers, with their unit in the name."""

NAMES: tuple[str, ...] = (
    "budget.left_calls",
    "budget.left_micros",
    "budget.left_tokens",
    "budget.spent_calls",
    "budget.spent_micros",
    "budget.spent_tokens",
    "confidence.percent",
    "risk.percent",
)
"""`micros` are millionths of the tenant's currency; `tokens` are a model's."""
