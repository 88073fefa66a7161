"""The entry of a child process; see `faena.isolation.child`."""

import sys

from faena.isolation.child import main

sys.exit(main())
