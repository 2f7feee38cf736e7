"""Real payloads, as GitHub sent them, for traffic that is like the world's."""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "bench" / "payloads" / "github.ndjson"
PAYLOADS: list[Any] = [json.loads(line)["data"] for line in FILE.read_text().splitlines()]
