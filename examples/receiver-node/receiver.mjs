// Takes Herald's webhooks: checks the Authorization header, answers at once,
// and handles each alert once.
import { createServer } from "node:http";
import { timingSafeEqual } from "node:crypto";

const want = Buffer.from(process.env.WEBHOOK_AUTHORIZATION ?? ""); // what alertAuthHeader is set to
if (want.length === 0) {
  console.error("WEBHOOK_AUTHORIZATION is empty: set it to your alertAuthHeader, or anybody can send you alerts");
  process.exit(1);
}
const maxBody = 2 << 20; // bytes
const seen = new Set(); // use your database: it must outlive a restart

// take returns the status of the answer. It throws when the request breaks off.
async function take(request) {
  if (request.method !== "POST" || request.url.split("?")[0] !== "/hook") return 404;
  const got = Buffer.from(request.headers.authorization ?? "");
  if (got.length !== want.length || !timingSafeEqual(got, want)) return 401; // final: no retry
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > maxBody) return 413; // final: no retry
    chunks.push(chunk);
  }
  let alert;
  try {
    alert = JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return 400; // final: no retry
  }
  if (typeof alert?.AlertId !== "string") return 400;
  if (!seen.has(alert.AlertId)) { // at least once: the same AlertId may come twice
    seen.add(alert.AlertId);
    console.log(`${alert.RuleType}: ${alert.Message}`);
  }
  return 204;
}

createServer((request, response) => {
  take(request).then(
    (status) => response.writeHead(status, { connection: status < 300 ? "keep-alive" : "close" }).end(),
    (error) => { // the request broke off, or your own work failed: 503 is retried
      console.error(error.message);
      response.writeHead(503).end();
    },
  );
}).listen(Number(process.env.PORT ?? 9000), "127.0.0.1");
