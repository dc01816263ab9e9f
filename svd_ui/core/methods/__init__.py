"""Control methods, one module per kind, each with ``sample(context) -> Iterator[Step]``."""
