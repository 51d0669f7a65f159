"""With whom we may not trade. `GET /checks/VENDOR`."""

from service import Asked, Ledger, Reply, serve

LISTED = {"initech": "sanctions list of 2026-10-01"}


def answer(asked: Asked, _: Ledger) -> Reply:
    """Whether a vendor is on a list, and on which."""
    match asked.method, asked.path:
        case "GET", ("checks", vendor):
            return 200, {"listed": vendor in LISTED, "why": LISTED.get(vendor, "")}
    return 404, {"error": "no such path"}


if __name__ == "__main__":
    serve(answer)
