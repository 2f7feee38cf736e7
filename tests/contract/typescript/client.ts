// What a user of the generated TypeScript types does: each call once, and every answer read by name.

import createClient from "openapi-fetch";
import type { components, paths } from "./openapi.js";

type Schemas = components["schemas"];

const [address, token, receiver] = [process.env.HOOKD!, process.env.TOKEN!, process.env.RECEIVER!];
const client = createClient<paths>({ baseUrl: address, headers: { Authorization: `Bearer ${token}` } });

function check(good: boolean, what: string, found: unknown = ""): asserts good {
  if (!good) throw new Error(`${what}: ${JSON.stringify(found)}`);
}

/** Returns what a call answered; throws what went wrong. */
async function read<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  check(data !== undefined, `${response.url} answered ${response.status}`, error);
  return data;
}

/** Returns the problem that a call must answer. */
async function refused(call: Promise<{ error?: Schemas["ProblemDocument"] }>): Promise<Schemas["ProblemDocument"]> {
  const { error } = await call;
  check(error !== undefined, "no problem");
  return error;
}

async function subscribe(): Promise<string> {
  const { events } = await read(client.GET("/webhooks/events"));
  check(events.includes("match.proposed"), "event types", events);
  const made = await read(client.POST("/webhooks/", { body: { url: receiver, events: ["match.proposed"] } }));
  check(made.secret !== undefined && made.is_active && made.failure_count === 0, "registered", made);
  check(!Number.isNaN(Date.parse(made.created_at)), "created_at", made);
  const page = await read(client.GET("/webhooks/", { params: { query: { limit: 20 } } }));
  check(page.data.length === 1 && page.data[0]!.id === made.id && page.next_cursor === null, "page", page);
  return made.id;
}

async function change(subscription_id: string): Promise<void> {
  const path = { subscription_id };
  const found = await client.GET("/webhooks/{subscription_id}", { params: { path } });
  const header = { "If-Match": found.response.headers.get("ETag")! };
  const changed = await read(
    client.PATCH("/webhooks/{subscription_id}", {
      params: { path, header },
      body: { description: "changed", events: ["match.*"] },
    }),
  );
  check(changed.description === "changed" && changed.events[0] === "match.*", "changed", changed);
  const stale = client.PATCH("/webhooks/{subscription_id}", { params: { path, header }, body: { is_active: false } });
  check((await refused(stale)).status === 412, "stale");
  const other = await read(
    client.POST("/webhooks/", {
      body: { url: receiver, events: ["match.*"], filter: { score: { $gt: 0.5 } }, metadata: { a: "b" } },
    }),
  );
  check(JSON.stringify(other.filter) === '{"score":{"$gt":0.5}}' && other.metadata?.a === "b", "filter", other);
  const gone = { path: { subscription_id: other.id } };
  const { response } = await client.DELETE("/webhooks/{subscription_id}", { params: gone });
  check(response.status === 204, "deleted");
  check((await refused(client.GET("/webhooks/{subscription_id}", { params: gone }))).status === 404, "missing");
}

async function publish(): Promise<void> {
  const body: Schemas["IncomingEvent"] = { type: "match.proposed", data: { candidate: 7 } };
  const params = { header: { "Idempotency-Key": crypto.randomUUID() } };
  const first = await read(client.POST("/events", { params, body }));
  const again = await read(client.POST("/events", { params, body }));
  check(first.id !== undefined && again.id === first.id, "published once", [first, again]);
  const both = [body, { ...body, data: null, key: crypto.randomUUID() }];
  const many = await read(client.POST("/events", { body: both }));
  check(many.ids?.length === 2, "published two", many);
}

async function watch(subscription_id: string): Promise<void> {
  const path = { subscription_id };
  const list = (status?: "pending") =>
    read(client.GET("/webhooks/{subscription_id}/deliveries", { params: { path, query: { status } } }));
  const end = Date.now() + 30_000;
  let attempts = (await list()).data;
  while (attempts.length < 3) {
    check(Date.now() < end, "attempts", attempts);
    await new Promise((resume) => setTimeout(resume, 100));
    attempts = (await list()).data;
  }
  const last = attempts[0]!;
  check(last.status === "succeeded", "an attempt", last);
  check(last.response_status === 204 && last.error === null, "an attempt", last);
  check((await list("pending")).data.length === 0, "pending");
  const which = { params: { path: { subscription_id, delivery_id: last.delivery_id } } };
  const delivery = await read(client.GET("/webhooks/{subscription_id}/deliveries/{delivery_id}", which));
  check(delivery.status === "succeeded" && delivery.waiting === null, "delivery", delivery);
  check(delivery.attempts[0]!.phases.first_byte_ms !== null, "phases", delivery);
  const again = await read(client.POST("/webhooks/{subscription_id}/deliveries/{delivery_id}/redeliver", which));
  check(again.delivery_id !== last.delivery_id, "redelivered", again);
}

async function tryOut(subscription_id: string): Promise<void> {
  const params = { path: { subscription_id } };
  const plain = await read(client.POST("/webhooks/{subscription_id}/test", { params }));
  check(plain.delivered && plain.response_status === 204, "test", plain);
  const body = { conformance: true };
  const whole = await read(client.POST("/webhooks/{subscription_id}/test", { params, body }));
  check(whole.conformance?.length === 4, "conformance", whole);
}

async function rotate(subscription_id: string): Promise<void> {
  const params = { path: { subscription_id } };
  const made = await read(client.POST("/webhooks/{subscription_id}/rotate-secret", { params }));
  check((made.secret ?? "").startsWith("whsec_") && Date.parse(made.previous_expires_at) > Date.now(), "rotated", made);
  const body = { secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" };
  const brought = await read(client.POST("/webhooks/{subscription_id}/rotate-secret", { params, body }));
  check(brought.secret === body.secret, "rotated", brought);
  const { response } = await client.DELETE("/webhooks/{subscription_id}/previous-secret", { params });
  check(response.status === 204, "ended");
}

async function replay(subscription_id: string): Promise<void> {
  const path = { subscription_id };
  const from = new Date(Date.now() - 3_600_000).toISOString();
  const start = (dry_run?: boolean) =>
    read(client.POST("/webhooks/{subscription_id}/replay", { params: { path }, body: { from, dry_run } }));
  const counted = await start(true);
  check(counted.dry_run && counted.count === 3, "dry run", counted);
  const ids: string[] = [];
  for (let round = 0; round < 2; round++) {
    const started = await start();
    check(!started.dry_run && started.total === started.count && started.id !== undefined, "replay", started);
    ids.push(started.id);
  }
  const page = await read(client.GET("/webhooks/{subscription_id}/replays", { params: { path } }));
  check(page.data.map((one) => one.id).reverse().join() === ids.join(), "replays", page);
  const params = { path: { ...path, replay_id: ids[0]! } };
  const found = await read(client.GET("/webhooks/{subscription_id}/replays/{replay_id}", { params }));
  check(found.total === 3, "replay", found);
  const ended = await read(client.POST("/webhooks/{subscription_id}/replays/{replay_id}/cancel", { params }));
  check(ended.ended_at !== null, "cancelled", ended);
}

async function look(): Promise<void> {
  check((await read(client.GET("/health/live"))).status === "ok", "alive");
  check((await read(client.GET("/health/ready"))).checks.length > 0, "ready");
  check((await read(client.GET("/metrics", { parseAs: "text" }))).includes("hookd_attempts_total"), "metrics");
  check((await read(client.GET("/openapi.json"))).openapi.startsWith("3.1"), "document");
  check((await read(client.GET("/docs", { parseAs: "text" }))).includes("<html"), "page");
}

const subscription = await subscribe();
await change(subscription);
await publish();
await watch(subscription);
await tryOut(subscription);
await rotate(subscription);
await replay(subscription);
await look();
