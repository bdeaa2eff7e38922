// Takes Herald's webhooks: checks the Authorization header, answers at once,
// and handles each alert once.
import { createServer } from "node:http";
import { timingSafeEqual } from "node:crypto";

const want = Buffer.from(process.env.WEBHOOK_AUTHORIZATION ?? ""); // what alertAuthHeader is set to
const seen = new Set(); // use your database: it must outlive a restart

createServer(async (request, response) => {
  const got = Buffer.from(request.headers.authorization ?? "");
  if (got.length !== want.length || !timingSafeEqual(got, want)) {
    return response.writeHead(401).end("not from Herald"); // final: no retry
  }
  let body = "";
  for await (const chunk of request) body += chunk;
  const alert = JSON.parse(body);
  if (!seen.has(alert.AlertId)) { // at least once: the same AlertId may come twice
    seen.add(alert.AlertId);
    console.log(`${alert.RuleType}: ${alert.Message}`);
  }
  response.writeHead(204).end();
}).listen(9000, "127.0.0.1");
