"""Which plugins this core carries, by the ``API_VERSION`` that they state."""

from __future__ import annotations

import warnings

from paysession.errors import ProviderLoadError
from paysession.hooks import API_VERSION, OLDEST_API_VERSION

__all__ = ["check_version"]


def check_version(plugin: object, label: str) -> None:
    """Refuse a plugin that was written for a version which is not carried; warn one whose time runs out.

    Args:
        plugin: One that states no ``API_VERSION`` is taken to be written for this core.
        label: What to call it, with its distribution.

    Raises:
        ProviderLoadError: It was written for a newer version, or for one that is carried no more.
    """
    version = getattr(plugin, "API_VERSION", API_VERSION)
    if not isinstance(version, int) or isinstance(version, bool):
        raise ProviderLoadError(f"{label} states API_VERSION {version!r:.80}; it is an integer")
    if version > API_VERSION:
        raise ProviderLoadError(
            f"{label} is written for API_VERSION {version}, and this paysession has {API_VERSION}: install a "
            "newer paysession, or an older version of the plugin"
        )
    if version < OLDEST_API_VERSION:
        raise ProviderLoadError(
            f"{label} is written for API_VERSION {version}, and this paysession carries {OLDEST_API_VERSION} "
            "at least: install a newer version of the plugin, or an older paysession"
        )
    if version < API_VERSION:
        warnings.warn(
            f"{label} is written for API_VERSION {version}, which a later paysession will not carry; this "
            f"one has {API_VERSION}: install a newer version of the plugin",
            DeprecationWarning,
            stacklevel=2,
        )
