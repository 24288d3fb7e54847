"""What all tests share."""

from hypothesis import settings

# How long one example takes is a matter of the machine, and of who else uses it.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
