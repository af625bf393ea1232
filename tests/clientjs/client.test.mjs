/** The cases in Node. */
import { getEventListeners } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import * as assert from "./assert.mjs";
import { cases } from "./cases.mjs";

const client = await import(process.env.CLIENT);
cases({ client, url: process.env.WAMP_URL, test });

/** Run a function with the URL of a server, and one that connects and returns why it was refused. */
async function serve(answers, f) {
  const server = createServer(answers);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const app = `http://127.0.0.1:${server.address().port}`;
  const refusal = (where) =>
    client.connect(`${app}${where}`, { signal: AbortSignal.timeout(2e4) }).then(assert.ok, (error) => {
      assert.ok(error instanceof client.ApplicationError, `${error}`);
      assert.equal(error.uri, "wamp.error.not_authorized");
      return error.message;
    });
  try {
    await f(refusal, app);
  } finally {
    server.close();
    server.closeAllConnections?.();
  }
}

test("what an app answers to a wrong path is no matter of rights", async () => {
  const posts = [];
  const answers = ({ method, url }, answer) => {
    posts.push(`${method} ${url}`);
    answer.writeHead(Number(url.match(/\d+/)[0])).end();
  };
  await serve(answers, async (refusal) => {
    const hint = "is /w404 the app's WAMP_ENDPOINT?";
    assert.equal(await refusal("/w404"), `POST /w404/session answered 404: ${hint}`);
    assert.equal(await refusal("/w404/?key=secret"), `POST /w404/session answered 404: ${hint}`);
    assert.equal(await refusal("//w405"), "POST //w405/session answered 405: is //w405 the app's WAMP_ENDPOINT?");
    assert.equal(await refusal("/w403"), "POST /w403/session answered 403");
    assert.deepEqual(posts, [
      "POST /w404/session",
      "POST /w404/session?key=secret",
      "POST //w405/session",
      "POST /w403/session",
    ]);
  });
});

test("an answer that is a redirect or no JSON is a refusal, and says so", async () => {
  const html = "<!doctype html>";
  const bodies = { html, empty: "", null: "null", list: "[]", login: '{"error": "log in"}', number: '{"url": 5}' };
  const answers = ({ url }, answer) => {
    const path = url.split("/")[1];
    if (path === "redirect") answer.writeHead(302, { Location: "/login?next=secret" }).end();
    else if (path === "moved") answer.writeHead(308, { Location: "/list/session" }).end();
    else answer.end(url.startsWith("/login") ? html : bodies[path]);
  };
  await serve(answers, async (refusal) => {
    assert.equal(await refusal("/redirect"), "POST /redirect/session was redirected to /login");
    assert.equal(await refusal("/moved"), "POST /moved/session was redirected to /list/session");
    for (const path in bodies)
      assert.equal(await refusal(`/${path}`), `POST /${path}/session did not answer with JSON that has a url`);
  });
});

test("the reason of a refusal is in the message if it is short plain text", async () => {
  const plain = "text/plain; charset=utf-8";
  const reasons = {
    short: [403, plain, "Its origin is not in WAMP_ORIGINS.\n"],
    html: [403, "text/html", "<p>Forbidden</p>"],
    typeless: [403, undefined, "Forbidden"],
    long: [403, plain, "x".repeat(201)],
    lines: [403, plain, "one\ntwo"],
    empty: [401, plain, ""],
    missing: [404, plain, "There is no such shop."],
  };
  const answers = ({ url }, answer) => {
    const [status, type, body] = reasons[url.split("/")[1]];
    answer.writeHead(status, type && { "Content-Type": type }).end(body);
  };
  await serve(answers, async (refusal) => {
    const wanted = "POST /short/session answered 403: Its origin is not in WAMP_ORIGINS.";
    assert.equal(await refusal("/short"), wanted);
    for (const name of ["html", "typeless", "long", "lines"])
      assert.equal(await refusal(`/${name}`), `POST /${name}/session answered 403`);
    assert.equal(await refusal("/empty"), "POST /empty/session answered 401");
    assert.equal(await refusal("/missing"), "POST /missing/session answered 404: There is no such shop.");
  });
});

test("a client keeps trying while the app is not there, or has an error", async () => {
  let count = 0;
  const answers = (_, answer) => {
    count += 1;
    if (count === 1) answer.socket.destroy();
    else if (count < 4) answer.writeHead(503, { "Content-Type": "text/plain" }).end("Starting");
    else answer.end(JSON.stringify({ url: process.env.WAMP_URL, realm: "realm1" }));
  };
  await serve(answers, async (_, app) => {
    const reasons = [];
    const onState = (state, reason) => state === "lost" && reasons.push(reason);
    const wamp = await client.connect(`${app}/wamp`, { onState });
    wamp.close();
    assert.deepEqual(reasons.slice(-1), ["POST /wamp/session answered 503: Starting"]);
  });
});

test("a closed client leaves no listener behind", async () => {
  const listeners = new Set();
  globalThis.addEventListener = (name, listener) => listeners.add(`${name} ${id(listener)}`);
  globalThis.removeEventListener = (name, listener) => listeners.delete(`${name} ${id(listener)}`);
  const functions = [];
  const id = (f) => (functions.includes(f) ? functions.indexOf(f) : functions.push(f) - 1);
  try {
    const wamp = await client.connect(process.env.WAMP_URL);
    const names = [...listeners].map((each) => each.split(" ")[0]).sort();
    assert.deepEqual(names, ["online", "pagehide", "pageshow"]);
    functions[0]({ type: "pagehide" });
    assert.deepEqual([wamp.state, wamp.session, listeners.size], ["lost", null, 3]);
    const again = new Promise((joined) => wamp.onState((state) => state === "joined" && joined()));
    functions[0]({ type: "pageshow" });
    await again;
    wamp.close();
    assert.equal(listeners.size, 0);
    wamp.open();
    wamp.onState((state) => state === "lost" && wamp.close()); // a page may close it at any change
    assert.equal(listeners.size, 3);
    functions[0]({ type: "pagehide" });
    assert.deepEqual([wamp.state, listeners.size], ["closed", 0]);
    const refused = client.connect(process.env.WAMP_URL, { realm: "no_such_realm" });
    await assert.rejects(refused, client.ApplicationError);
    assert.equal(listeners.size, 0);
    const { signal } = new AbortController();
    const aborting = await client.connect(process.env.WAMP_URL, { signal });
    assert.equal(getEventListeners(signal, "abort").length, 1);
    aborting.close();
    assert.equal(getEventListeners(signal, "abort").length, 0);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("a page that is left while it joins, joins when it is shown again", async () => {
  let wake;
  globalThis.addEventListener = (name, listener) => (wake = listener);
  const states = [];
  try {
    const onState = (state, reason) => {
      states.push(state);
      if (states.length === 1) setTimeout(() => (wake({ type: "pagehide" }), wake({ type: "pageshow" })));
    };
    const wamp = await client.connect(process.env.WAMP_URL, { onState });
    wamp.close();
    assert.deepEqual(states, ["joining", "lost", "joining", "joined", "closed"]);
  } finally {
    delete globalThis.addEventListener;
  }
});

test("a Buffer is not sent as bytes, as the documentation says", async () => {
  const wamp = await client.connect(process.env.WAMP_URL);
  const uri = `com.example.js.buffer${process.pid}`;
  await wamp.register(uri, ([value]) => value);
  assert.deepEqual(await wamp.call(uri, [Buffer.from([1, 2])]), { type: "Buffer", data: [1, 2] });
  assert.deepEqual(await wamp.call(uri, [new Uint8Array(Buffer.from([1, 2]))]), Uint8Array.of(1, 2));
  wamp.close();
});

test("an AbortSignal ends the session, also after the client was closed and opened again", async () => {
  const controller = new AbortController();
  const wamp = await client.connect(process.env.WAMP_URL, { signal: controller.signal });
  wamp.close();
  const joined = new Promise((resolve) => wamp.onState((state) => state === "joined" && resolve()));
  wamp.open();
  await joined;
  controller.abort();
  assert.deepEqual([wamp.state, wamp.session], ["closed", null]);
});
