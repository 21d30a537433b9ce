"""What both tests of deliberate deviations share: how one is put in place.

The conftest loads it as ``paysession_sandbox_deviations``, and adds its own ``beside``.
"""


def value(place, name, found):
    """Put another value in the place of one."""
    return lambda patch: patch.setattr(place, name, found)


def around(place, name, change):
    """Replace a function by one that is given the function itself first."""
    original = getattr(place, name)
    return lambda patch: patch.setattr(place, name, lambda *args, **more: change(original, *args, **more))
