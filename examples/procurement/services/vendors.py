"""Who sells an article, at which price: the vendors' directory. `GET /offers?article=NAME`."""

from service import Asked, Ledger, Reply, serve

OFFERS = {
    "bolts": [
        {"vendor": "northwind", "account_id": "acct_00000021", "price_minor": 120_000, "days": 6},
        {"vendor": "contoso", "account_id": "acct_00000022", "price_minor": 98_000, "days": 9},
        {"vendor": "fabrikam", "account_id": "acct_00000023", "price_minor": 101_000, "days": 3},
        {"vendor": "tailspin", "account_id": "acct_00000024", "price_minor": 149_000, "days": 2},
    ],
    "uranium": [{"vendor": "initech", "account_id": "acct_00000066", "price_minor": 50_000, "days": 1}],
}


def answer(asked: Asked, _: Ledger) -> Reply:
    """The offers for an article; none for one that nobody sells."""
    match asked.method, asked.path:
        case "GET", ("offers",):
            return 200, {"offers": OFFERS.get(asked.query.get("article", ""), [])}
    return 404, {"error": "no such path"}


if __name__ == "__main__":
    serve(answer)
