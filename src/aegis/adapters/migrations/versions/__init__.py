"""The revisions, oldest first by name. A released revision is never edited: add the next one."""
