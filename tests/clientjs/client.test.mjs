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
