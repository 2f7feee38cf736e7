// Reads a delivery a line, says of each whether the snippet takes it.

import { readFileSync } from "node:fs";
import { verify } from "./verify.mjs";

for (const line of readFileSync(0, "utf8").trimEnd().split("\n")) {
  const [secret, id, timestamp, signature, body] = line.split("\t");
  const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
  try {
    console.log("good", verify(secret, headers, body).id);
  } catch (error) {
    console.log("refused", error.message);
  }
}
