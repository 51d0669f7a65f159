"""`aegis demo`: the main job, told as it happens, against real tool servers and real agent processes.

Nothing is imported here: agents and tools are processes that begin in this package, and need only their own module.
"""
