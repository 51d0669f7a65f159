"""Drawings of a workflow, with or without how a run of it stands: text for a terminal, SVG for a page.

edges      what is drawn: layers, edges, and the words on them
arrange    boxes in layers and columns
layout     the picture on a grid of characters
terminal   the picture as text, or an ordered list where it is too wide
svg        the picture as a page
"""

from aegis.workflow.drawing.layout import layout
from aegis.workflow.drawing.svg import svg
from aegis.workflow.drawing.terminal import text

__all__ = ["layout", "svg", "text"]
