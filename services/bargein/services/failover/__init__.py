"""`Failover`: a brain that moves a running call to another brain when one fails."""

from .failover import Failover, FailoverError, FailoverStatistics

__all__ = ["Failover", "FailoverError", "FailoverStatistics"]
