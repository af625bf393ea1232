"""What WAMP says: messages, serializers, payloads, URIs, authentication, the session. No I/O, threads, or clock."""
