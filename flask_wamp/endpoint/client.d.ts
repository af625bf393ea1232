/** A WAMP client for browsers and Node. Served by the app as `<WAMP_ENDPOINT>/client.js`. */

/** The types of JSON, and bytes, which are sent as a string that begins with NUL. */
export type Value = null | boolean | number | string | Uint8Array | Value[] | { [key: string]: Value };
export type Args = readonly unknown[];
export type Kwargs = Readonly<Record<string, unknown>>;
export type State = "joining" | "joined" | "lost" | "closed";

/** The base class of the errors below. */
export class WampError extends Error {}
/** There is no session, so nothing was sent. */
export class NotJoined extends WampError {}
/** The session ended before the answer. The router may have done what you asked for. */
export class SessionLost extends WampError {}
/** There was no answer in time. The call has been canceled if the router supports that. */
export class CallTimeout extends WampError {}
/**
 * The callee or the router answered ERROR. Throw one in a procedure to answer with it.
 *
 * The `message` has the procedure or topic, the error URI, and the first text in `args`, or else what
 * `kwargs.errors` says about wrong arguments.
 */
export class ApplicationError extends WampError {
  constructor(uri: string, args?: Args, kwargs?: Kwargs);
  readonly uri: string;
  // The payload of the other side.
  readonly args: any[];
  readonly kwargs: Record<string, any>;
}
/** A result that is not exactly one positional value. Return one in a procedure to send such a result. */
export class CallResult {
  constructor(args?: Args, kwargs?: Kwargs);
  readonly args: any[];
  readonly kwargs: Record<string, any>;
}

/** All times are in milliseconds. An unknown option causes a TypeError, here and in the methods. */
export interface Options {
  /** Called at each change of the state, with the reason of a loss. */
  onState?: (state: State, reason?: string) => void;
  /** Leaves the realm when it is aborted, as `close` does. */
  signal?: AbortSignal;
  /** How long to wait for an answer. Default: 10,000. */
  timeout?: number;
  /** The first pause before an attempt to reconnect. Default: 100. Each failure doubles it. */
  minDelay?: number;
  /** The longest pause. Default: 3,000. Each pause is shortened by a random part of its half. */
  maxDelay?: number;
  /** The silence of the router after which the connection is checked. Default: 30,000. 0 turns this off. */
  heartbeat?: number;
  /** More headers for `POST <endpoint>/session`, a CSRF token for example. */
  headers?: Record<string, string>;
  /** Only for a router's own `ws:` or `wss:` URL, without an app. Default: "realm1". */
  realm?: string;
  authid?: string;
  ticket?: string;
}

export interface CallOptions {
  /** How long to wait for the result. Default: that of `connect`; none in `stream`. `Infinity`: no timeout. */
  timeout?: number;
  /** Cancels the call when it is aborted. The promise then rejects with `signal.reason`. */
  signal?: AbortSignal;
  disclose_me?: boolean;
}

export interface PublishOptions {
  acknowledge?: boolean;
  exclude_me?: boolean;
  exclude?: number[];
  exclude_authid?: string[];
  exclude_authrole?: string[];
  eligible?: number[];
  eligible_authid?: string[];
  eligible_authrole?: string[];
  disclose_me?: boolean;
  retain?: boolean;
}

export type Match = "exact" | "prefix" | "wildcard";

export interface EventDetails {
  topic: string;
  publication: number;
  publisher?: number;
  publisher_authid?: string;
  publisher_authrole?: string;
  retained?: boolean;
  [key: string]: unknown;
}

export interface InvocationDetails {
  procedure: string;
  caller?: number;
  caller_authid?: string;
  caller_authrole?: string;
  /** Send a progressive result, if the caller requested them. */
  progress(args?: Args, kwargs?: Kwargs): void;
  /** Aborted when the caller cancels, or the session ends. */
  signal: AbortSignal;
  [key: string]: unknown;
}

export type EventHandler = (args: any[], kwargs: Record<string, any>, details: EventDetails) => void;
export type Procedure = (
  args: any[],
  kwargs: Record<string, any>,
  details: InvocationDetails,
) => unknown;

/**
 * Join the realm of an app, by the path of its `WAMP_ENDPOINT`, or of a router, by its URL.
 *
 * Resolves when joined. Rejects with an ApplicationError if the app or the router refuses, or if the app
 * redirects or does not answer with JSON, and with `signal.reason` if it is aborted. Keeps trying while the app is not running.
 */
export function connect(where?: string | URL, options?: Options): Promise<Wamp>;

/** A client that joins again when its session is lost. */
export class Wamp {
  constructor(where?: string | URL, options?: Options);
  readonly state: State;
  /** The session id while joined. */
  readonly session: number | null;
  readonly authid?: string;
  readonly authrole?: string;
  readonly realm?: string;
  /** Why the last attempt to join was refused. */
  readonly refused?: ApplicationError | null;

  /** Start to join. `connect` does this for you. */
  open(): void;
  /** Leave the realm, and do not join again. Pending calls reject with SessionLost. */
  close(): void;
  /** Call a function at each change of the state. Returns a function that ends this. */
  onState(listener: (state: State, reason?: string) => void): () => void;

  /** Call a procedure, by its whole URI. Resolves with its one positional value, or a CallResult. */
  call<Result = any>(
    procedure: string,
    args?: Args,
    kwargs?: Kwargs,
    options?: CallOptions & { onProgress?: (args?: any[], kwargs?: Record<string, any>) => void },
  ): Promise<Result>;
  /** Call a procedure. Yields its progressive results, and then its final result unless that is null. */
  stream<Item = any>(
    procedure: string,
    args?: Args,
    kwargs?: Kwargs,
    options?: CallOptions,
  ): AsyncGenerator<Item, void, void>;

  /** Publish an event. Resolves at once. With `acknowledge`, it resolves with the publication id. */
  publish(
    topic: string,
    args: Args | undefined,
    kwargs: Kwargs | undefined,
    options: PublishOptions & { acknowledge: true },
  ): Promise<number>;
  publish(topic: string, args?: Args, kwargs?: Kwargs, options?: PublishOptions): Promise<void>;

  /**
   * Subscribe to a topic, and call a function with each event, also after each reconnect.
   *
   * Resolves with a function that ends the subscription. Rejects if the router refuses, and is then not
   * requested again.
   */
  subscribe(
    topic: string,
    handler: EventHandler,
    options?: { match?: Match; get_retained?: boolean },
  ): Promise<() => Promise<void>>;

  /** Register a function, as `subscribe` does. What it returns, resolves with or throws is the answer. */
  register(
    procedure: string,
    handler: Procedure,
    options?: {
      match?: Match;
      invoke?: "single" | "roundrobin" | "random" | "first" | "last";
      concurrency?: number;
      force_reregister?: boolean;
    },
  ): Promise<() => Promise<void>>;
}
