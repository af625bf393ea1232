/** Node's own WebSocket is younger than the oldest Node we try; keep the sockets, so that a test can cut one. */
import { createRequire } from "node:module";

const { WebSocket } = createRequire(`${process.env.NODE_MODULES}/`)("ws");
globalThis.sockets = [];
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    globalThis.sockets.push(this);
  }
};
