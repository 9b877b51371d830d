"""Pure tensor functions of both papers: torch only, no registry, no I/O."""
