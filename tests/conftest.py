"""What every test relies on."""

import signal

# In the background of a shell SIGINT is ignored, and whoever is started there inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
