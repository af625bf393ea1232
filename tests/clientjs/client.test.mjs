/** The cases in Node. */
import { test } from "node:test";

import { cases } from "./cases.mjs";

cases({ client: await import(process.env.CLIENT), url: process.env.WAMP_URL, test });
