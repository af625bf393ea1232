// What the drivers in Node share: commands come on stdin, what happens goes to stdout, both one JSON
// object a line, as tests/support/autobahn_peer.py has it. Bytes are {"__bytes__": Base64}, integers that a
// Number cannot hold {"__int__": "..."}.
"use strict";

const readline = require("node:readline");

const isBytes = (value) => value instanceof Uint8Array || value instanceof ArrayBuffer;

function tagged(value) {
  if (typeof value === "bigint") return { __int__: String(value) };
  if (value === null || typeof value !== "object") return value;
  if (isBytes(value)) return { __bytes__: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map((item) => (item === undefined ? null : tagged(item)));
  const entries = value instanceof Map ? value.entries() : Object.entries(value);
  return Object.fromEntries(Array.from(entries, ([key, item]) => [key, tagged(item)]));
}

function untagged(key, value) {
  if (value !== null && typeof value === "object") {
    if (typeof value.__bytes__ === "string") return Buffer.from(value.__bytes__, "base64");
    if (typeof value.__int__ === "string") return BigInt(value.__int__);
  }
  return value;
}

/** Write a line. */
function say(line) {
  process.stdout.write(JSON.stringify(tagged(line)) + "\n");
}

/** An ERROR message. */
class Refusal extends Error {
  constructor(uri, args, kwargs) {
    super(uri);
    this.answer = { error: { uri, args: args ?? [], kwargs: kwargs ?? {} } };
  }
}

/** Carry out the commands on stdin: each is a method of the object, called with its arguments and its id. */
function serve(commands) {
  // What a library does not catch would end the process, and with it the tests of what works.
  process.on("unhandledRejection", (error) => console.error("unhandled:", error));
  const input = readline.createInterface({ input: process.stdin });
  input.on("close", () => process.exit(0));
  input.on("line", async (text) => {
    const { id, do: name, ...rest } = JSON.parse(text, untagged);
    try {
      if (commands[name] === undefined) throw new Error(`this peer has no ${name}`);
      const value = await commands[name](rest, id);
      say({ reply: id, value: value ?? null });
    } catch (error) {
      say({ reply: id, ...(error.answer ?? { raised: String(error?.message ?? error) }) });
    }
  });
}

/** Which of these members an object has. */
function facts(object, names) {
  const there = names.filter((name) => object?.[name] !== undefined && object[name] !== null);
  return Object.fromEntries(there.map((name) => [name, object[name]]));
}

/** What the procedures that the tests ask for do: functions of (args, kwargs, progress) by name.
 *
 * Each returns [args, kwargs]. `progress(args)` is null where the caller did not ask for progressive results.
 */
function behaviours(call, held) {
  return {
    echo: () => async (args, kwargs) => [args, kwargs],
    give: ({ given }) => async () => given,
    fail: ({ error }) => async () => {
      throw new Refusal(error.uri, error.args, error.kwargs);
    },
    hold: () => (args, kwargs) => new Promise((resolve) => held.push(() => resolve([args, kwargs]))),
    relay: ({ to }) => async (args, kwargs) => call(to, args, kwargs),
    progress: ({ items }) => async (args, kwargs, progress) => {
      for (const item of progress === null ? [] : items) progress([item]);
      return [args, kwargs];
    },
  };
}

module.exports = { behaviours, facts, Refusal, say, serve };
