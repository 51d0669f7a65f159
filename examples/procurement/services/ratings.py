"""What others say of vendors: another house than the vendors' directory. `GET /ratings?article=NAME`."""

from service import Asked, Ledger, Reply, serve

RATINGS = [
    {"vendor": "northwind", "on_time_percent": 97},
    {"vendor": "contoso", "on_time_percent": 71},
    {"vendor": "fabrikam", "on_time_percent": 93},
    {"vendor": "initech", "on_time_percent": 99},
]


def answer(asked: Asked, _: Ledger) -> Reply:
    """Every rating that there is."""
    match asked.method, asked.path:
        case "GET", ("ratings",):
            return 200, {"ratings": RATINGS}
    return 404, {"error": "no such path"}


if __name__ == "__main__":
    serve(answer)
