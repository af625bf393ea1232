/**
 * Keep the sockets that are opened, with the session of each, so that a case can cut one. In Node the WebSocket is that
 * of `ws`, for Node's own is younger than the oldest Node we try.
 */
let { WebSocket } = globalThis;
if (globalThis.process) {
  const { createRequire } = await import("node:module");
  ({ WebSocket } = createRequire(`${process.env.NODE_MODULES}/`)("ws"));
}
globalThis.sockets = [];
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    globalThis.sockets.push(this);
    this.addEventListener("message", ({ data }) => {
      const [code, session] = JSON.parse(data);
      if (code === 2) this.session = session;
    });
  }
};
