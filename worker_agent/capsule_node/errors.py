"""Why a node does not do what somebody asks it to."""

from piecework.worker_agent.errors import AgentError


class UnknownFunctionError(AgentError):
    """There is no such function on this node."""


class UnknownRevisionError(AgentError):
    """There is no such revision on this node."""


class OtherCodeError(AgentError):
    """The revision is there with other code: a revision never changes."""


class NoRoomError(AgentError):
    """This node runs as many replicas as it may."""


class NotStartedError(AgentError):
    """The function does not get ready to answer."""
