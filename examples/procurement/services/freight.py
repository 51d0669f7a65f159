"""The carrier: room is reserved before we pay, the transport booked after. While the file `CLOSED` is there, it books nothing."""

import os
from pathlib import Path

from service import Asked, Ledger, Reply, serve


def answer(asked: Asked, ledger: Ledger) -> Reply:
    """Reserve, release, book, cancel; each once for each key."""
    match asked.method, asked.path:
        case "POST", ("reservations",):
            return 200, {"reservation_id": ledger.once(asked.key, "reserve", "res", **asked.body)["id"]}
        case "POST", ("reservations", reservation, "release"):
            ledger.once(asked.key, "release", "rel", reservation=reservation)
            return 200, {"released": reservation}
        case "POST", ("bookings",) if Path(os.environ["LEDGER"]).with_name("CLOSED").exists():
            return 422, {"error": "no truck goes there today"}
        case "POST", ("bookings",):
            return 200, {"booking_id": ledger.once(asked.key, "book", "bkg", **asked.body)["id"]}
        case "POST", ("bookings", booking, "cancel"):
            ledger.once(asked.key, "cancel", "can", booking=booking)
            return 200, {"cancelled": booking}
    return 404, {"error": "no such path"}


if __name__ == "__main__":
    serve(answer)
