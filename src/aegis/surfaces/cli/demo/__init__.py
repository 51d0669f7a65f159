"""`aegis demo`: the main job, told as it happens, against real tool servers and real agent processes."""

from aegis.surfaces.cli.demo.command import demo

__all__ = ["demo"]
