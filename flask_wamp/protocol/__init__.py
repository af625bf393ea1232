"""What WAMP says: messages, serializers, URIs, authentication, the session. No I/O, threads, or clock."""
