"""`python -m stembridge` is the command `stembridge`."""

import sys

from .cli import main

sys.exit(main())
