"""The Animate side of the page: the form on the left, the stage and the history on the right."""
