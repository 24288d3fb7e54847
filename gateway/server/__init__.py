"""The client's side of the wire: HTTP/1.1 under uvicorn's roof, with limits, and with what ASGI does not offer."""
