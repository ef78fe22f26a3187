"""`python -m pytest_jarvis.cli`, where the console script is not on the path."""

import sys

from pytest_jarvis.cli import main

sys.exit(main())
