"""Puts this folder on the path, for the builders that the tests share."""
