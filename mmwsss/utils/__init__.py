"""Small helpers without a place in the method code."""
