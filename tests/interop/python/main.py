"""Reads a delivery a line, says of each whether the snippet takes it."""

import sys

from verify import verify

for line in sys.stdin:
    secret, identifier, timestamp, signature, body = line.rstrip("\n").split("\t")
    headers = {"webhook-id": identifier, "webhook-timestamp": timestamp, "webhook-signature": signature}
    try:
        print("good", verify(secret, headers, body.encode())["id"])
    except Exception as error:  # noqa: BLE001  (whatever a library raises)
        print("refused", error)
