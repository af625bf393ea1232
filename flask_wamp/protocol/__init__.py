"""What WAMP says: messages, serializers, payloads, URIs, authentication, the session. No I/O, no threads, no clock."""
