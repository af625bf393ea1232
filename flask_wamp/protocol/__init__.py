"""The WAMP protocol: messages, serializers, URIs, authentication, the session. No I/O, threads or clock."""
