"""A provider that imports a third-party package when it is imported itself."""

import packaging.version

from paysession_testing.gateway_provider import GatewayProvider


class SdkAtImport(GatewayProvider):
    """The careful provider, in a module that costs."""

    sdk = packaging.version
