"""What services say: `GET /logs?service=NAME`."""

from service import Asked, Ledger, Reply, serve

LINES = {
    "search": ["allocation of 64 MiB failed", "worker 3 was ended by the kernel"],
    "checkout": ["v42: unknown column `basket_id`", "v42: 500 for POST /baskets"],
    "ledger": ["v42: 500 for POST /entries", "the disk of db-2 answers slowly"],
}


def answer(asked: Asked, _: Ledger) -> Reply:
    """The last lines of a service."""
    match asked.method, asked.path:
        case "GET", ("logs",):
            return 200, {"lines": LINES.get(asked.query.get("service", ""), [])}
    return 404, {"error": "no such path"}


if __name__ == "__main__":
    serve(answer)
