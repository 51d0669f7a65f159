"""The commands of `aegis audit`, and `aegis fsck`."""
