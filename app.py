"""The page, as ``python -m svd_ui serve`` starts it. Also the entry of a Hugging Face Space."""

import sys


def main() -> None:
    """Serve until interrupted."""
    from svd_ui.cli import main

    main(["serve", *sys.argv[1:]])


if __name__ == "__main__":  # workers import this module anew
    main()
