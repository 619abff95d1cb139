"""Copying tables from one database into another, on the same engine or another one."""
