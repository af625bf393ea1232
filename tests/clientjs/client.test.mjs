/** The cases in Node. */
import { createServer } from "node:http";
import { test } from "node:test";

import * as assert from "./assert.mjs";
import { cases } from "./cases.mjs";

const client = await import(process.env.CLIENT);
cases({ client, url: process.env.WAMP_URL, test });

test("what an app answers to a wrong path is no matter of rights", async () => {
  const posts = [];
  const server = createServer(({ method, url }, answer) => {
    posts.push(`${method} ${url}`);
    answer.writeHead(Number(url.match(/\d+/)[0])).end();
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const app = `http://127.0.0.1:${server.address().port}`;
  try {
    const refusal = (where) =>
      client.connect(`${app}${where}`).then(assert.ok, (error) => {
        assert.ok(error instanceof client.ApplicationError);
        return error.message;
      });
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
  } finally {
    server.close();
    server.closeAllConnections?.();
  }
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
