"""The gateway as an importable application, for ASGI servers that bring their own command.

AEGIS_DIR=my-aegis granian --interface asgi --http 1 aegis.surfaces.gateway.served:app
"""

import os
from pathlib import Path

from aegis.app import App, open_app
from aegis.settings import load
from aegis.surfaces.gateway.asgi import Gateway
from aegis.surfaces.gateway.logs import configure


async def _opened() -> App:
    settings = load(Path(os.environ.get("AEGIS_DIR", ".")))
    configure(settings.log)
    return await open_app(settings)


app = Gateway(_opened)
