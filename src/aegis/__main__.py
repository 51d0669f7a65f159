"""`python -m aegis` is `aegis`."""

from aegis.surfaces.cli.main import main

main()
