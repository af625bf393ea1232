/**
 * Messages that are being sent. Each is kept until the app has stored it, even if the connection is lost or the
 * page is reloaded. It is sent again with the same token, so that the app stores it once.
 */

import { ApplicationError, SessionLost } from "/wamp/client.js";

const RETRY = 2000; // milliseconds
const LOSSES = 5; // how often the connection may be lost while a message is being sent

/** Errors that may be temporary: no process of the app can allow or answer the call, or it is busy. */
const LATER =
  /no_such_procedure|not_authorized|authorization_failed|unavailable|too_many_requests|timeout|canceled/;

/** Return why the app refused a message. */
export const explain = ({ uri, kwargs }) => kwargs.description ?? kwargs.errors?.[0]?.msg ?? uri;

export class Outbox {
  items = [];
  #storage;
  #say;
  #changed;
  #isSending = false;
  #timer;

  /**
   * @param storage The key in the tab's sessionStorage.
   * @param say     Sends an item. Returns a promise.
   * @param changed Called when an item is added, removed or has failed.
   */
  constructor(storage, say, changed) {
    this.#storage = storage;
    this.#say = say;
    this.#changed = changed;
    this.items = JSON.parse(sessionStorage.getItem(storage) ?? "[]");
  }

  add(room, text) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const token = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    this.items.push({ token, room, text, sent_at: Date.now() / 1000 });
    this.#store();
    this.send();
  }

  /** Send waiting messages, one after another. Call it whenever sending may work. */
  async send() {
    if (this.#isSending) return;
    clearTimeout(this.#timer);
    this.#isSending = true;
    try {
      let item;
      while ((item = this.items.find(({ failed }) => !failed))) await this.#sendOne(item);
    } catch {
      this.#timer = setTimeout(() => this.send(), RETRY);
    }
    this.#isSending = false;
  }

  async #sendOne(item) {
    try {
      await this.#say(item);
      this.discard(item.token);
    } catch (error) {
      if (error instanceof SessionLost) item.losses = (item.losses ?? 0) + 1;
      if (item.losses > LOSSES) item.failed = "the connection is lost each time";
      else if (error instanceof ApplicationError && !LATER.test(error.uri)) item.failed = explain(error);
      else throw error;
      this.#store();
    }
  }

  again(token) {
    const item = this.items.find((each) => each.token === token);
    item.failed = item.losses = undefined;
    this.#store();
    this.send();
  }

  discard(token) {
    this.items = this.items.filter((item) => item.token !== token);
    this.#store();
  }

  #store() {
    sessionStorage.setItem(this.#storage, JSON.stringify(this.items));
    this.#changed();
  }
}
