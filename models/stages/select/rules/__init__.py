"""The rules of selection, one file each."""
