"""`python -m pytest_jarvis.cli`, where the console script is not on the path."""

from __future__ import annotations

import sys

from pytest_jarvis.cli import main

sys.exit(main())
