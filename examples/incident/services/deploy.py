"""What changes services: `POST /services/NAME/rollback`, `/restart`, and `POST /rollbacks/ID/undo`; each once for each key."""

from service import Asked, Ledger, Reply, serve

NEWEST = "v42"


def answer(asked: Asked, ledger: Ledger) -> Reply:
    """What was done."""
    match asked.method, asked.path:
        case "POST", ("services", name, "rollback"):
            return 200, {
                "rollback_id": ledger.once(asked.key, "rollback", "rbk", service=name, version=asked.body["version"])["id"]
            }
        case "POST", ("services", name, "restart"):
            return 200, {"restart_id": ledger.once(asked.key, "restart", "rst", service=name)["id"]}
        case "POST", ("rollbacks", rollback, "undo"):
            service = next((line["service"] for line in ledger.done if line["id"] == rollback), "")
            if not service:
                return 404, {"error": "no such rollback"}
            ledger.once(asked.key, "undo", "und", service=service, version=NEWEST)
            return 200, {"version": NEWEST}
    return 404, {"error": "no such path"}


if __name__ == "__main__":
    serve(answer)
