"""The bank. `POST /accounts/ID/transfers` moves money, `POST /payments/ID/refund` moves it back; each once for each key."""

from service import Asked, Ledger, Reply, serve


def answer(asked: Asked, ledger: Ledger) -> Reply:
    """What was booked."""
    match asked.method, asked.path:
        case "POST", ("accounts", account, "transfers"):
            done = ledger.once(asked.key, "transfer", "pay", account=account, **asked.body)
            return 200, {"payment_id": done["id"]}
        case "POST", ("payments", payment, "refund"):
            done = ledger.once(asked.key, "refund", "ref", payment=payment)
            return 200, {"refund_id": done["id"]}
    return 404, {"error": "no such path"}


if __name__ == "__main__":
    serve(answer)
