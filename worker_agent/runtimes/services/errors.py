"""What can go wrong when a guest wants something from outside. The guest is told, and goes on."""


class ServiceError(Exception):
    """The service could not do what the guest asked for; the message is for the guest."""


class DeniedError(ServiceError):
    """The guest may not do that; the message says who would have to allow it."""
