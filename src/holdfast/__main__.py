"""``python -m holdfast``: the program ``holdfast``."""

from holdfast.cli.main import run

if __name__ == "__main__":
    run()
