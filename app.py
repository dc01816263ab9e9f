"""Compose and serve: settings -> jobs -> page. Also the entry of a Hugging Face Space."""

from svd_ui.settings import Settings
from svd_ui.web import launch


def main() -> None:
    """Serve until interrupted."""
    launch(Settings())


if __name__ == "__main__":  # workers import this module anew
    main()
