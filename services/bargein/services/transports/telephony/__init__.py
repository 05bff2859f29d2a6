"""Telephone calls, as the media streams of Twilio, Telnyx and Plivo bring them::

serve_websocket(agent, paths={"/twilio": accept_twilio, "/telnyx": accept_telnyx, "/plivo": accept_plivo})
"""

from .accept import accept_plivo, accept_telnyx, accept_twilio

__all__ = ["accept_plivo", "accept_telnyx", "accept_twilio"]
