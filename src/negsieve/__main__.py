"""``python -m negsieve`` is the ``negsieve`` command."""

from __future__ import annotations

import sys

from negsieve.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
