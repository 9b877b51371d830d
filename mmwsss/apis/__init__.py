"""Entry points for tools and for use from Python."""
